/*
 * expect: PATH: handler 'work': field 'amount': its min 10 is above its max 1
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .min = 10, .max = 1))
