/*
 * expect: PATH: handler 'work': field 'amount': its `reserved` is 1, expected 0
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .reserved = 1))
