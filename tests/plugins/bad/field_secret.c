/*
 * expect: PATH: handler 'work': field 'amount': SLUICE_SECRET is for settings only
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .flags = SLUICE_SECRET))
