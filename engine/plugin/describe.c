/*
 * describe.c - what a plugin declares, for people; describe_json.c does it for programs.
 */
#include "plugin/describe.h"

#include "plugin/field.h"

#include <inttypes.h>

const char *describe_kind_word(uint32_t kind)
{
    static const char *const words[] = {
        [SLUICE_EVENT] = "event", [SLUICE_REQUEST] = "request", [SLUICE_SCHEDULE] = "schedule"};
    return words[kind];
}

static const char *or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static void field_text(const struct sluice_field *field, bool set, struct buffer *out)
{
    char expected[FIELD_WORDS_MAX];
    buffer_format(out, "      %-20s ", field->name);
    if (field_is_meta(field))
        buffer_format(out, "the event's %s", field_meta_word(field->meta));
    else
        buffer_text(out, field_expected(field, expected));
    if ((field->flags & SLUICE_OPTIONAL) != 0 && field->fallback != NULL)
        buffer_format(out, ", default %s", (field->flags & SLUICE_SECRET) != 0 ? "***" : field->fallback);
    else if ((field->flags & SLUICE_OPTIONAL) != 0)
        buffer_text(out, ", optional");
    else if (!set && !field_is_meta(field))
        buffer_text(out, ", required");
    if ((field->flags & SLUICE_SECRET) != 0)
        buffer_text(out, ", secret");
    if (field->help != NULL)
        buffer_format(out, ": %s", field->help);
    buffer_byte(out, '\n');
}

static void fields_text(const char *title, const struct sluice_field *fields, bool set, struct buffer *out)
{
    if (fields == NULL || fields->name == NULL)
        return;
    buffer_format(out, "    %s\n", title);
    for (; fields->name != NULL; fields++)
        field_text(fields, set, out);
}

static void handler_text(const char *plugin, const struct sluice_handler *handler, struct buffer *out)
{
    buffer_format(out, "\n  %s.%s%s%s\n", plugin, handler->name, handler->help == NULL ? "" : " - ",
                  or_empty(handler->help));
    buffer_format(out, "    for %ss, at most %" PRIu32 " a call%s\n", describe_kind_word(handler->kind),
                  handler->max_events, handler->uses_store != 0 ? ", needs the store" : "");
    fields_text("fields", handler->input, false, out);
    if (handler->outcomes != NULL && handler->outcomes->name != NULL)
        buffer_text(out, "    outcomes\n");
    for (const struct sluice_outcome *outcome = handler->outcomes; outcome != NULL && outcome->name != NULL; outcome++)
        buffer_format(out, "      %-20s %s\n", outcome->name, or_empty(outcome->help));
    fields_text("sets", handler->sets, true, out);
}

void describe_text(const struct sluice_plugin *plugin, const struct described *from, struct buffer *out)
{
    buffer_format(out, "%s %s%s%s\n", plugin->name, plugin->version, plugin->help == NULL ? "" : " - ",
                  or_empty(plugin->help));
    buffer_format(out, "  library %s\n  sha256 %s\n  plugin ABI %u.%u", from->path, from->sha256, plugin->abi_major,
                  plugin->abi_minor);
    if (plugin->reserved != 0) /* it has the same ones, or would not be loaded */
        for (size_t i = 0; from->engine->unstable_rows[i] != NULL; i++)
            buffer_format(out, "%s%s", i == 0 ? " and its unstable rows " : ", ", from->engine->unstable_rows[i]);
    buffer_format(out, "%s\n", from->note ? "" : "; the file has no note that says so before it is loaded");
    fields_text("settings", plugin->settings, false, out);
    for (const struct sluice_handler *handler = plugin->handlers; handler->name != NULL; handler++)
        handler_text(plugin->name, handler, out);
}
