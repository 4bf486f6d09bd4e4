/*
 * expect: PATH crashed while it was being loaded and looked at: SIGSEGV (Segmentation fault); look at its
 * constructors, and at pointers and unended tables in its descriptor
 */
#include "bad.h"

static int *volatile nowhere;

__attribute__((constructor)) static void at_load(void)
{
    *nowhere = 1;
}
PLUGIN(.version = "1")
