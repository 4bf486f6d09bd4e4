/*
 * expect: PATH: handler 'work': field 'amount': its `meta` is 99, which is no SLUICE_META_*
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_META_INT64(struct input, amount, 99))
