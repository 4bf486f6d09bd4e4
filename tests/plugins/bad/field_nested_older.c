/*
 * expect: PATH: handler 'work': field 'a.b': its `reserved` is 1, expected 0
 */
#include "bad.h"

static const struct sluice_field fields[] = {SLUICE_INT64_AT(struct input, amount, "a.b"), {0}};
static const struct sluice_handler handlers[] = {HANDLER(.input = fields, .input_size = sizeof(struct input)), {0}};
PLUGIN(.handlers = handlers, .abi_minor = 0)
