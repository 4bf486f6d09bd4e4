/*
 * expect: PATH: handler 'work': field 'amount': its fallback: expected an integer from 1 to 10, got '11'
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .flags = SLUICE_OPTIONAL, .fallback = "11", .min = 1, .max = 10))
