/*
 * inspect.c - `sluice inspect PLUGIN.so`: what a plugin offers, or why it is refused.
 *
 * Its file is looked at first, without running anything of it, then it is loaded in a child process: one that crashes,
 * hangs or exits is reported. Nothing of it is called but sluice_plugin().
 */
#include "cli/cli.h"

#include "plugin/describe.h"
#include "plugin/plugin.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { INSPECT_TIMEOUT_MS = 10000, INSPECT_BYTES_MAX = 16 * 1024 * 1024 };

static void usage(FILE *out)
{
    fputs("usage: sluice inspect PLUGIN.so [--json] [--timeout DURATION]\n"
          "Shows the settings, handlers, fields and outcomes of a plugin, or why it cannot be loaded.\n\n"
          "  --json               for programs\n"
          "  --timeout DURATION   how long it may take to load (default 10s)\n"
          "  -h, --help           this text\n",
          out);
}

static int inspect(const char *path, bool json, int64_t timeout_ms)
{
    const struct sluice_plugin *plugin;
    struct plugin_look look;
    struct error error = {0};
    struct buffer out;
    if (access(path, R_OK) != 0) {
        error_set(&error, errno, "%s cannot be read: %s; expected the path of a plugin's .so", path, strerror(errno));
        return cli_failed("inspect", &error);
    }
    if (plugin_look(path, &look, &error) != 0 || plugin_probe(path, timeout_ms, &error) != 0 ||
        plugin_load(path, &plugin, &error) != 0)
        return cli_failed("inspect", &error);
    buffer_init(&out, INSPECT_BYTES_MAX);
    const struct described from = {.path = path, .sha256 = look.sha256, .note = look.note, .engine = &abi_current};
    (json ? describe_json : describe_text)(plugin, &from, &out);
    bool written = !out.failed && buffer_write(&out, stdout) && fflush(stdout) == 0;
    buffer_free(&out);
    if (!written)
        fputs("sluice inspect: the description could not be written\n", stderr);
    return written ? CLI_OK : CLI_FAILED;
}

int cli_inspect(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bool json = false;
    int64_t timeout_ms = INSPECT_TIMEOUT_MS;
    (void)buses;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        if (option == 'h') {
            usage(stdout);
            return CLI_OK;
        }
        if (option == 'j')
            json = true;
        else if (option != 't')
            return CLI_USAGE;
        else if (duration_parse(span_of(optarg), &timeout_ms) != 0 || timeout_ms < 1)
            return cli_misuse("inspect", "--timeout %s: expected a duration with its unit, like 10s", optarg);
    }
    if (!cli_operands(argc, argv, 1, 1, "a PLUGIN.so"))
        return CLI_USAGE;
    return inspect(argv[optind], json, timeout_ms);
}
