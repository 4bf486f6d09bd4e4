/*
 * expect: PATH: handler 'work': field 'amount': event_id is a text, but its type is meta_int64
 */
#include "bad.h"

PLUGIN_WITH_FIELDS(SLUICE_META_INT64(struct input, amount, SLUICE_META_EVENT_ID))
