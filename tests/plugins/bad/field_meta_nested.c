/*
 * expect: PATH: handler 'work': field 'amount': its `nested` means nothing for what the event itself says
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_META_INT64(struct input, amount, SLUICE_META_ATTEMPT, .nested = 1))
