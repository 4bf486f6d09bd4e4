/*
 * expect: PATH crashed while it was being loaded and looked at: SIGSEGV (Segmentation fault); look at its
 * constructors, and at pointers and unended tables in its descriptor
 */
#include "bad.h"

PLUGIN(.handlers = (const struct sluice_handler *)8)
