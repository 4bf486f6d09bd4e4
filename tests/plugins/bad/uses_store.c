/*
 * expect: PATH: handler 'work': its `uses_store` is 2, expected 0 or 1
 */
#include "bad.h"

PLUGIN_WITH_HANDLER(.uses_store = 2)
