/*
 * validate.c - `sluice validate CONFIG`: everything that would go wrong, in one run, before anything starts.
 */
#include "cli/cli.h"
#include "cli/open.h"

#include <getopt.h>
#include <stdio.h>

static void usage(FILE *out)
{
    fputs("usage: sluice validate CONFIG [--json] [--deny-warnings]\n"
          "Reads CONFIG and its plugins, and says everything that is wrong with them: file:line:column, what was expected, what to do.\n"
          "Connects to nothing. Exit code 0, or 78 when there are errors.\n\n"
          "  --json             a list for programs\n"
          "  --deny-warnings    warnings count as errors\n"
          "  -h, --help         this text\n",
          out);
}

int cli_validate(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {"deny-warnings", no_argument, NULL, 'd'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool json = false, deny = false;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'j': json = true; break;
        case 'd': deny = true; break;
        case 'h': usage(stdout); return CLI_OK;
        default: return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 1, 1, "a CONFIG"))
        return CLI_USAGE;
    struct arena *arena = arena_create(64 * 1024, 64 * 1024 * 1024);
    struct problems problems;
    struct pipeline *pipeline = NULL;
    struct buffer text;
    problems_init(&problems, arena);
    pipeline_open(argv[optind], true, arena, &problems, &pipeline);
    buffer_init(&text, 16 * 1024 * 1024);
    problems_print(&problems, json, &text);
    if (text.length > 0)
        fwrite(text.at, 1, text.length, json ? stdout : stderr);
    buffer_free(&text);
    bool good = problems.errors == 0 && (!deny || problems.count == 0);
    if (good && !json)
        printf("%s: good: %zu topics, %zu handlers at work, %zu chains, %zu taps, %zu schedules, %zu requests\n", argv[optind], pipeline->topic_count,
               pipeline->use_count, pipeline->chain_count, pipeline->tap_count, pipeline->schedule_count, pipeline->request_count);
    else if (!json)
        fprintf(stderr, "%s: %zu errors, %zu warnings\n", argv[optind], problems.errors, problems.count - problems.errors);
    arena_destroy(arena);
    return good ? CLI_OK : CLI_CONFIG;
}
