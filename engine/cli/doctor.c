/*
 * doctor.c - `sluice doctor CONFIG`: opens what the checks of engine/doctor/ look at, and shows what they found.
 */
#include "doctor/doctor.h"

#include "cli/cli.h"
#include "cli/parts.h"
#include "cli/plain.h"
#include "operate/json.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

enum { DOCTOR_CONNECT_MS = 3000, DOCTOR_TEXT_MAX = 16 * 1024 * 1024 };

static void usage(FILE *out)
{
    fputs(
        "usage: sluice doctor CONFIG [--json]\n"
        "Looks at CONFIG, its database, its brokers, what waits in them, and this machine, and prints a line for each "
        "check: good,\n"
        "warns, bad, or not checked with the reason; under what is not good stands what to do. Changes nothing.\n"
        "Exit code 0 when nothing is bad, 1 when something is, 78 when CONFIG has errors.\n\n"
        "  --json        for programs\n"
        "  -h, --help    this text\n",
        out);
}

/* --------------------------------------------------------------------------------------------------------- the view */

struct shown {
    struct buffer json;
    const char *subject; /* of the last line */
    size_t counts[HEALTH_BAD + 1];
    bool file_bad, progress;
};

static void show_progress(const struct check *check, void *context)
{
    const struct shown *shown = context;
    if (shown->progress)
        fprintf(stderr, "\r\033[K… %s", check->name);
}

static void show_text(const struct examined *examined, void *context)
{
    static const char *const colors[] = {[HEALTH_GOOD] = "\033[32m",
                                         [HEALTH_UNCHECKED] = "\033[2m",
                                         [HEALTH_WARNS] = "\033[33m",
                                         [HEALTH_BAD] = "\033[31m"};
    struct shown *shown = context;
    bool color = isatty(STDOUT_FILENO);
    shown->counts[examined->health]++;
    shown->file_bad = shown->file_bad || (examined->subject == file_checks.subject && examined->health == HEALTH_BAD);
    if (shown->progress)
        fputs("\r\033[K", stderr);
    if (shown->subject != examined->subject)
        printf("%s%s\n", shown->subject == NULL ? "" : "\n", examined->subject);
    shown->subject = examined->subject;
    for (size_t i = 0; i < examined->count; i++) {
        const struct finding *finding = &examined->findings[i];
        printf("  %s%-11s%s  %s: ", color ? colors[finding->health] : "", health_word(finding->health),
               color ? "\033[0m" : "", examined->check->name);
        plain_print(span_of(finding->text), 0); /* servers and other users speak in it */
        if (finding->cure != NULL) {
            fputs("\n               → ", stdout);
            plain_print(span_of(finding->cure), 0);
        }
        putchar('\n');
    }
    if (examined->further > 0)
        printf("  %-11s  %s: and %zu more\n", health_word(examined->health), examined->check->name, examined->further);
    fflush(stdout);
}

static void show_json(const struct examined *examined, void *context)
{
    struct shown *shown = context;
    struct buffer *out = &shown->json;
    shown->counts[examined->health]++;
    shown->file_bad = shown->file_bad || (examined->subject == file_checks.subject && examined->health == HEALTH_BAD);
    buffer_text(out, out->length == 0 ? "" : ",\n");
    json_text(out, " {", "subject", examined->subject);
    json_text(out, ",", "check", examined->check->name);
    json_text(out, ",", "health", health_word(examined->health));
    buffer_text(out, ",\"findings\":[");
    for (size_t i = 0; i < examined->count; i++) {
        json_text(out, i == 0 ? "{" : ",{", "health", health_word(examined->findings[i].health));
        json_bytes(out, ",", "text", span_of(examined->findings[i].text));
        json_text(out, ",", "cure", examined->findings[i].cure);
        buffer_byte(out, '}');
    }
    buffer_format(out, "],\"further\":%zu}", examined->further);
}

static void show_end(const struct shown *shown, const char *config, enum health worst, bool json)
{
    if (json)
        printf("{\"health\":\"%s\",\"checks\":[\n%.*s\n]}\n", health_word(worst), (int)shown->json.length,
               shown->json.at);
    else
        printf("\n%s: %zu good, %zu warn%s, %zu bad, %zu not checked\n", config, shown->counts[HEALTH_GOOD],
               shown->counts[HEALTH_WARNS], shown->counts[HEALTH_WARNS] == 1 ? "s" : "", shown->counts[HEALTH_BAD],
               shown->counts[HEALTH_UNCHECKED]);
}

/* -------------------------------------------------------------------------------------------------------- the model */

static const char *sentence(struct arena *arena, const struct error *error)
{
    return arena_format(arena, "%s%s%s", error->text, error->hint[0] != '\0' ? "; " : "", error->hint);
}

/* What can be opened is, whatever is wrong elsewhere. The postgres bus maintains its log when it is opened: its checks
 * are statements. */
static void open_parts(struct parts *parts, struct exam *exam)
{
    struct pipeline *pipeline = parts->pipeline;
    struct error error = {0};
    if (pipeline->store.connect_timeout_ms > DOCTOR_CONNECT_MS)
        pipeline->store.connect_timeout_ms = DOCTOR_CONNECT_MS;
    if (pipeline->store.statement_timeout_ms > DOCTOR_CONNECT_MS)
        pipeline->store.statement_timeout_ms = DOCTOR_CONNECT_MS;
    if (parts_attach(parts, PARTS_STORE, &error) != 0)
        exam->store_error = sentence(parts->arena, &error);
    else if (pipeline->store.present && parts->store == NULL)
        exam->store_error = "store.url says nothing";
    error = (struct error){0};
    if (parts_migrations(parts, &error) != 0)
        exam->migrations_error = sentence(parts->arena, &error);
    error = (struct error){0};
    if (pipeline->bus.kind == BUS_CHOICE_KAFKA && pipeline->bus.whole && parts_attach(parts, PARTS_LOOK, &error) != 0)
        exam->bus_error = sentence(parts->arena, &error);
    exam->store = parts->store;
    exam->bus = parts->bus;
    exam->migrations = parts->migrations;
}

static int examine(const char *config, bool json, const struct buses *buses)
{
    struct parts parts;
    struct shown shown = {.progress = !json && isatty(STDERR_FILENO)};
    parts_read(config, buses, &parts);
    reading_finish(&parts.reading, true);
    parts_warn_migrations(&parts, &parts.reading.problems);
    struct exam exam = {
        .config = config, .pipeline = parts.pipeline, .problems = &parts.reading.problems, .arena = parts.arena};
    open_parts(&parts, &exam);
    buffer_init(&shown.json, DOCTOR_TEXT_MAX);
    const struct doctor_view view = {show_progress, json ? show_json : show_text, &shown};
    enum health worst = doctor_examine(&exam, &view);
    show_end(&shown, config, worst, json);
    buffer_free(&shown.json);
    parts_close(&parts);
    return shown.file_bad ? CLI_CONFIG : worst == HEALTH_BAD ? CLI_FAILED : CLI_OK;
}

int cli_doctor(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool json = false;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        if (option == 'h') {
            usage(stdout);
            return CLI_OK;
        }
        if (option == '?')
            return CLI_USAGE;
        json = true;
    }
    if (!cli_operands(argc, argv, 1, 1, "a CONFIG"))
        return CLI_USAGE;
    return examine(argv[optind], json, buses);
}
