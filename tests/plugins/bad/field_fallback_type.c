/*
 * expect: PATH: handler 'work': field 'amount': its fallback: expected an integer, got 'many'
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .flags = SLUICE_OPTIONAL, .fallback = "many"))
