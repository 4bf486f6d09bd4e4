/*
 * expect: PATH: handler 'work': field 'amount': the type meta_int64 cannot stand in a request's fields
 */
#include "bad.h"

static const struct sluice_field fields[] = {SLUICE_META_INT64(struct input, amount, SLUICE_META_ATTEMPT), {0}};
PLUGIN_WITH_HANDLER(.kind = SLUICE_REQUEST, .input = fields, .input_size = sizeof(struct input))
