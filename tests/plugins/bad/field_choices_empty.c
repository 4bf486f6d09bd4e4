/*
 * expect: PATH: handler 'work': field 'name': its choices 'a||b' have an empty one
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_TEXT(struct input, name, .choices = "a||b"))
