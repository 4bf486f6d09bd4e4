/*
 * explain.c - `sluice explain CONFIG CORRELATION`: one correlation's timeline, and what it waits for.
 *
 * Reads the bus for every event that carries the correlation, and the store for what became of each. Nothing is written
 * and no group is joined.
 */
#include "cli/cli.h"

#include "cli/parts.h"
#include "cli/timeline_text.h"

#include <getopt.h>
#include <stdio.h>

enum { EXPLAIN_ARENA_MAX = 512 * 1024 * 1024, EXPLAIN_JSON_MAX = 64 * 1024 * 1024 };

static void usage(FILE *out)
{
    fputs(
        "usage: sluice explain CONFIG CORRELATION [--why] [--json]\n"
        "Tells the story of one correlation: its events, tries, delays, outcomes, compensation, and what it is waiting "
        "for.\n"
        "CORRELATION is a value that the events carry in their data (a paymentTxId, say), or the id of an event: then\n"
        "that event and what came of it.\n\n"
        "  --why         only what it waits for: a line a cause, with the command that moves it\n"
        "  --json        for programs: all of it\n"
        "  -h, --help    this text\n",
        out);
}

static void print_json(const struct timeline *timeline)
{
    struct buffer json;
    buffer_init(&json, EXPLAIN_JSON_MAX);
    timeline_json(timeline, &json);
    (void)buffer_write(&json, stdout);
    buffer_free(&json);
}

static int explain(const struct parts *parts, const char *correlation, void (*print)(const struct timeline *timeline))
{
    struct error error = {0};
    if (parts->pipeline->bus.kind == BUS_CHOICE_MEMORY) {
        fprintf(stderr, "sluice explain: the memory bus lives inside the engine that runs it; nothing of it can be "
                        "seen from here; GET /correlations/ID of its http.listen, and /ui, show it\n");
        return CLI_FAILED;
    }
    struct timeline timeline = {
        .arena = arena_create(256 * 1024, EXPLAIN_ARENA_MAX), .pipeline = parts->pipeline, .correlation = correlation};
    struct connection *connection = parts->store == NULL ? NULL : connection_create(parts->store, "explain");
    bool good = timeline_read(&timeline, parts->bus, connection, &error) == 0;
    if (!good)
        cli_failed("explain", &error);
    else
        print(&timeline);
    connection_destroy(connection);
    arena_destroy(timeline.arena);
    return good ? CLI_OK : CLI_FAILED;
}

int cli_explain(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {
        {"why", no_argument, NULL, 'w'}, {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    void (*print)(const struct timeline *timeline) = timeline_print_text;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'w':
            print = timeline_print_why;
            break;
        case 'j':
            print = print_json;
            break;
        case 'h':
            usage(stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 2, 2, "a CONFIG and a CORRELATION"))
        return CLI_USAGE;
    if (argv[optind + 1][0] == '\0')
        return cli_misuse(
            "explain", "the CORRELATION is empty; expected a value that the events carry, a paymentTxId for example");
    struct parts parts;
    int code = parts_open(argv[optind], PARTS_LOOK, false, buses, &parts);
    if (code != CLI_OK)
        return code;
    code = explain(&parts, argv[optind + 1], print);
    parts_close(&parts);
    return code;
}
