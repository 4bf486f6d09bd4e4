/*
 * expect: PATH: handler 'work': field 'amount': its min 5 is above its max -5
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .min = 5, .max = -5))
