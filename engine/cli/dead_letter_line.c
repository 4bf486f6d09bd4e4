/*
 * dead_letter_line.c - the line of `sluice dead-letter`: which dead letters, and what is done with them.
 */
#include "cli/letters.h"

#include "pipeline/tree.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { LETTERS_ARENA_MAX = 1 << 30, ACTIONS_MAX = 8 };

static void usage(FILE *out)
{
    fputs("usage: sluice dead-letter list CONFIG [FILTER] [--state STATE] [--limit N] [--below ID] [--json]\n"
          "       sluice dead-letter show CONFIG ID… [--json]\n"
          "       sluice dead-letter replay CONFIG ID…|FILTER|--all [--force] [--rate N] [--limit N] [--dry-run]\n"
          "       sluice dead-letter edit CONFIG ID [--data JSON|- | --editor] [--why TEXT]\n"
          "       sluice dead-letter drop CONFIG ID…|FILTER|--all [--limit N] [--dry-run]\n"
          "Events that no try could help, with their reasons; sends them to their topics again, or drops them.\n\n"
          "  --topic NAME         of events on this topic (a trailing * matches the rest)\n"
          "  --handler NAME       of this handler\n"
          "  --reason WORD        with this reason: rejected, retries_exhausted, bad_json …\n"
          "  --correlation TEXT   of this correlation (a paymentTxId, say)\n"
          "  --since WHEN         not older than a duration (15m) or a time (2026-01-02T03:04:05Z)\n"
          "  --state STATE        list: open (the default), replayed, dropped or all\n"
          "  --limit N            at most N; list shows 50 unless told\n"
          "  --below ID           list: those that are older than this one\n"
          "  --all                replay, drop: all that are open\n"
          "  --force              replay: also what was replayed 3 times already\n"
          "  --rate N             replay: at most N a second\n"
          "  --data JSON          edit: all of the event's data from now on, an object; '-': from standard input\n"
          "  --editor             edit: $EDITOR opens what it is\n"
          "  --dry-run            say how many there are, and change nothing\n"
          "  --why TEXT           kept with what was done (sluice.audit)\n"
          "  --json               for programs\n"
          "  -h, --help           this text\n",
          out);
}

/* --------------------------------------------------------------------------------------------------------- the line */

static const struct option options[] = {
    {"topic", required_argument, NULL, 't'},  {"handler", required_argument, NULL, 'm'},
    {"reason", required_argument, NULL, 'r'}, {"correlation", required_argument, NULL, 'c'},
    {"since", required_argument, NULL, 's'},  {"state", required_argument, NULL, 'z'},
    {"limit", required_argument, NULL, 'l'},  {"below", required_argument, NULL, 'b'},
    {"all", no_argument, NULL, 'a'},          {"force", no_argument, NULL, 'f'},
    {"rate", required_argument, NULL, 'p'},   {"dry-run", no_argument, NULL, 'n'},
    {"data", required_argument, NULL, 'd'},   {"editor", no_argument, NULL, 'e'},
    {"why", required_argument, NULL, 'w'},    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},         {0}};

/* One that was given: false when its value is wrong, which was reported then. */
static bool take_option(struct letters *letters, int option, const char *value)
{
    static const char *const conditions[] = {
        ['t'] = "topic", ['m'] = "handler", ['r'] = "reason", ['c'] = "correlation", ['s'] = "since", ['z'] = "state"};
    struct error error = {0};
    letters->given |= 1u << (option - 'a');
    if (strchr("tmrcsz", option) != NULL) {
        if (letter_filter_set(&letters->filter, span_of(conditions[option]), span_of(value), letters->arena, &error) ==
            0)
            return true;
        cli_misuse("dead-letter", "--%s", error.text);
        return false;
    }
    switch (option) {
    case 'l':
        return cli_count("dead-letter", "--limit", value, &letters->limit);
    case 'b':
        letters->below = value;
        if (letter_id_valid(span_of(value)))
            return true;
        cli_misuse("dead-letter", "--below: expected the ID of a dead letter, got '%.300s'", value);
        return false;
    case 'p':
        return cli_count("dead-letter", "--rate", value, &letters->rate);
    case 'w':
        letters->reason = value;
        return true;
    case 'd':
        letters->data = value;
        return true;
    case 'e':
        return letters->editor = true;
    case 'a':
        return letters->all = true;
    case 'f':
        return letters->force = true;
    case 'n':
        return letters->dry_run = true;
    default: /* 'j' */
        return letters->json = true;
    }
}

/* The first option that the action does not take was given: its name. */
static const char *foreign_option(const struct letters *letters)
{
    for (size_t i = 0; options[i].name != NULL; i++)
        if ((letters->given & 1u << (options[i].val - 'a')) != 0 &&
            strchr(letters->action->options, options[i].val) == NULL)
            return options[i].name;
    return NULL;
}

static bool has_filter(const struct letters *letters)
{
    for (const char *at = LETTERS_FILTERS; *at != '\0'; at++)
        if ((letters->given & 1u << (*at - 'a')) != 0)
            return true;
    return false;
}

/* Numbers by their size; places, of one partition, by their offsets. */
static int id_compare(const void *left, const void *right)
{
    const struct span *a = left, *b = right;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return memcmp(a->at, b->at, a->length);
}

/* Sorted, each once. False: one of the words is none, which was reported. */
static bool take_ids(struct letters *letters, char **words, size_t count)
{
    struct span *ids = arena_array(letters->arena, struct span, count + 1);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        ids[i] = span_of(words[i]);
        if (!letter_id_valid(ids[i])) {
            cli_misuse("dead-letter", "'%.300s' is no ID of a dead letter; `sluice dead-letter list` shows them",
                       words[i]);
            return false;
        }
    }
    qsort(ids, count, sizeof *ids, id_compare);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !span_equal(ids[kept - 1], ids[i]))
            ids[kept++] = ids[i];
    letters->filter.ids = ids;
    letters->filter.id_count = kept;
    return true;
}

/* What can be wrong with the line before anything is opened: CLI_USAGE, or -1. */
static int check_line(struct letters *letters, char **words, size_t count)
{
    const struct action *action = letters->action;
    const char *foreign = foreign_option(letters);
    if (foreign != NULL)
        return cli_misuse("dead-letter", "%s takes no --%s", action->name, foreign);
    if (!take_ids(letters, words, count))
        return CLI_USAGE;
    if ((letters->given & 1u << ('d' - 'a')) != 0 && letters->editor)
        return cli_misuse("dead-letter", "edit: expected either --data or --editor, got both");
    if (strcmp(action->name, "edit") == 0 && !letters->editor && letters->data == NULL)
        return cli_misuse("dead-letter", "edit: expected --data JSON or --editor");
    if (strcmp(action->name, "edit") == 0 && count > 1)
        return cli_misuse("dead-letter", "edit: expected one ID, got %zu", count);
    if (action->ids && count == 0)
        return cli_misuse("dead-letter", "%s: expected the ID of a dead letter behind the CONFIG", action->name);
    if (!action->ids && !action->moves && count > 0)
        return cli_misuse("dead-letter", "%s takes no ID; `sluice dead-letter show` does", action->name);
    if (!action->moves)
        return -1;
    if (count > 0 && (has_filter(letters) || letters->all))
        return cli_misuse("dead-letter", "%s: expected either IDs or a filter, got both", action->name);
    if (count == 0 && !has_filter(letters) && !letters->all)
        return cli_misuse("dead-letter", "%s: expected IDs or a filter; --all is every dead letter that is open",
                          action->name);
    if (letters->all && has_filter(letters))
        return cli_misuse("dead-letter", "%s: expected either --all or a filter, got both", action->name);
    return -1;
}

/* NULL when there is none of that name, which was reported. */
static const struct action *find_action(const struct action *actions, const char *name)
{
    const char *names[ACTIONS_MAX + 1] = {NULL};
    for (size_t i = 0; i < ACTIONS_MAX && actions[i].name != NULL; i++) {
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
        names[i] = actions[i].name;
    }
    const char *near = nearest_name(name, names);
    cli_misuse("dead-letter", "unknown action '%.100s'%s%s%s; expected list, show, replay, edit or drop", name,
               near != NULL ? ", did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
    return NULL;
}

int letters_line(int argc, char **argv, const struct action *actions, struct letters *ret)
{
    ret->arena = arena_create(256 * 1024, LETTERS_ARENA_MAX);
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        if (option == 'h') {
            usage(stdout);
            return CLI_OK;
        }
        if (option == '?' || !take_option(ret, option, optarg))
            return CLI_USAGE;
    }
    if (!cli_operands(argc, argv, 2, argc, "an action (list, show, replay, edit or drop) and a CONFIG"))
        return CLI_USAGE;
    ret->action = find_action(actions, argv[optind]);
    if (ret->action == NULL)
        return CLI_USAGE;
    ret->config = argv[optind + 1];
    return check_line(ret, argv + optind + 2, (size_t)(argc - optind - 2));
}
