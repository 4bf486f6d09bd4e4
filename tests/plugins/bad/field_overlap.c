/*
 * expect: PATH: handler 'work': field 'other': it fills the same bytes as 'amount'
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount),
                   {.name = "other", .type = SLUICE_TYPE_DOUBLE, .offset = offsetof(struct input, amount)})
