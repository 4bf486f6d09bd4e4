/*
 * delayed.c - `sluice delayed list|show|release|cancel CONFIG [ID…]`: events that wait in the database, and what an
 * operator does with them. What is done and its JSON are in operate/delayed.h.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "cli/operator.h"
#include "cli/plain.h"
#include "cli/verbs.h"
#include "event/timestamp.h"
#include "operate/delayed.h"
#include "pipeline/tree.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void usage(FILE *out)
{
    fputs(
        "usage: sluice delayed list CONFIG [--topic TOPIC] [--state STATE] [--older AGE]\n"
        "       sluice delayed show CONFIG ID…\n"
        "       sluice delayed release|cancel CONFIG ID… | --topic TOPIC | --state STATE | --older AGE\n"
        "Events that wait in the database: delayed ones, undos that are stuck, those of a name that the file does not\n"
        "have, and keys that are held, each shown by its first event.\n\n"
        "  list          the oldest first, with their ids\n"
        "  show          all that is known of each: why it waits, since when and until when, how often it was tried\n"
        "  release       due now; of a stuck undo its chain is resumed\n"
        "  cancel        it becomes a dead letter, of a key its first event does; by a running engine, within a "
        "second\n\n"
        "  --topic TOPIC events of this topic\n"
        "  --state STATE delayed, stuck, unknown or key\n"
        "  --older AGE   that wait for so long, as 15m\n"
        "  --limit N     at most so many (100; 1000 at most)\n"
        "  --after PLACE list: where the page before ended\n"
        "  --why TEXT    the reason, for the audit row and the dead letter\n"
        "  --json        for programs\n"
        "  -h, --help    this text\n",
        out);
}

enum verb { VERB_LIST, VERB_SHOW, VERB_RELEASE, VERB_CANCEL, VERB_COUNT };
static const char *const verb_names[VERB_COUNT + 1] = {"list", "show", "release", "cancel", NULL};

static const struct verbs verbs = {"delayed", verb_names, "list, show, release or cancel", "topic", usage};

struct line {
    struct verb_line read;
    const char *config;
    char **ids; /* id_count of them; 0: what the filter finds */
    int id_count;
};

/* ------------------------------------------------------------------------------------------------------------- text */

static void print_one(const struct delayed_view *view)
{
    char age[32];
    int64_t left_ms = view->due_ms - clock_wall_ms();
    printf("%s %-8s %6s  %-22s ", view->id, view->state, age_text(view->since_ms, age), view->topic);
    plain_column(span_of(view->event == NULL ? "?" : view->event), 36);
    if (view->key.length > 0)
        printf("  key "), plain_print(view->key, 40);
    if (view->behind > 0)
        printf("; %lld behind it", (long long)view->behind);
    if (view->kind == PARKED_STUCK)
        printf("; waits for an operator");
    else if (view->kind != PARKED_UNKNOWN && left_ms > 0 && view->due_ms != INT64_MAX)
        printf("; due in %llds", (long long)((left_ms + 999) / 1000));
    if (view->tries > 0)
        printf("; tried %lld time%s", (long long)view->tries, view->tries == 1 ? "" : "s");
    if (view->reason != NULL)
        printf("; "), plain_print(span_of(view->reason), 200);
    if (view->cancelled != NULL)
        printf("; "), plain_print(span_of(view->cancelled), 200);
    putchar('\n');
}

static void print_page(const struct delayed_page *page)
{
    if (page->count > 0)
        printf("%-36s %-8s %6s  %-22s %-36s  %s\n", "ID", "STATE", "SINCE", "TOPIC", "EVENT", "WHY");
    for (size_t i = 0; i < page->count; i++)
        print_one(&page->list[i]);
    print_count(page->count, "entry");
    if (page->next != NULL)
        printf("there are more: --after %s\n", page->next);
}

static void print_line(const char *name, struct span text)
{
    if (text.length == 0)
        return;
    printf("%-12s ", name);
    plain_print(text, 1000);
    putchar('\n');
}

static void print_time(const char *name, int64_t at_ms)
{
    char at[TIMESTAMP_TEXT + 1];
    timestamp_format(at_ms, at);
    printf("%-12s %s\n", name, at);
}

/* One entry, a line a fact; what is not known is left out. */
static void print_whole(const struct delayed_view *view)
{
    printf("%-12s %s\n%-12s %s\n", "id", view->id, "state", view->state);
    print_line("topic", span_of(view->topic));
    print_line("event", span_of(view->event == NULL ? "" : view->event));
    print_line("group", span_of(view->group));
    print_line("key", view->key);
    print_line("chain", span_of(view->chain == NULL ? "" : view->chain));
    print_line("correlation", view->correlation);
    print_time("since", view->since_ms);
    if (view->due_ms > 0 && view->due_ms != INT64_MAX)
        print_time("due", view->due_ms);
    printf("%-12s %lld time%s\n", "tried", (long long)view->tries, view->tries == 1 ? "" : "s");
    if (view->kind == DELAYED_KEY)
        printf("%-12s %lld of its key\n", "behind it", (long long)view->behind);
    print_line("why", span_of(view->reason == NULL ? "" : view->reason));
    print_line("cancelled", span_of(view->cancelled == NULL ? "" : view->cancelled));
}

/* ------------------------------------------------------------------------------------------------------------ verbs */

static int run_list(const struct operation *operation, const struct delayed_filter *filter, bool as_json,
                    struct buffer *json, struct error *error)
{
    struct delayed_page page;
    int code = delayed_list(operation, filter, &page, error);
    if (code == 0 && as_json)
        delayed_page_json(&page, json);
    else if (code == 0)
        print_page(&page);
    return code;
}

static int run_show(const struct operation *operation, const struct line *line, struct buffer *json, bool *ret_failed,
                    struct error *error)
{
    int code = 0;
    for (int i = 0; i < line->id_count && code == 0; i++) {
        struct delayed_view view;
        code = delayed_find(operation, span_of(line->ids[i]), &view, error);
        if (code == -ENOENT) {
            operator_failed("delayed", error);
            *ret_failed = true;
            code = 0;
        } else if (code == 0 && line->read.json) {
            delayed_json(&view, json);
            buffer_byte(json, '\n');
        } else if (code == 0) {
            printf("%s", i > 0 ? "\n" : "");
            print_whole(&view);
        }
    }
    return code;
}

static int act_on(const struct operation *operation, const struct line *line, const struct delayed_view *view,
                  struct buffer *json, struct error *error)
{
    int code = line->read.verb == VERB_RELEASE ? delayed_release(operation, view, error)
                                               : delayed_cancel(operation, view, error);
    if (code != 0)
        return code;
    if (line->read.json) {
        delayed_json(view, json);
        buffer_byte(json, '\n');
    } else {
        printf("%s %s: %s on %s\n", line->read.verb == VERB_RELEASE ? "released" : "cancelled", view->id,
               view->event == NULL ? "?" : view->event, view->topic);
    }
    return 0;
}

/* Those that are named, or what the filter finds. One that ended meanwhile, or cannot be, is told of, and the others go
 * on. *ret_failed: whether there was one. */
static int run_act(const struct operation *operation, const struct line *line, const struct delayed_filter *filter,
                   struct buffer *json, bool *ret_failed, struct error *error)
{
    struct delayed_page page = {0};
    size_t done = 0;
    int code = line->id_count == 0 ? delayed_list(operation, filter, &page, error) : 0;
    size_t count = line->id_count == 0 ? page.count : (size_t)line->id_count;
    for (size_t i = 0; i < count && code == 0; i++) {
        struct delayed_view view;
        if (line->id_count == 0)
            view = page.list[i];
        else
            code = delayed_find(operation, span_of(line->ids[i]), &view, error);
        if (code == 0)
            code = act_on(operation, line, &view, json, error);
        done += code == 0;
        if (code == -EBUSY || code == -ENOENT) {
            operator_failed("delayed", error);
            *ret_failed = true;
            code = 0;
        }
    }
    if (code == 0 && !line->read.json)
        print_count(done, "entry");
    if (code == 0 && page.next != NULL)
        fprintf(stderr, "sluice delayed: there are more than %zu: say it again, or --limit\n", page.count);
    return code;
}

static int run(const struct line *line, const struct buses *buses)
{
    struct operator operator;
    struct delayed_filter filter = delayed_filter_none;
    struct error error = {0};
    struct buffer json;
    bool failed = false;
    int code = operator_open(line->config, buses, &operator);
    if (code != CLI_OK)
        return code;
    const struct operation *operation = &operator.operation;
    buffer_init(&json, 256 * 1024 * 1024);
    code = operation_because(&operator.operation, span_of(line->read.why), &error);
    for (size_t i = 0; code == 0 && i < CONDITION_COUNT; i++)
        if (line->read.value[i] != NULL)
            code = delayed_filter_set(operation, &filter, span_of(line->read.name[i]), span_of(line->read.value[i]),
                                      &error);
    if (code == 0)
        code = line->read.verb == VERB_LIST   ? run_list(operation, &filter, line->read.json, &json, &error)
               : line->read.verb == VERB_SHOW ? run_show(operation, line, &json, &failed, &error)
                                              : run_act(operation, line, &filter, &json, &failed, &error);
    (void)buffer_write(&json, stdout);
    buffer_free(&json);
    code = code != 0 ? operator_failed("delayed", &error) : failed ? CLI_FAILED : CLI_OK;
    operator_close(&operator);
    return code;
}

/* ------------------------------------------------------------------------------------------------------------- line */

/* The words behind the verb. -1, or the exit code with which the command ends. */
static int read_words(int argc, char **argv, struct line *line)
{
    bool filter = line->read.value[CONDITION_SUBJECT] != NULL || line->read.value[CONDITION_STATE] != NULL ||
                  line->read.value[CONDITION_OLDER] != NULL;
    bool list = line->read.verb == VERB_LIST, show = line->read.verb == VERB_SHOW;
    if (show && filter)
        return cli_misuse("delayed", "show takes IDs, and no --topic, --state or --older");
    if (!cli_operands(argc, argv, list || filter ? 1 : 2, list ? 1 : argc,
                      list   ? "a CONFIG"
                      : show ? "a CONFIG and an ID"
                             : "a CONFIG and an ID, or --topic, --state or --older"))
        return CLI_USAGE;
    line->config = argv[optind];
    line->ids = argv + optind + 1;
    line->id_count = argc - optind - 1;
    if (line->id_count > 0 && filter)
        return cli_misuse("delayed", "expected an ID, or --topic, --state or --older; got both");
    return -1;
}

int cli_delayed(int argc, char **argv, const struct buses *buses)
{
    struct line line = {0};
    int code = verb_line_read(argc, argv, &verbs, &line.read);
    if (code < 0)
        code = read_words(argc, argv, &line);
    return code < 0 ? run(&line, buses) : code;
}
