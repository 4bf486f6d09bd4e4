/*
 * expect: PATH changed the signal mask of the process while it was being loaded; a plugin leaves alone what
 * belongs to the whole process
 */
#define _GNU_SOURCE
#include "bad.h"

#include <signal.h>

__attribute__((constructor)) static void at_load(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
}
PLUGIN(.version = "1")
