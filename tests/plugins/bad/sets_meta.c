/*
 * expect: PATH: handler 'work': `sets` field 'amount': the type meta_int64 cannot stand in `sets`
 */
#include "bad.h"

static const struct sluice_field sets[] = {SLUICE_META_INT64(struct input, amount, SLUICE_META_ATTEMPT), {0}};
PLUGIN_WITH_HANDLER(.sets = sets)
