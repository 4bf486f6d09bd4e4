/*
 * expect: PATH: handler 'work': field 'amount': its type is 99, which is no SLUICE_TYPE_* of plugin ABI 1.1
 */
#include "bad.h"

PLUGIN_WITH_FIELDS({.name = "amount", .type = 99})
