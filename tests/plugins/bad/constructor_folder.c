/*
 * expect: PATH changed the working folder of the process while it was being loaded; a plugin leaves alone what
 * belongs to the whole process
 */
#define _GNU_SOURCE
#include "bad.h"

#include <unistd.h>

__attribute__((constructor)) static void at_load(void)
{
    if (chdir("/") != 0)
        _exit(9);
}
PLUGIN(.version = "1")
