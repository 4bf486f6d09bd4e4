/*
 * expect: PATH: handler 'work': its `max_events` is 0, expected 1 to 10000
 */
#include "bad.h"

PLUGIN_WITH_HANDLER(.max_events = 0)
