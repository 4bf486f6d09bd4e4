/*
 * expect: PATH crashed while it was being loaded and looked at: SIGSEGV (Segmentation fault); look at its
 * constructors, and at pointers and unended tables in its descriptor
 */
#include "bad.h"

SLUICE_EXPORT const struct sluice_plugin *sluice_plugin(void)
{
    static const struct sluice_plugin *volatile nowhere;
    return nowhere->handlers == good_handlers ? NULL : nowhere;
}
