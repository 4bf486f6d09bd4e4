/*
 * expect: PATH: handler 'work': field 'name': its fallback: expected one of red, green, got 'blue'
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_TEXT(struct input, name, .choices = "red|green", .flags = SLUICE_OPTIONAL,
                               .fallback = "blue"))
