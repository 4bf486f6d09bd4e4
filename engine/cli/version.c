/*
 * version.c - `sluice version`: this program, its plugin contract, its failpoints, and the reference pages that are
 * made from its own tables.
 */
#include "cli/cli.h"

#include "base/failpoint.h"
#include "base/metrics.h"
#include "doctor/doctor.h"
#include "pipeline/pipeline.h"
#include "sluice/plugin.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { REFERENCE_BYTES_MAX = 4 * 1024 * 1024 };

/* What docs/ holds of it; tests/check/generated keeps the two equal. */
static const struct reference {
    const char *name;
    void (*print)(struct buffer *out);
} references[] = {
    {"configuration", pipeline_reference},
    {"doctor", doctor_reference},
    {"metrics", metrics_print_reference},
    {"schema", pipeline_schema},
};
enum { REFERENCE_COUNT = sizeof references / sizeof references[0] };

static void usage(FILE *out)
{
    fputs("usage: sluice version [--failpoints | --reference NAME]\n"
          "Prints the version of this program and of the plugin contract that it speaks.\n\n"
          "  --failpoints       the names that SLUICE_FAILPOINTS can arm, for tests\n"
          "  --reference NAME   a reference made from the program's own tables:",
          out);
    for (int i = 0; i < REFERENCE_COUNT; i++)
        fprintf(out, "%s %s", i == 0 ? "" : ",", references[i].name);
    fputs("\n"
          "  -h, --help         this text\n",
          out);
}

static void print_failpoint(const char *name, void *context)
{
    (void)context;
    puts(name);
}

static int print_reference(const char *name)
{
    for (int i = 0; i < REFERENCE_COUNT; i++) {
        if (strcmp(name, references[i].name) != 0)
            continue;
        struct buffer out;
        buffer_init(&out, REFERENCE_BYTES_MAX);
        references[i].print(&out);
        (void)buffer_write(&out, stdout);
        buffer_free(&out);
        return CLI_OK;
    }
    return cli_misuse("version", "--reference %s: there is no such reference", name);
}

int cli_version(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {{"failpoints", no_argument, NULL, 'f'},
                                            {"reference", required_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    (void)buses;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'f':
            failpoints_list(print_failpoint, NULL);
            return CLI_OK;
        case 'r':
            return print_reference(optarg);
        case 'h':
            usage(stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 0, 0, "no more words"))
        return CLI_USAGE;
    printf("sluice %s, plugin contract %d.%d\n", SLUICE_VERSION, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    return CLI_OK;
}
