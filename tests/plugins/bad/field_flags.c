/*
 * expect: PATH: handler 'work': field 'amount': its `flags` are 0x80, with a bit that plugin ABI 1.1 does not
 * know
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .flags = 0x80))
