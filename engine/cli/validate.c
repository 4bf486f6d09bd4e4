/*
 * validate.c - `sluice validate CONFIG…`: everything that would go wrong, in one run, before anything starts. Several
 * files are looked at one by one, and then together. With --connect it also compares each file with the database and
 * the brokers that it names.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "cli/open.h"
#include "cli/parts.h"
#include "cli/tracing.h"
#include "run/names.h"
#include "store/ledger_outbox_table.h"
#include "store/migrate.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

enum { NAMES_WAIT_MS = 10000, NAMES_AGAIN_US = 200000, TICKS_SHOWN = 3 };

static void usage(FILE *out)
{
    fputs("usage: sluice validate CONFIG… [--connect] [--json] [--deny-warnings]\n"
          "Reads CONFIG and its plugins, and says everything that is wrong with them: file:line:column, what was "
          "expected, what to do.\n"
          "Several files are pipelines that work together: it also says what is wrong between them (topics that none "
          "handles, keys,\n"
          "partitions, groups, fields, cycles, a retry ladder that outlasts a hold).\n"
          "Shows the next ticks of schedules with `cron`. Exit code 0, or 78 when there are errors.\n\n"
          "  --connect          look at the database and the brokers, too: tables, topics, partitions, replicas, "
          "sizes, retention,\n"
          "                     what waits for names that left the file, where groups begin, the collector of traces;\n"
          "                     without it nothing is connected to\n"
          "  --json             a list for programs\n"
          "  --deny-warnings    warnings count as errors\n"
          "  -h, --help         this text\n",
          out);
}

/* A finding stands where the file names the topic. */
struct found {
    const struct pipeline *pipeline;
    struct problems *problems;
};

static void found_one(const struct bus_finding *finding, void *context)
{
    struct found *found = context;
    const struct topic *topic = finding->topic == NULL ? NULL : pipeline_topic(found->pipeline, finding->topic);
    struct place place = topic == NULL ? found->pipeline->bus.place : topic->place;
    if (finding->kind == BUS_FINDING_ERROR)
        problem_add(found->problems, place, finding->code, "%s", finding->text);
    else
        problem_warn(found->problems, place, finding->code, "%s", finding->text);
}

static void found_name(void *context, struct place place, const char *code, const char *text)
{
    problem_add(context, place, code, "%s", text);
}

/* What waits for names that left the file, and groups that must be told where to begin. Changes nothing. Topics that
 * were just made may have no leader for a moment. */
static void connect_names(const struct parts *parts, struct problems *problems)
{
    struct error error = {0};
    const struct problems before = *problems;
    struct connection *connection = parts->store == NULL ? NULL : connection_create(parts->store, "names");
    int code = parts->store != NULL && connection == NULL ? error_set(&error, ENOMEM, "out of memory") : -EAGAIN;
    for (int64_t until = clock_monotonic_ms() + NAMES_WAIT_MS; code == -EAGAIN;) {
        struct names names = {.config = parts->pipeline,
                              .connection = connection,
                              .bus = parts->bus,
                              .arena = parts->arena,
                              .error = &error,
                              .each = found_name,
                              .context = problems};
        code = names_check(&names);
        if (code != -EAGAIN || clock_monotonic_ms() > until)
            break;
        *problems = before;
        usleep(NAMES_AGAIN_US);
    }
    if (code != 0 && code != -ENOKEY)
        problem_add(problems, parts->pipeline->bus.place, "names", "what waits cannot be looked up: %s", error.text);
    connection_destroy(connection);
}

static void connect_store(struct parts *parts, struct problems *problems)
{
    struct error error = {0};
    struct place place = parts->pipeline->store.place;
    const char *table = parts->pipeline->outbox_table.name;
    bool unread = false;
    if (parts->store == NULL)
        return;
    if (store_check(parts->store, &error) != STORE_OK)
        problem_add(problems, place, "store", "store: %s%s%s", error.text, error.hint[0] != '\0' ? "; " : "",
                    error.hint);
    else if (parts_migrations(parts, &error) != 0 ||
             migrate_check(parts->store, parts->migrations, &error) != STORE_OK ||
             migrate_check_made(parts->store, parts->migrations, &error) != STORE_OK)
        problem_add(problems, place, "store_schema", "store: %s%s%s", error.text, error.hint[0] != '\0' ? "; " : "",
                    error.hint);
    else if (table != NULL && outbox_table_unread(parts->store, table, &unread, &error) == STORE_OK && unread)
        problem_warn(problems, parts->pipeline->outbox_table.place, "outbox_table", "%s; %s", error.text, error.hint);
}

/* What the file says well is opened, whatever is wrong elsewhere in it. Opening connects to nothing: it finds
 * properties that the bus's library does not take. */
static void validate_opened(struct arena *arena, struct pipeline *pipeline, const struct buses *buses, bool connect,
                            struct problems *problems)
{
    struct parts parts = {.arena = arena, .pipeline = pipeline, .buses = buses};
    struct found found = {pipeline, problems};
    struct error error = {0};
    size_t before = problems->errors;
    int store = parts_attach(&parts, PARTS_STORE, &error), code = 0;
    if (store != 0 && connect)
        problem_add(problems, pipeline->store.place, "store", "store: %s%s%s", error.text,
                    error.hint[0] != '\0' ? "; " : "", error.hint);
    else if (connect)
        connect_store(&parts, problems);
    bool in_store = pipeline->bus.kind == BUS_CHOICE_POSTGRES;
    if (store == 0 && pipeline->bus.whole && (!in_store || (parts.store != NULL && problems->errors == before)))
        code = parts_attach(&parts, PARTS_LOOK, &error);
    if (code == 0 && connect && parts.bus != NULL)
        code = bus_topics(parts.bus, false, found_one, &found, &error);
    if (code == 0 && connect && parts.bus != NULL && problems->errors == 0)
        connect_names(&parts, problems);
    if (connect)
        tracing_connect(pipeline, problems);
    if (code != 0)
        problem_add(problems, pipeline->bus.place, "bus", "bus: %s%s%s", error.text, error.hint[0] != '\0' ? "; " : "",
                    error.hint);
    parts.arena = NULL; /* the caller's */
    parts_close(&parts);
    problems_sort(problems);
}

static void print_ticks(const struct schedule *schedule)
{
    char text[ZONE_TEXT_MAX];
    int64_t at_ms = clock_wall_ms();
    printf("schedule %s: next ticks", schedule->name);
    for (int i = 0; i < TICKS_SHOWN; i++) {
        at_ms = cron_next_ms(&schedule->cron, schedule->zone, at_ms);
        printf("%s %s", i == 0 ? "" : ",", zone_text(schedule->zone, at_ms / 1000, text));
    }
    putchar('\n');
}

static void print_good(const struct pipeline *pipeline)
{
    size_t dead_letter_topics = 0;
    for (size_t i = 0; i < pipeline->topic_count; i++)
        dead_letter_topics += pipeline->topics[i]->is_dead_letter;
    const struct {
        size_t count;
        const char *what;
    } counts[] = {{pipeline->topic_count - dead_letter_topics, "topic"},
                  {dead_letter_topics, "dead letter topic"},
                  {pipeline->binding_count, "bound handler"},
                  {pipeline->chain_count, "chain"},
                  {pipeline->tap_count, "tap"},
                  {pipeline->schedule_count, "schedule"},
                  {pipeline->request_count, "request"}};
    printf("%s: good", pipeline->file);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        printf("%s%zu %s%s", i == 0 ? ": " : ", ", counts[i].count, counts[i].what, counts[i].count == 1 ? "" : "s");
    putchar('\n');
    for (size_t i = 0; i < pipeline->schedule_count; i++)
        if (pipeline->schedules[i].every_ms == 0)
            print_ticks(&pipeline->schedules[i]);
}

int cli_validate(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {{"connect", no_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"deny-warnings", no_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bool json = false, deny = false, connect = false;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'c':
            connect = true;
            break;
        case 'j':
            json = true;
            break;
        case 'd':
            deny = true;
            break;
        case 'h':
            usage(stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 1, READINGS_MAX, "a CONFIG or more"))
        return CLI_USAGE;
    struct arena *arena = arena_create(64 * 1024, READINGS_ARENA_MAX);
    struct reading readings[READINGS_MAX] = {0};
    size_t count = (size_t)(argc - optind);
    struct problems *problems = &readings[0].problems;
    struct buffer text;
    for (size_t i = 0; i < count; i++) {
        struct reading *reading = &readings[i];
        reading_begin(argv[optind + (int)i], arena, reading);
        reading_finish(reading, true);
        if (connect || reading->pipeline->bus.kind == BUS_CHOICE_KAFKA)
            validate_opened(arena, reading->pipeline, buses, connect, &reading->problems);
    }
    if (count > 1)
        readings_join(readings, count);
    buffer_init(&text, 16 * 1024 * 1024);
    problems_print(problems, json, &text);
    if (text.length > 0)
        (void)buffer_write(&text, json ? stdout : stderr);
    buffer_free(&text);
    bool good = problems->errors == 0 && (!deny || problems->count == 0);
    for (size_t i = 0; good && !json && i < count; i++)
        print_good(readings[i].pipeline);
    const char *what = count == 1 ? argv[optind] : arena_format(arena, "%zu files", count);
    if (good && !json && count > 1)
        printf("%s: good together\n", what);
    else if (!good && !json)
        fprintf(stderr, "%s: %zu error%s, %zu warning%s\n", what, problems->errors, problems->errors == 1 ? "" : "s",
                problems->count - problems->errors, problems->count - problems->errors == 1 ? "" : "s");
    arena_destroy(arena);
    return good ? CLI_OK : CLI_CONFIG;
}
