/*
 * verbs.c - see verbs.h.
 */
#include "cli/verbs.h"

#include "pipeline/tree.h"

#include <getopt.h>
#include <string.h>

static int find_verb(const struct verbs *verbs, const char *word, int *ret)
{
    if (word == NULL)
        return cli_misuse(verbs->command, "expected %s, got nothing", verbs->expected);
    for (*ret = 0; verbs->names[*ret] != NULL; ++*ret)
        if (strcmp(word, verbs->names[*ret]) == 0)
            return -1;
    const char *near = nearest_name(word, verbs->names);
    return cli_misuse(verbs->command, "expected %s, got '%.100s'%s%s%s", verbs->expected, word,
                      near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
}

int verb_line_read(int argc, char **argv, const struct verbs *verbs, struct verb_line *ret)
{
    const struct option options[] = {{verbs->subject, required_argument, NULL, CONDITION_SUBJECT},
                                     {"state", required_argument, NULL, CONDITION_STATE},
                                     {"older", required_argument, NULL, CONDITION_OLDER},
                                     {"limit", required_argument, NULL, CONDITION_LIMIT},
                                     {"after", required_argument, NULL, CONDITION_AFTER},
                                     {"why", required_argument, NULL, 'w'},
                                     {"json", no_argument, NULL, 'j'},
                                     {"help", no_argument, NULL, 'h'},
                                     {0}};
    *ret = (struct verb_line){0};
    for (int i = 0; i < CONDITION_COUNT; i++)
        ret->name[i] = options[i].name;
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'w':
            ret->why = optarg;
            break;
        case 'j':
            ret->json = true;
            break;
        case 'h':
            verbs->usage(stdout);
            return CLI_OK;
        case '?':
            return CLI_USAGE;
        default:
            ret->value[option] = optarg;
        }
    }
    int code = find_verb(verbs, optind < argc ? argv[optind] : NULL, &ret->verb);
    optind++;
    return code;
}
