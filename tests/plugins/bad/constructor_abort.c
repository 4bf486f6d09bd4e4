/*
 * expect: PATH crashed while it was being loaded and looked at: SIGABRT (Aborted); look at its constructors, and
 * at pointers and unended tables in its descriptor
 */
#define _GNU_SOURCE
#include "bad.h"

#include <stdlib.h>

__attribute__((constructor)) static void at_load(void)
{
    abort();
}
PLUGIN(.version = "1")
