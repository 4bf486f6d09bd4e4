/*
 * descriptor.c - see descriptor.h. Field tables are in field_table.c.
 */
#include "plugin/descriptor.h"

#include "plugin/descriptor_text.h"
#include "plugin/field_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define HINT_BUILD "build it again with the sluice/plugin.h of this engine"

/* ------------------------------------------------------------------------------------------------------------- head */

static int size_check(const char *member, uint32_t got, uint32_t wanted, const struct sluice_plugin *from,
                      struct error *error)
{
    if (got == wanted)
        return 0;
    error_set(error, EINVAL, "its `%s` is %" PRIu32 " bytes, %s than the %" PRIu32 " of plugin ABI %u.%u", member, got,
              got < wanted ? "smaller" : "larger", wanted, from->abi_major, from->abi_minor);
    return error_hint(error, HINT_BUILD ", without packing structs");
}

/* What is not promised must be the very same. */
static int unstable_check(uint32_t wanted, const struct abi *abi, struct error *error)
{
    char here[16] = "none";
    if (wanted == 0 || wanted == abi->unstable)
        return 0;
    if (abi->unstable != 0)
        snprintf(here, sizeof here, "0x%08" PRIx32, abi->unstable);
    error_set(error, EINVAL,
              "it is built with SLUICE_UNSTABLE for the unstable rows 0x%08" PRIx32
              " of the contract, this engine has %s",
              wanted, here);
    return error_hint(error, HINT_BUILD ", or without SLUICE_UNSTABLE");
}

int descriptor_check_head(const struct sluice_plugin *from, const struct abi *abi, struct error *error)
{
    if (from->magic != SLUICE_MAGIC) {
        error_set(error, EINVAL, "what sluice_plugin() returned starts with 0x%016" PRIx64 " instead of 0x%016" PRIx64,
                  from->magic, (uint64_t)SLUICE_MAGIC);
        return error_hint(error, "return a struct sluice_plugin whose magic is SLUICE_MAGIC");
    }
    if (from->abi_major != abi->major) {
        error_set(error, EINVAL, "its `abi_major` is %u: it is built for plugin ABI %u.%u, this engine has %u.%u",
                  from->abi_major, from->abi_major, from->abi_minor, abi->major, abi->minor);
        return error_hint(error, HINT_BUILD);
    }
    if (from->abi_minor > abi->minor) {
        error_set(error, EINVAL,
                  "its `abi_minor` is %u: it is built for plugin ABI %u.%u, this engine has the older %u.%u",
                  from->abi_minor, from->abi_major, from->abi_minor, abi->major, abi->minor);
        return error_hint(error, "install a newer engine, or " HINT_BUILD);
    }
    const struct abi_sizes *sizes = &abi->sizes[from->abi_minor];
    int r = size_check("size", from->size, sizes->plugin, from, error);
    if (r == 0)
        r = size_check("handler_size", from->handler_size, sizes->handler, from, error);
    if (r == 0)
        r = size_check("field_size", from->field_size, sizes->field, from, error);
    if (r == 0)
        r = size_check("outcome_size", from->outcome_size, sizes->outcome, from, error);
    return r == 0 ? unstable_check(from->reserved, abi, error) : r;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --------------------------------------------------------------------------------------------------------- outcomes */

static int outcomes_copy(const void *from, size_t row_size, const char *where, struct arena *arena,
                         const struct sluice_outcome **ret, size_t *ret_count, struct error *error)
{
    struct sluice_outcome *copy = arena_array(arena, struct sluice_outcome, DESCRIPTOR_OUTCOMES_MAX + 1);
    char shown[DESCRIPTOR_SHOWN_MAX];
    size_t count = 0;
    for (const char *row = from; row != NULL; row += row_size, count++) {
        struct sluice_outcome *to = &copy[count];
        memcpy(to, row, smaller(row_size, sizeof *to));
        if (to->name == NULL)
            break;
        if (count == DESCRIPTOR_OUTCOMES_MAX) {
            error_set(error, EINVAL, "%s has more than %d outcomes", where, DESCRIPTOR_OUTCOMES_MAX);
            return error_hint(error, "end the table with a row of zeros: {0}");
        }
        if (!descriptor_name_fits(to->name)) {
            error_set(error, EINVAL, "%s: outcome '%s' is no name", where, descriptor_show(to->name, shown));
            return error_hint(error, "names are a letter a-z, then letters, digits and '_', at most %d bytes",
                              DESCRIPTOR_NAME_MAX);
        }
        if (!descriptor_text_fits(to->help))
            return error_set(error, EINVAL, "%s: the help of outcome '%s' is no line of UTF-8 of at most %d bytes",
                             where, to->name, DESCRIPTOR_TEXT_MAX);
        for (size_t i = 0; i < count; i++)
            if (strcmp(copy[i].name, to->name) == 0)
                return error_set(error, EINVAL, "%s has two outcomes '%s'", where, to->name);
    }
    *ret = from == NULL ? NULL : copy;
    *ret_count = count;
    return 0;
}

/* --------------------------------------------------------------------------------------------------------- handlers */

static int handler_shape_check(const struct sluice_handler *handler, const char *where, struct error *error)
{
    if (!descriptor_text_fits(handler->help))
        return error_set(error, EINVAL, "%s: its help is no line of UTF-8 of at most %d bytes", where,
                         DESCRIPTOR_TEXT_MAX);
    if (handler->kind > SLUICE_SCHEDULE)
        return error_set(error, EINVAL,
                         "%s: its `kind` is %" PRIu32 ", expected SLUICE_EVENT, SLUICE_REQUEST or SLUICE_SCHEDULE",
                         where, handler->kind);
    if (handler->handle == NULL)
        return error_set(error, EINVAL, "%s has no function: its `handle` is NULL", where);
    if (handler->max_events < 1 || handler->max_events > DESCRIPTOR_EVENTS_MAX)
        return error_set(error, EINVAL, "%s: its `max_events` is %" PRIu32 ", expected 1 to %d", where,
                         handler->max_events, DESCRIPTOR_EVENTS_MAX);
    if (handler->uses_store > 1 || handler->reserved != 0)
        return error_set(error, EINVAL, "%s: its `%s` is %" PRIu32 ", expected %s", where,
                         handler->uses_store > 1 ? "uses_store" : "reserved",
                         handler->uses_store > 1 ? handler->uses_store : handler->reserved,
                         handler->uses_store > 1 ? "0 or 1" : "0");
    if (handler->input_size > DESCRIPTOR_INPUT_MAX)
        return error_set(error, EINVAL, "%s: its `input_size` is %zu bytes, expected at most %d", where,
                         handler->input_size, DESCRIPTOR_INPUT_MAX);
    if (handler->input == NULL && handler->input_size != 0) {
        error_set(error, EINVAL, "%s: its `input_size` is %zu, but it has no `input` table", where,
                  handler->input_size);
        return error_hint(error, "give the table that fills the struct, or leave `input_size` out");
    }
    if (handler->kind == SLUICE_SCHEDULE && handler->input != NULL)
        return error_set(error, EINVAL, "%s is of schedules and has an `input` table: a tick has no fields", where);
    return 0;
}

static int handler_copy(struct sluice_handler *handler, const struct sluice_plugin *plugin, struct arena *arena,
                        struct error *error)
{
    char shown[DESCRIPTOR_SHOWN_MAX];
    if (!descriptor_name_fits(handler->name)) {
        error_set(error, EINVAL, "handler '%s' has no good name", descriptor_show(handler->name, shown));
        return error_hint(error, "names are a letter a-z, then letters, digits and '_', at most %d bytes",
                          DESCRIPTOR_NAME_MAX);
    }
    const char *where = arena_format(arena, "handler '%s'", handler->name);
    int r = handler_shape_check(handler, where, error);
    if (r != 0)
        return r;
    struct field_table table = {.where = where,
                                .role = handler->kind == SLUICE_REQUEST ? FIELDS_OF_REQUEST : FIELDS_OF_EVENT,
                                .minor = plugin->abi_minor,
                                .row_size = plugin->field_size,
                                .owner_size = handler->input_size};
    r = field_table_copy(handler->input, &table, arena, &handler->input, error);
    if (r != 0)
        return r;
    table.role = FIELDS_SET;
    r = field_table_copy(handler->sets, &table, arena, &handler->sets, error);
    if (r != 0)
        return r;
    size_t count = 0;
    r = outcomes_copy(handler->outcomes, plugin->outcome_size, where, arena, &handler->outcomes, &count, error);
    if (r == 0 && count == 0 && handler->kind == SLUICE_EVENT) {
        error_set(error, EINVAL, "%s declares no outcome, so that none of its events could ever end", where);
        return error_hint(error, "declare at least one; routes in the pipeline say where it goes, or drop");
    }
    return r;
}

static int handlers_copy(struct sluice_plugin *plugin, struct arena *arena, struct error *error)
{
    struct sluice_handler *copy = arena_array(arena, struct sluice_handler, DESCRIPTOR_HANDLERS_MAX + 1);
    size_t count = 0;
    for (const char *row = (const char *)plugin->handlers; row != NULL; row += plugin->handler_size, count++) {
        memcpy(&copy[count], row, smaller(plugin->handler_size, sizeof copy[0]));
        if (copy[count].name == NULL)
            break;
        if (count == DESCRIPTOR_HANDLERS_MAX) {
            error_set(error, EINVAL, "it has more than %d handlers", DESCRIPTOR_HANDLERS_MAX);
            return error_hint(error, "end the table with a row of zeros: {0}");
        }
        int r = handler_copy(&copy[count], plugin, arena, error);
        if (r != 0)
            return r;
        for (size_t i = 0; i < count; i++)
            if (strcmp(copy[i].name, copy[count].name) == 0)
                return error_set(error, EINVAL, "it has two handlers '%s'", copy[i].name);
    }
    if (count == 0)
        return error_set(error, EINVAL, "it has no handlers");
    plugin->handlers = copy;
    return 0;
}

/* ------------------------------------------------------------------------------------------------------- descriptor */

int descriptor_check_identity(const struct sluice_plugin *plugin, struct error *error)
{
    char shown[DESCRIPTOR_SHOWN_MAX];
    if (plugin->name == NULL)
        return error_set(error, EINVAL, "it has no name: its `name` is NULL");
    if (!descriptor_name_fits(plugin->name)) {
        error_set(error, EINVAL, "its name '%s' is no name", descriptor_show(plugin->name, shown));
        return error_hint(error, "names are a letter a-z, then letters, digits and '_', at most %d bytes",
                          DESCRIPTOR_NAME_MAX);
    }
    if (plugin->version == NULL || *plugin->version == '\0' || text_length(plugin->version, DESCRIPTOR_NAME_MAX) < 0 ||
        !descriptor_text_fits(plugin->version))
        return error_set(error, EINVAL, "its `version` is no text of 1 to %d bytes", DESCRIPTOR_NAME_MAX);
    if (!descriptor_text_fits(plugin->help))
        return error_set(error, EINVAL, "its `help` is no line of UTF-8 of at most %d bytes", DESCRIPTOR_TEXT_MAX);
    if (plugin->state_size > DESCRIPTOR_STATE_MAX) {
        error_set(error, EINVAL, "its `state_size` is %zu bytes, expected at most %d", plugin->state_size,
                  DESCRIPTOR_STATE_MAX);
        return error_hint(error, "allocate what is large in open() and free it in close()");
    }
    return 0;
}

int descriptor_copy(const struct sluice_plugin *from, const struct abi *abi, const char *name, struct arena *arena,
                    const struct sluice_plugin **ret, struct error *error)
{
    if (descriptor_check_head(from, abi, error) != 0)
        return error_prefix(error, "%s", name);
    struct sluice_plugin *copy = arena_new(arena, struct sluice_plugin);
    memcpy(copy, from, smaller(from->size, sizeof *copy));
    const struct field_table settings = {.where = "settings",
                                         .role = FIELDS_OF_SETTINGS,
                                         .minor = copy->abi_minor,
                                         .row_size = copy->field_size,
                                         .owner_size = copy->state_size};
    if (descriptor_check_identity(copy, error) != 0 ||
        field_table_copy(copy->settings, &settings, arena, &copy->settings, error) != 0 ||
        handlers_copy(copy, arena, error) != 0)
        return error_prefix(error, "%s", name);
    copy->size = sizeof *copy;
    copy->handler_size = sizeof(struct sluice_handler);
    copy->field_size = sizeof(struct sluice_field);
    copy->outcome_size = sizeof(struct sluice_outcome);
    *ret = copy;
    return 0;
}
