/*
 * expect: PATH: handler 'work': its `input_size` is 1048576 bytes, expected at most 65536
 */
#include "bad.h"

static const struct sluice_field fields[] = {SLUICE_INT64(struct input, amount), {0}};
PLUGIN_WITH_HANDLER(.input = fields, .input_size = 1048576)
