/*
 * expect: PATH: handler 'work': field 'name': its min -1 is negative, which a text never is
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_TEXT(struct input, name, .min = -1, .max = 10))
