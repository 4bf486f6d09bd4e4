/*
 * graph.c - `sluice graph CONFIG`: the flow, drawn.
 */
#include "cli/cli.h"

#include "cli/parts.h"

#include <getopt.h>
#include <stdio.h>

static void usage(FILE *out)
{
    fputs("usage: sluice graph CONFIG [--format text|mermaid|dot|svg|json]\n"
          "Draws topics, handlers, routes, retries, chains and taps on standard output.\n\n"
          "  --format F    text (the default), mermaid, dot, svg or json\n"
          "  -h, --help    this text\n",
          out);
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
    if (!cli_operands(argc, argv, 1, 1, "a CONFIG"))
        return CLI_USAGE;
    struct parts parts;
    struct buffer out;
    int code = parts_open(argv[optind], PARTS_PIPELINE, false, buses, &parts);
    if (code != CLI_OK)
        return code;
    buffer_init(&out, 64 * 1024 * 1024);
    pipeline_graph(parts.pipeline, (enum graph_format)format, &out);
    (void)buffer_write(&out, stdout);
    buffer_free(&out);
    parts_close(&parts);
    return CLI_OK;
}
