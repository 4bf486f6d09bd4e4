/*
 * expect: PATH: handler 'work': its `kind` is 3, expected SLUICE_EVENT, SLUICE_REQUEST or SLUICE_SCHEDULE
 */
#include "bad.h"

PLUGIN_WITH_HANDLER(.kind = 3)
