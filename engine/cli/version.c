/*
 * version.c - `sluice version`: this program, its plugin contract, its failpoints.
 */
#include "base/failpoint.h"
#include "cli/cli.h"
#include "sluice/plugin.h"

#include <stdbool.h>

#include <stdio.h>
#include <string.h>

static void print_failpoint(const char *name, void *context)
{
    (void)context;
    puts(name);
}

int cli_version(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--failpoints") == 0) {
        failpoints_list(print_failpoint, NULL);
        return CLI_OK;
    }
    bool help = argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0);
    if (argc > 1 && !help) {
        fprintf(stderr, "sluice version: unknown argument '%s'\nusage: sluice version [--failpoints]\n", argv[1]);
        return CLI_USAGE;
    }
    if (help)
        puts("usage: sluice version [--failpoints]\nPrints the version, and the failpoints that SLUICE_FAILPOINTS can arm.");
    else
        printf("sluice %s, plugin contract %d.%d\n", SLUICE_VERSION, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    return CLI_OK;
}
