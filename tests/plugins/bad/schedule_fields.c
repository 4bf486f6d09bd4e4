/*
 * expect: PATH: handler 'work' is of schedules and has an `input` table: a tick has no fields
 */
#include "bad.h"

static const struct sluice_field fields[] = {SLUICE_INT64(struct input, amount), {0}};
PLUGIN_WITH_HANDLER(.kind = SLUICE_SCHEDULE, .input = fields, .input_size = sizeof(struct input))
