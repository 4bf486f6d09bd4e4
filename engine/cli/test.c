/*
 * test.c - `sluice test FILE…`: whole flows in virtual time.
 */
#include "cli/test.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static void interrupt(int number)
{
    test_interrupted = number;
}

static void usage(FILE *out)
{
    fputs("usage: sluice test FILE… [--filter TEXT] [--junit REPORT] [--coverage] [--watch]\n"
          "Runs the flow tests of each FILE: the pipeline that it names, with its plugins, on a bus in memory and in "
          "virtual time.\n"
          "Handlers with SQL get a fresh database for each test, on the server of $DATABASE_URL, or on a private one "
          "that is\n"
          "started where initdb is found. Exits 0 when all pass, 1 when one fails, 78 when a file is wrong.\n\n"
          "  --filter TEXT   only tests whose name holds TEXT; none is a failure\n"
          "  --junit REPORT  writes what became of each test, as CI systems read it\n"
          "  --coverage      says at the end which topics, outcomes, requests, schedules and taps no test has reached\n"
          "  --watch         runs a file again when it, its pipeline, a plugin or a migration changes; Ctrl-C ends it\n"
          "  -h, --help      this text\n",
          out);
}

/* A pipeline names its database with ${DATABASE_URL}, which each test has another one for. */
static const char *given_url(void)
{
    const char *url = getenv("DATABASE_URL");
    if (url != NULL && url[0] != '\0')
        return url;
    (void)setenv("DATABASE_URL", "dbname=sluice_test", 1);
    return NULL;
}

int cli_test(int argc, char **argv, const struct buses *buses)
{
    static const struct option known[] = {
        {"filter", required_argument, NULL, 'f'}, {"junit", required_argument, NULL, 'j'},
        {"coverage", no_argument, NULL, 'c'},     {"watch", no_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},         {0}};
    struct test_options options = {.buses = buses};
    bool watch = false;
    for (int option; (option = cli_option(argc, argv, known)) != -1;) {
        switch (option) {
        case 'f':
            options.filter = optarg;
            break;
        case 'j':
            options.junit = optarg;
            break;
        case 'c':
            options.coverage = true;
            break;
        case 'w':
            watch = true;
            break;
        case 'h':
            usage(stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 1, argc, "a FILE of flow tests, or several"))
        return CLI_USAGE;
    const char *url = given_url();
    const struct sigaction action = {.sa_handler = interrupt};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    size_t count = (size_t)(argc - optind);
    return watch ? tests_watch(&options, argv + optind, count, url)
                 : tests_run(&options, argv + optind, count, url, -1);
}
