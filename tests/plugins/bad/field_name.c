/*
 * expect: PATH: handler 'work': field 'a"b' has no good name; fields are named by printable ASCII without '"'
 * and '\', at most 64 bytes
 */
#include "bad.h"

PLUGIN_WITH_FIELDS({.name = "a\"b", .type = SLUICE_TYPE_INT64})
