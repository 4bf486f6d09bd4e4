/*
 * expect: PATH: handler 'work': field 'amount': choices are for texts, but its type is int64
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .choices = "1|2"))
