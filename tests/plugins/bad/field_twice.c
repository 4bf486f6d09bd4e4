/*
 * expect: PATH: handler 'work': field 'amount': there are two of that name
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount), SLUICE_INT64(struct input, amount))
