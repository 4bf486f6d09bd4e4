/*
 * expect: PATH: handler 'work': field 'amount': its offset 4 is no multiple of 8, as its type int64 needs
 */
#include "bad.h"

PLUGIN_WITH_FIELDS({.name = "amount", .type = SLUICE_TYPE_INT64, .offset = 4})
