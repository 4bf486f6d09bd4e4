/*
 * graph.c - `sluice graph CONFIG…`: the flow, drawn; of several files that work together, as one.
 */
#include "cli/cli.h"

#include "cli/open.h"

#include <getopt.h>
#include <stdio.h>

static void usage(FILE *out)
{
    fputs("usage: sluice graph CONFIG… [--format text|mermaid|dot|svg|json]\n"
          "Draws topics, handlers, routes, retries, chains, taps and outbox tables on standard output.\n"
          "Several files are pipelines that work together, joined at the topics that they share.\n\n"
          "  --format F    text (the default), mermaid, dot, svg or json\n"
          "  -h, --help    this text\n",
          out);
}

/* Reads the files and prints what is wrong with them; draws them unless there is an error. */
static int draw(char *const *paths, size_t count, enum graph_format format)
{
    struct arena *arena = arena_create(64 * 1024, READINGS_ARENA_MAX);
    struct reading readings[READINGS_MAX] = {0};
    const struct pipeline *pipelines[READINGS_MAX];
    struct buffer said, out;
    for (size_t i = 0; i < count; i++) {
        reading_begin(paths[i], arena, &readings[i]);
        reading_finish(&readings[i], false);
        pipelines[i] = readings[i].pipeline;
    }
    if (count > 1)
        readings_join(readings, count);
    buffer_init(&said, 16 * 1024 * 1024);
    problems_print(&readings[0].problems, false, &said);
    (void)buffer_write(&said, stderr);
    buffer_free(&said);
    bool good = readings[0].problems.errors == 0;
    buffer_init(&out, 64 * 1024 * 1024);
    if (good)
        pipelines_graph(pipelines, count, format, &out);
    (void)buffer_write(&out, stdout);
    buffer_free(&out);
    arena_destroy(arena);
    return good ? CLI_OK : CLI_CONFIG;
}

int cli_graph(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {
        {"format", required_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'}, {0}};
    static const char *const names[] = {[GRAPH_TEXT] = "text", [GRAPH_MERMAID] = "mermaid", [GRAPH_DOT] = "dot",
                                        [GRAPH_SVG] = "svg",   [GRAPH_JSON] = "json",       NULL};
    int format = GRAPH_TEXT;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'f':
            for (format = 0; names[format] != NULL && strcmp(names[format], optarg) != 0;)
                format++;
            if (names[format] == NULL)
                return cli_misuse("graph", "--format %s: expected text, mermaid, dot, svg or json", optarg);
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
    (void)buses;
    return draw(argv + optind, (size_t)(argc - optind), (enum graph_format)format);
}
