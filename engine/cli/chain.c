/*
 * chain.c - `sluice chain list|show|resume|abort|close CONFIG [CORRELATION]`: chains that are not over, and what an
 * operator does with them. What is done and its JSON are in operate/chain.h.
 */
#include "cli/cli.h"

#include "cli/operator.h"
#include "cli/plain.h"
#include "cli/verbs.h"
#include "event/timestamp.h"
#include "operate/chain.h"
#include "pipeline/tree.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void usage(FILE *out)
{
    fputs("usage: sluice chain list CONFIG [--state STATE] [--older AGE]\n"
          "       sluice chain show CONFIG CORRELATION\n"
          "       sluice chain resume|abort|close CONFIG CORRELATION | --state STATE | --older AGE\n"
          "Chains that are known not to be over: each is one correlation, with the steps that were done and undone.\n\n"
          "  list          the oldest first\n"
          "  show          one of them\n"
          "  resume        undos that failed for good are tried again, from their first try\n"
          "  abort         what was done is undone, as after an event that aborts it; by a running engine, within a "
          "second\n"
          "  close         it is over, without undoing; an undo of it that waits becomes a dead letter\n\n"
          "  --chain NAME  only of this chain\n"
          "  --state STATE running, aborted, stuck, undone or closed\n"
          "  --older AGE   begun so long ago, as 15m\n"
          "  --limit N     at most so many (100; 1000 at most)\n"
          "  --after PLACE list: where the page before ended\n"
          "  --why TEXT    the reason, for the audit row and for what is undone\n"
          "  --json        for programs\n"
          "  -h, --help    this text\n",
          out);
}

enum verb { VERB_LIST, VERB_SHOW, VERB_RESUME, VERB_ABORT, VERB_CLOSE, VERB_COUNT };
static const char *const verb_names[VERB_COUNT + 1] = {"list", "show", "resume", "abort", "close", NULL};

static const struct verbs verbs = {"chain", verb_names, "list, show, resume, abort or close", "chain", usage};

struct line {
    struct verb_line read;
    const char *config, *correlation; /* correlation NULL: what the filter finds */
};

/* ------------------------------------------------------------------------------------------------------------- text */

static void print_name(const struct chain_view *view)
{
    printf("chain %s of ", view->chain);
    plain_print(span_of(view->correlation), 0);
    printf(": ");
}

static void print_steps(const struct chain_view *view)
{
    for (size_t i = 0; i < view->doing_count; i++)
        printf("%s%s %s", i == 0 ? "" : ", ", view->doings[i].step, view->doings[i].state);
    for (size_t i = 0; i < view->missing_count; i++)
        printf("%s%s missing", i + view->doing_count == 0 ? "" : ", ", view->missing[i]);
    if (view->asked != NULL)
        printf("; abort asked by "), plain_print(span_of(view->asked), 0);
    if (view->reason != NULL)
        printf("; "), plain_print(span_of(view->reason), 0);
}

static void print_page(const struct chain_page *page)
{
    char age[32];
    if (page->count > 0)
        printf("%-16s %-36s %-9s %6s  %s\n", "CHAIN", "CORRELATION", "STATE", "AGE", "STEPS; WHY");
    for (size_t i = 0; i < page->count; i++) {
        const struct chain_view *view = &page->list[i];
        printf("%-16s ", view->chain);
        plain_column(span_of(view->correlation), 36);
        printf(" %-9s %6s  ", view->state, age_text(view->began_ms, age));
        print_steps(view);
        putchar('\n');
    }
    print_count(page->count, "chain");
    if (page->next != NULL)
        printf("there are more: --after %s\n", page->next);
}

static void print_time(const char *name, int64_t ms)
{
    char text[TIMESTAMP_TEXT + 1];
    timestamp_format(ms, text);
    text[TIMESTAMP_TEXT] = '\0';
    printf("  %-12s %s\n", name, text);
}

static void print_word(const char *name, const char *text)
{
    if (text == NULL)
        return;
    printf("  %-12s ", name);
    plain_print(span_of(text), 0);
    putchar('\n');
}

static void print_timers(const struct chain_view *view)
{
    char text[TIMESTAMP_TEXT + 1];
    for (size_t i = 0; i < view->timer_count; i++) {
        timestamp_format(view->timers[i].due_ms, text);
        text[TIMESTAMP_TEXT] = '\0';
        printf("  %-12s %s, at %s: ", i == 0 ? "emits" : "", view->timers[i].emit, text);
        plain_print(span_of(view->timers[i].words), 0);
        putchar('\n');
    }
}

static void print_one(const struct chain_view *view)
{
    print_name(view);
    printf("%s\n", view->state);
    print_time("begun", view->began_ms);
    print_time("changed", view->changed_ms);
    if (view->due_ms != 0)
        print_time("aborts at", view->due_ms);
    if (view->generation > 0)
        printf("  %-12s %d times\n", "begun", (int)view->generation + 1);
    for (size_t i = 0; i < view->doing_count; i++)
        printf("  %-12s %s, %s\n", i == 0 ? "steps" : "", view->doings[i].step, view->doings[i].state);
    for (size_t i = 0; i < view->missing_count; i++)
        print_word(i == 0 ? "missing" : "", view->missing[i]);
    print_timers(view);
    print_word("why", view->reason);
    print_word("abort asked", view->asked);
    bool sent = false;
    for (size_t i = 0; i < view->doing_count; i++)
        sent = sent || strcmp(view->doings[i].state, "undoing") == 0;
    if (sent && (strcmp(view->state, "undone") == 0 || strcmp(view->state, "aborted") == 0))
        printf("Its undos are sent, and not all of them known to be handled: `sluice explain CONFIG CORRELATION --why` "
               "says what they wait for.\n");
    if (strcmp(view->state, "stuck") == 0)
        printf("An undo failed for good: `sluice explain CONFIG CORRELATION --why` says why. With the cause removed: "
               "`sluice chain "
               "resume`.\n");
}

static void print_json(const struct buffer *json)
{
    (void)buffer_write(json, stdout);
}

/* ------------------------------------------------------------------------------------------------------------ verbs */

static int set_filter(const struct operation *operation, const struct line *line, struct chain_filter *filter,
                      struct error *error)
{
    int code = 0;
    *filter = chain_filter_none;
    for (size_t i = 0; code == 0 && i < CONDITION_COUNT; i++)
        if (line->read.value[i] != NULL)
            code = chain_filter_set(operation, filter, span_of(line->read.name[i]), span_of(line->read.value[i]),
                                    error);
    return code;
}

static int run_list(const struct operation *operation, const struct line *line, struct buffer *json,
                    struct error *error)
{
    struct chain_filter filter;
    struct chain_page page;
    int code = set_filter(operation, line, &filter, error);
    if (code == 0)
        code = chain_list(operation, &filter, &page, error);
    if (code == 0 && line->read.json)
        chain_page_json(&page, json);
    else if (code == 0)
        print_page(&page);
    return code;
}

static int run_show(const struct operation *operation, const struct line *line, struct buffer *json,
                    struct error *error)
{
    struct chain_view view;
    int code = chain_find(operation, line->read.value[CONDITION_SUBJECT], span_of(line->correlation), &view, error);
    if (code == 0 && line->read.json) {
        chain_json(&view, json);
        buffer_byte(json, '\n');
    } else if (code == 0) {
        print_one(&view);
    }
    return code;
}

static int act_on(const struct operation *operation, const struct line *line, const struct chain_view *view,
                  struct buffer *json, struct error *error)
{
    static const enum chain_act acts[VERB_COUNT] = {
        [VERB_RESUME] = CHAIN_RESUME, [VERB_ABORT] = CHAIN_ABORT_ASK, [VERB_CLOSE] = CHAIN_CLOSE};
    struct chain_did did;
    int code = chain_act(operation, acts[line->read.verb], view, &did, error);
    if (code == 0 && line->read.json) {
        chain_did_json(view, &did, json);
        buffer_byte(json, '\n');
    } else if (code == 0) {
        print_name(view);
        printf("%s", did.did);
        if (line->read.verb != VERB_ABORT)
            printf(", %zu undo%s %s", did.undos, did.undos == 1 ? "" : "s",
                   line->read.verb == VERB_RESUME ? "tried again" : "cancelled");
        putchar('\n');
    }
    return code;
}

/* One, or what the filter finds. One of many that changed its state meanwhile is told of, and the others go on. */
static int run_act(const struct operation *operation, const struct line *line, struct buffer *json, struct error *error)
{
    struct chain_filter filter;
    struct chain_page page = {0};
    struct chain_view one;
    size_t failed = 0;
    int code = set_filter(operation, line, &filter, error);
    if (code == 0 && line->correlation != NULL) {
        code = chain_find(operation, filter.chain, span_of(line->correlation), &one, error);
        return code == 0 ? act_on(operation, line, &one, json, error) : code;
    }
    if (code == 0)
        code = chain_list(operation, &filter, &page, error);
    for (size_t i = 0; i < page.count && code == 0; i++) {
        code = act_on(operation, line, &page.list[i], json, error);
        if (code == -EBUSY) {
            cli_failed("chain", error);
            failed++;
            code = 0;
        }
    }
    if (code == 0 && !line->read.json)
        print_count(page.count - failed, "chain");
    if (code == 0 && page.next != NULL)
        fprintf(stderr, "sluice chain: there are more than %zu: say it again, or --limit\n", page.count);
    return code;
}

static int run(const struct line *line, const struct buses *buses)
{
    static int (*const runs[VERB_COUNT])(const struct operation *operation, const struct line *line,
                                         struct buffer *json, struct error *error) = {
        [VERB_LIST] = run_list, [VERB_SHOW] = run_show, [VERB_RESUME] = run_act,
        [VERB_ABORT] = run_act, [VERB_CLOSE] = run_act,
    };
    struct operator operator;
    struct error error = {0};
    struct buffer json;
    int code = operator_open(line->config, buses, &operator);
    if (code != CLI_OK)
        return code;
    buffer_init(&json, 256 * 1024 * 1024);
    code = operation_because(&operator.operation, span_of(line->read.why), &error);
    if (code == 0)
        code = runs[line->read.verb](&operator.operation, line, &json, &error);
    print_json(&json);
    buffer_free(&json);
    code = code == 0 ? CLI_OK : operator_failed("chain", &error);
    operator_close(&operator);
    return code;
}

/* ------------------------------------------------------------------------------------------------------------- line */

/* The words behind the verb. -1, or the exit code with which the command ends. */
static int read_words(int argc, char **argv, struct line *line)
{
    bool filter = line->read.value[CONDITION_STATE] != NULL || line->read.value[CONDITION_OLDER] != NULL;
    bool one = line->read.verb == VERB_SHOW || (line->read.verb != VERB_LIST && !filter);
    if (!cli_operands(argc, argv, one ? 2 : 1, line->read.verb == VERB_LIST ? 1 : 2,
                      line->read.verb == VERB_LIST   ? "a CONFIG"
                      : line->read.verb == VERB_SHOW ? "a CONFIG and a CORRELATION"
                                                     : "a CONFIG and a CORRELATION, or --state or --older"))
        return CLI_USAGE;
    line->config = argv[optind];
    line->correlation = argc - optind > 1 ? argv[optind + 1] : NULL;
    if (line->correlation != NULL && filter)
        return cli_misuse("chain", "expected a CORRELATION, or --state or --older; got both");
    if (line->correlation != NULL && line->correlation[0] == '\0')
        return cli_misuse("chain", "the CORRELATION is empty");
    return -1;
}

int cli_chain(int argc, char **argv, const struct buses *buses)
{
    struct line line = {0};
    int code = verb_line_read(argc, argv, &verbs, &line.read);
    if (code < 0)
        code = read_words(argc, argv, &line);
    return code < 0 ? run(&line, buses) : code;
}
