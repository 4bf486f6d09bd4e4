/*
 * expect: PATH crashed while it was being loaded and looked at: SIGFPE (Floating point exception); look at its
 * constructors, and at pointers and unended tables in its descriptor
 */
#define _GNU_SOURCE
#include "bad.h"

#include <signal.h>

__attribute__((constructor)) static void at_load(void)
{
    raise(SIGFPE);
}
PLUGIN(.version = "1")
