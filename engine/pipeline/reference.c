/*
 * reference.c - the reference page of pipeline.yaml, from the tables that read it.
 */
#include "pipeline/option.h"

static const char *const head =
    "# pipeline.yaml: every key\n\n"
    "<!-- Made from the engine's own tables by `sluice version --reference configuration`: edit "
    "engine/pipeline/option_table.c. -->\n\n"
    "A file is one YAML document of mappings, lists and scalars. Unknown and doubled keys, anchors, aliases, tags and "
    "merge keys are\n"
    "refused, with the place and the nearest name. `sluice validate FILE` says everything that is wrong with a file in "
    "one run, and\n"
    "[pipeline.schema.json](pipeline.schema.json) lets an editor complete it: begin the file with\n"
    "`# yaml-language-server: $schema=docs/pipeline.schema.json`.\n\n"
    "* **Durations** carry a unit: `250ms`, `1s`, `5m`, `2h`, `7d`. **Sizes** too: `512B`, `64KiB`, `1MiB`.\n"
    "* **Names** of topics have 1 to 249 letters, digits, `.`, `_` or `-`.\n"
    "* `${VAR}`, `${VAR:-default}` and `${file:PATH}` are put into a value after YAML was read: what they give is "
    "never read as YAML, and is\n"
    "  shown as `***`. Inside of `{ }` and `[ ]` they stand in quotes, or YAML takes their braces for its own. A "
    "default is for a variable that is unset or empty; one that is unset without it is an error. A "
    "file's last line ends are dropped; PATH is "
    "relative to the folder\n"
    "  that the program runs in.\n"
    "* **Retries** do not count the first try: `max_retries: 3` is four tries.\n\n";

static const char *const cron_text =
    "`cron` says minute, hour, day of the month (1 to 31), month (1 to 12) and day of the week (0 to 7, Sunday is 0 "
    "and "
    "7) by the clocks of\n"
    "`timezone`. When both day fields are restricted, that is neither begins with `*`, a day that fits one of them "
    "ticks, as in cron.\n"
    "`5/10` is from 5 on. `sluice validate` shows the next three ticks.\n\n"
    "* **When clocks change**, a time that is skipped ticks once, at the moment the clocks go forward (02:30 becomes "
    "03:00), and one that\n"
    "  comes twice ticks the first time. With `*` for the hour, it ticks in each hour that passes: both times in one "
    "that comes twice, and\n"
    "  nothing is made up for. Time zones are read when the program starts.\n"
    "* **Each tick once**, in one process of all, in the transaction of its handler. What was missed while no process "
    "ran, the database\n"
    "  was down or the schedule was paused, is one tick, with the time of the last one; so is one whose transaction "
    "failed, which is tried\n"
    "  again every second. A new schedule begins with its next time; an expression that was changed counts as if it "
    "had "
    "been so since the\n"
    "  last tick. Without a `store` each process ticks for itself, and what is missed is not made up for.\n\n";

static const char *const route_text =
    "A route is a topic, a topic with a delay (`{topic: T, delay: 10m}`), a list of such, `drop`, or a retry "
    "ladder.\n\n"
    "* **A list** emits one event to each of its topics, in the same transaction. Each has an id of its own, derived "
    "from the event, the\n"
    "  handler, the outcome and the topic, so that a repeated emission repeats it. The order of the list does not "
    "matter, but a topic alone\n"
    "  and the same topic in a list have different ids.\n"
    "* **A delay** is kept where the topic is handled, in the same file. The event is on its topic at once, where taps "
    "see it; its handler\n"
    "  gets it, and its chains are told, when the delay is over: in the database until then, listed by `sluice delayed "
    "list`, released or\n"
    "  cancelled by it. Other events of its key do not wait for it, so it comes behind those that came in the "
    "meantime. "
    "Without a `store` it\n"
    "  waits in memory, and its key with it.\n\n";
static const char *const ladder_text =
    "A retry ladder: the event goes to the topic `retry` with its counter raised, comes to the same\n"
    "handler after the delay, and goes to `exhausted` after the last step.\n\n";

static const char *const timer_text =
    "A timer begins when the chain meets an event of the topic `from`, and emits one event to `emit` when `after` is\n"
    "over, unless it ended before: an event of `cancel_on` came (before or after that of `from`: topics are not\n"
    "ordered among each other), all steps are done, or the chain is aborted or closed. Another event of `from` begins\n"
    "it again, with its data; the same event again does not. What is emitted has the data and correlation of the "
    "event\n"
    "of `from`, and the key of the topic `emit`, or else the key of that event. What the timer waited for changes\n"
    "nothing when it comes later. Timers that run are listed by `sluice delayed list`, `sluice chain show` and\n"
    "`sluice explain`; an instance keeps the timers of the definition that it began with. The steps of a chain with\n"
    "timers are all written down.\n\n";

static const char *type_word(const struct option *option)
{
    switch (option->type) {
    case OPTION_TEXT:
        if (option->list)
            return option->choices != NULL ? "one, or a list, of " : "text, or a list of texts";
        return option->choices != NULL ? "" : "text";
    case OPTION_BOOL:
        return "`true` or `false`";
    case OPTION_INT32:
    case OPTION_INT64:
        return "whole number";
    case OPTION_NUMBER:
        return "number";
    case OPTION_DURATION:
        return "duration";
    case OPTION_SIZE:
        return "size";
    case OPTION_SECTION:
        return "section";
    case OPTION_MAP:
        return "sections by name";
    case OPTION_LIST:
        return option->section != NULL ? "list of sections" : "list of texts";
    case OPTION_ROUTES:
        return "`OUTCOME: ROUTE`";
    case OPTION_NAMES:
        return option->choices != NULL ? "`OLD:` " : "`OLD: NEW`";
    case OPTION_ANY:
        return "mapping";
    }
    return "";
}

static void put_range(const struct option *option, struct buffer *out)
{
    char least[32], most[32];
    bool bounded = option->min != 0 || option->max != 0;
    switch (option->type) {
    case OPTION_DURATION:
        buffer_format(out, ", %s to %s", duration_text(option->min, least), duration_text(option->max, most));
        break;
    case OPTION_SIZE:
        buffer_format(out, ", %s to %s", size_text(option->min, least), size_text(option->max, most));
        break;
    case OPTION_INT32:
    case OPTION_INT64:
    case OPTION_NUMBER:
        if (bounded)
            buffer_format(out, ", %lld to %lld", (long long)option->min, (long long)option->max);
        break;
    default:
        break;
    }
}

/* A '|' would end the cell. */
static void put_cell(struct buffer *out, const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        if (*text == '|')
            buffer_byte(out, '\\');
        buffer_byte(out, *text);
    }
}

static void put_choices(const char *choices, struct buffer *out)
{
    while (choices != NULL) {
        size_t length = strcspn(choices, "|");
        buffer_format(out, "`%.*s`", (int)length, choices);
        choices = choices[length] == '|' ? choices + length + 1 : NULL;
        buffer_text(out, choices != NULL ? ", " : "");
    }
}

static void put_table(const struct option *options, struct buffer *out)
{
    bool helped = options != property_options;
    buffer_text(out,
                helped ? "| key | what | value | default |\n|---|---|---|---|\n" : "| property | value |\n|---|---|\n");
    for (const struct option *option = options; option->key != NULL; option++) {
        buffer_format(out, "| `%s` | ", option->key);
        put_cell(out, option->help);
        buffer_text(out, helped ? " | " : "");
        buffer_text(out, type_word(option));
        put_choices(option->choices, out);
        put_range(option, out);
        if (helped && option->required)
            buffer_text(out, " | **needed** |\n");
        else if (helped && option->fallback != NULL)
            buffer_format(out, " | `%s` |\n", option->fallback);
        else
            buffer_text(out, helped ? " | |\n" : " |\n");
    }
    buffer_byte(out, '\n');
}

/* The same section stands in several places; it is written down once, where it comes first. */
struct pages {
    const struct option *done[32];
    size_t count;
    struct arena *arena;
    struct buffer *out;
};

static void put_sections(struct pages *pages, const struct option *options, const char *path)
{
    for (const struct option *option = options; option->key != NULL; option++) {
        const char *entry = option->type == OPTION_MAP      ? ".NAME"
                            : option->type == OPTION_LIST   ? "[]"
                            : option->type == OPTION_ROUTES ? ".OUTCOME"
                                                            : "";
        const char *here = arena_format(pages->arena, "%s%s%s%s", path, path[0] == '\0' ? "" : ".", option->key, entry);
        bool done = option->section == NULL;
        for (size_t i = 0; i < pages->count && !done; i++)
            done = pages->done[i] == option->section;
        if (done)
            continue;
        buffer_format(pages->out, "## `%s`\n\n", here);
        if (option->section == ladder_options) {
            buffer_text(pages->out, route_text);
            put_table(target_options, pages->out);
            buffer_text(pages->out, ladder_text);
        }
        if (option->section == chain_timer_options)
            buffer_text(pages->out, timer_text);
        if (option->section == schedule_options)
            buffer_text(pages->out, cron_text);
        if (option->section == property_options)
            buffer_text(pages->out, "With `kind: kafka`. Properties that load code, run a command, or that the engine "
                                    "owns (`group.id`, `acks`, offsets) are refused.\n\n");
        put_table(option->section, pages->out);
        pages->done[pages->count++] = option->section;
        put_sections(pages, option->section, here);
    }
}

void pipeline_reference(struct buffer *out)
{
    struct pages pages = {.arena = arena_create(16 * 1024, 1024 * 1024), .out = out};
    buffer_text(out, head);
    put_table(pipeline_options, out);
    put_sections(&pages, pipeline_options, "");
    arena_destroy(pages.arena);
}
