/*
 * migrate.c - `sluice migrate CONFIG`: brings the database to this program's level, the engine's tables and each
 * plugin's, and makes the topics that a bus lacks.
 */
#include "cli/cli.h"

#include "cli/parts.h"
#include "pipeline/tree.h"
#include "store/migrate.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { MIGRATE_TEXT_MAX = 1024 * 1024 };

static void usage(FILE *out)
{
    fputs("usage: sluice migrate CONFIG [--check]\n"
          "Applies the numbered SQL files that the database of CONFIG does not have yet: the engine's, then each "
          "plugin's. On the kafka\n"
          "bus it makes the topics that the brokers lack, with the partitions and the replication that CONFIG says.\n\n"
          "  --check       change nothing; exit 1 when something is missing\n"
          "  -h, --help    this text\n",
          out);
}

static void print_applied(const struct migration_step *step, void *context)
{
    (*(int *)context)++;
    if (step->number == 0)
        printf("made the table %s\n", step->name);
    else
        printf("applied %s/%s\n", step->owner, step->name);
    fflush(stdout);
}

/* A plugin that has no folder of them may have been forgotten: then everything else is up to date. */
static void print_missing(const struct parts *parts)
{
    struct problems problems;
    struct buffer text;
    problems_init(&problems, parts->arena);
    parts_warn_migrations(parts, &problems);
    buffer_init(&text, MIGRATE_TEXT_MAX);
    problems_print(&problems, false, &text);
    (void)buffer_write(&text, stderr);
    buffer_free(&text);
}

static enum store_result check_store(const struct parts *parts, struct error *error)
{
    enum store_result result = migrate_check(parts->store, parts->migrations, error);
    return result == STORE_OK ? migrate_check_made(parts->store, parts->migrations, error) : result;
}

static int migrate_store(struct parts *parts, bool check, int *applied)
{
    struct error error = {0};
    if (parts->store == NULL)
        return CLI_OK;
    enum store_result result = parts_migrations(parts, &error) == 0 ? STORE_OK : STORE_DEPLOY;
    if (result == STORE_OK)
        result = store_check_session(parts->store, &error);
    if (result == STORE_OK)
        result = check ? check_store(parts, &error)
                       : migrate_apply(parts->store, parts->migrations, print_applied, applied, &error);
    if (result != STORE_OK)
        cli_failed("migrate", &error);
    else if (*applied == 0)
        printf("the database is up to date\n");
    return result == STORE_OK ? CLI_OK : CLI_FAILED;
}

struct topic_counts {
    int made, missing;
};

static void print_finding(const struct bus_finding *finding, void *context)
{
    struct topic_counts *topics = context;
    topics->made += finding->kind == BUS_FINDING_MADE;
    topics->missing += finding->kind == BUS_FINDING_ERROR;
    if (finding->kind == BUS_FINDING_MADE)
        printf("%s\n", finding->text);
    else if (finding->kind == BUS_FINDING_ERROR)
        fprintf(stderr, "sluice migrate: %s\n", finding->text);
}

/* The bus is opened only now: it may need the tables. */
static int migrate_topics(struct parts *parts, const char *config, bool check)
{
    struct topic_counts topics = {0};
    struct error error = {0};
    int code = parts_attach(parts, PARTS_BUS, &error);
    if (code == 0 && parts->bus->kind->topics == NULL) {
        if (parts->store == NULL)
            fprintf(stderr, "%s: this pipeline has no `store:`, so there is nothing to migrate\n", config);
        return parts->store == NULL ? CLI_FAILED : CLI_OK;
    }
    if (code == 0)
        code = bus_topics(parts->bus, !check, print_finding, &topics, &error);
    if (code != 0)
        return cli_failed("migrate", &error);
    if (topics.made + topics.missing == 0)
        printf("every topic is there\n");
    return topics.missing == 0 ? CLI_OK : CLI_FAILED;
}

int cli_migrate(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {{"check", no_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool check = false;
    int applied = 0;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'c':
            check = true;
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
    int code = parts_open(argv[optind], PARTS_STORE, false, buses, &parts);
    if (code != CLI_OK)
        return code;
    print_missing(&parts);
    code = migrate_store(&parts, check, &applied);
    if (code == CLI_OK)
        code = migrate_topics(&parts, argv[optind], check);
    parts_close(&parts);
    return code;
}
