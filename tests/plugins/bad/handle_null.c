/*
 * expect: PATH: handler 'work' has no function: its `handle` is NULL
 */
#include "bad.h"

PLUGIN_WITH_HANDLER(.handle = NULL)
