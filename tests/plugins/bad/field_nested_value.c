/*
 * expect: PATH: handler 'work': field 'amount': its `nested` is 2, expected 0 or 1
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .nested = 2))
