/*
 * expect: PATH: settings: setting 'pool_size': its `nested` is 1, but only an event's and a request's fields
 * reach inside; use type json for what has members, with a name of its own
 */
#include "bad.h"

PLUGIN_WITH_SETTINGS(SLUICE_INT64_AT(struct input, amount, "pool_size"))
