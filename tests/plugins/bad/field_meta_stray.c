/*
 * expect: PATH: handler 'work': field 'amount': its `meta` is 6, but its type is int64
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_INT64(struct input, amount, .meta = SLUICE_META_ATTEMPT))
