/*
 * expect: PATH: handler 'work': field 'amount': the type duration cannot stand in an event's fields
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_DURATION(struct input, amount))
