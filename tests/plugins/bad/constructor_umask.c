/*
 * expect: PATH changed the umask of the process while it was being loaded; a plugin leaves alone what belongs to
 * the whole process
 */
#define _GNU_SOURCE
#include "bad.h"

#include <sys/stat.h>

__attribute__((constructor)) static void at_load(void)
{
    umask(0123);
}
PLUGIN(.version = "1")
