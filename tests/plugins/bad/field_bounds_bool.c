/*
 * expect: PATH: handler 'work': field 'yes': bounds mean nothing for a bool
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_BOOL(struct input, yes, .max = 1))
