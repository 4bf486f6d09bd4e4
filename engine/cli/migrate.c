/*
 * migrate.c - `sluice migrate CONFIG`: brings the database to this program's level, the engine's tables and each plugin's.
 */
#include "cli/cli.h"
#include "cli/parts.h"
#include "store/migrate.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void usage(FILE *out)
{
    fputs("usage: sluice migrate CONFIG\n"
          "Applies the numbered SQL files that the database of CONFIG does not have yet: the engine's, then each plugin's.\n\n"
          "  --check       apply nothing; exit 1 when something is missing\n"
          "  -h, --help    this text\n",
          out);
}

static void said(const struct migration_step *step, void *context)
{
    (*(int *)context)++;
    printf("applied %s/%s\n", step->owner, step->name);
    fflush(stdout);
}

int cli_migrate(int argc, char **argv)
{
    static const struct option options[] = {{"check", no_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool check = false;
    int applied = 0;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'c': check = true; break;
        case 'h': usage(stdout); return CLI_OK;
        default: return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 1, 1, "a CONFIG"))
        return CLI_USAGE;
    struct parts parts;
    struct error error = {0};
    int code = parts_open(argv[optind], PARTS_STORE, false, &parts);
    if (code != CLI_OK)
        return code;
    if (parts.store == NULL || parts.migrations == NULL) {
        fprintf(stderr, "%s: %s\n", argv[optind], parts.store == NULL ? "this pipeline has no `store:`, so there is nothing to migrate"
                                                                      : "no folder with migrations was found; say where it is in store.migrations");
        parts_close(&parts);
        return CLI_FAILED;
    }
    enum store_result result = check ? migrate_check(parts.store, parts.migrations, parts.owners, &error)
                                     : migrate_apply(parts.store, parts.migrations, parts.owners, said, &applied, &error);
    if (result != STORE_OK)
        fprintf(stderr, "sluice migrate: %s%s%s\n", error.text, error.hint[0] != '\0' ? "; " : "", error.hint);
    else if (applied == 0)
        printf("the database is up to date\n");
    parts_close(&parts);
    return result == STORE_OK ? CLI_OK : CLI_FAILED;
}
