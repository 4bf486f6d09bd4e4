/*
 * expect: PATH: handler 'work': field 'amount': it has a fallback, but is not SLUICE_OPTIONAL; add .flags =
 * SLUICE_OPTIONAL, or leave the fallback out
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .fallback = "1"))
