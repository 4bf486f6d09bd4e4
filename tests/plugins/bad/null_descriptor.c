/*
 * expect: PATH: sluice_plugin() returned NULL instead of a descriptor
 */
#include "bad.h"

SLUICE_EXPORT const struct sluice_plugin *sluice_plugin(void)
{
    return good_handlers[0].max_events == 1 ? NULL : (void *)good_handlers;
}
