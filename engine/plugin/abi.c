/*
 * abi.c - the sizes of each minor, and the place of everything in this one, as the description says: a compiler that
 * sees sluice/plugin.h otherwise builds no engine.
 *
 * Made from engine/include/abi.txt by tests/check/generated --write.
 */
#define SLUICE_UNSTABLE /* the engine has all of the header */
#include "plugin/descriptor.h"

static const struct abi_sizes sizes_by_minor[] = {
    [0] = {.plugin = 96, .handler = 72, .field = 72, .outcome = 16},
    [1] = {.plugin = 96, .handler = 72, .field = 72, .outcome = 16},
};
static const char *const unstable_rows[] = {
    NULL,
};
const struct abi abi_current = {
    SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR, sizes_by_minor, SLUICE_UNSTABLE_NUMBER, unstable_rows,
};

#define SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type)
#define PLACE(type, member, at, bytes)                                                                                 \
    _Static_assert(offsetof(struct type, member) == (at) && sizeof(((struct type *)0)->member) == (bytes),             \
                   #type "." #member)

SIZE(sluice_text, 16);
PLACE(sluice_text, at, 0, 8);
PLACE(sluice_text, length, 8, 8);

SIZE(sluice_field, 72);
PLACE(sluice_field, name, 0, 8);
PLACE(sluice_field, help, 8, 8);
PLACE(sluice_field, fallback, 16, 8);
PLACE(sluice_field, choices, 24, 8);
PLACE(sluice_field, offset, 32, 8);
PLACE(sluice_field, min, 40, 8);
PLACE(sluice_field, max, 48, 8);
PLACE(sluice_field, type, 56, 4);
PLACE(sluice_field, flags, 60, 4);
PLACE(sluice_field, meta, 64, 4);
PLACE(sluice_field, nested, 68, 4);

SIZE(sluice_event, 120);
PLACE(sluice_event, size, 0, 4);
PLACE(sluice_event, attempt, 4, 4);
PLACE(sluice_event, id, 8, 16);
PLACE(sluice_event, topic, 24, 16);
PLACE(sluice_event, key, 40, 16);
PLACE(sluice_event, name, 56, 16);
PLACE(sluice_event, value, 72, 16);
PLACE(sluice_event, data, 88, 16);
PLACE(sluice_event, timestamp_ms, 104, 8);
PLACE(sluice_event, retries_left, 112, 4);
PLACE(sluice_event, retry_count, 116, 4);

SIZE(sluice_param, 32);
PLACE(sluice_param, form, 0, 4);
PLACE(sluice_param, type, 4, 4);
PLACE(sluice_param, offset, 8, 8);
PLACE(sluice_param, values, 16, 8);
PLACE(sluice_param, count, 24, 8);

SIZE(sluice_sql, 8);
PLACE(sluice_sql, text, 0, 8);

SIZE(sluice_host, 176);
PLACE(sluice_host, size, 0, 4);
PLACE(sluice_host, reserved, 4, 4);
PLACE(sluice_host, outcome, 8, 8);
PLACE(sluice_host, retry, 16, 8);
PLACE(sluice_host, reject, 24, 8);
PLACE(sluice_host, set_text, 32, 8);
PLACE(sluice_host, set_int64, 40, 8);
PLACE(sluice_host, set_json, 48, 8);
PLACE(sluice_host, add, 56, 8);
PLACE(sluice_host, reply, 64, 8);
PLACE(sluice_host, query, 72, 8);
PLACE(sluice_host, row_count, 80, 8);
PLACE(sluice_host, is_null, 88, 8);
PLACE(sluice_host, get_int64, 96, 8);
PLACE(sluice_host, get_double, 104, 8);
PLACE(sluice_host, get_text, 112, 8);
PLACE(sluice_host, log, 120, 8);
PLACE(sluice_host, now_ms, 128, 8);
PLACE(sluice_host, time_left_ms, 136, 8);
PLACE(sluice_host, unavailable, 144, 8);
PLACE(sluice_host, set_double, 152, 8);
PLACE(sluice_host, set_bool, 160, 8);
PLACE(sluice_host, fault, 168, 8);

SIZE(sluice_call, 32);
PLACE(sluice_call, size, 0, 4);
PLACE(sluice_call, count, 4, 4);
PLACE(sluice_call, host, 8, 8);
PLACE(sluice_call, events, 16, 8);
PLACE(sluice_call, inputs, 24, 8);

SIZE(sluice_outcome, 16);
PLACE(sluice_outcome, name, 0, 8);
PLACE(sluice_outcome, help, 8, 8);

SIZE(sluice_handler, 72);
PLACE(sluice_handler, name, 0, 8);
PLACE(sluice_handler, help, 8, 8);
PLACE(sluice_handler, input, 16, 8);
PLACE(sluice_handler, outcomes, 24, 8);
PLACE(sluice_handler, sets, 32, 8);
PLACE(sluice_handler, input_size, 40, 8);
PLACE(sluice_handler, handle, 48, 8);
PLACE(sluice_handler, max_events, 56, 4);
PLACE(sluice_handler, kind, 60, 4);
PLACE(sluice_handler, uses_store, 64, 4);
PLACE(sluice_handler, reserved, 68, 4);

SIZE(sluice_opening, 16);
PLACE(sluice_opening, size, 0, 4);
PLACE(sluice_opening, lane, 4, 4);
PLACE(sluice_opening, fail, 8, 8);

SIZE(sluice_plugin, 96);
PLACE(sluice_plugin, magic, 0, 8);
PLACE(sluice_plugin, abi_major, 8, 2);
PLACE(sluice_plugin, abi_minor, 10, 2);
PLACE(sluice_plugin, size, 12, 4);
PLACE(sluice_plugin, handler_size, 16, 4);
PLACE(sluice_plugin, field_size, 20, 4);
PLACE(sluice_plugin, outcome_size, 24, 4);
PLACE(sluice_plugin, reserved, 28, 4);
PLACE(sluice_plugin, name, 32, 8);
PLACE(sluice_plugin, version, 40, 8);
PLACE(sluice_plugin, help, 48, 8);
PLACE(sluice_plugin, settings, 56, 8);
PLACE(sluice_plugin, state_size, 64, 8);
PLACE(sluice_plugin, open, 72, 8);
PLACE(sluice_plugin, close, 80, 8);
PLACE(sluice_plugin, handlers, 88, 8);

SIZE(sluice_note, 184);
PLACE(sluice_note, owner_size, 0, 4);
PLACE(sluice_note, content_size, 4, 4);
PLACE(sluice_note, type, 8, 4);
PLACE(sluice_note, owner, 12, 8);
PLACE(sluice_note, abi_major, 20, 2);
PLACE(sluice_note, abi_minor, 22, 2);
PLACE(sluice_note, size, 24, 4);
PLACE(sluice_note, handler_size, 28, 4);
PLACE(sluice_note, field_size, 32, 4);
PLACE(sluice_note, outcome_size, 36, 4);
PLACE(sluice_note, name, 40, 68);
PLACE(sluice_note, version, 108, 68);
PLACE(sluice_note, reserved, 176, 8);
