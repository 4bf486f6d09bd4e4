/*
 * dead_letter.c - `sluice dead-letter ACTION CONFIG [ID…]`: what no try could help is listed, replayed, edited or
 * dropped.
 *
 * operate/ reads and moves the dead letters; here is what is printed of it.
 */
#include "base/clock.h"
#include "cli/dead_letter_text.h"
#include "cli/editor.h"
#include "cli/letters.h"
#include "cli/operator.h"
#include "operate/edit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LIST_LIMIT = 50, PROGRESS_MS = 200, JSON_MAX = 1 << 30 };

static volatile sig_atomic_t letters_stop;

static void on_signal(int signal)
{
    (void)signal;
    letters_stop = 1;
}

/* ---------------------------------------------------------------------------------------------------------- answers */

static void print_json(struct buffer *out)
{
    buffer_byte(out, '\n');
    (void)buffer_write(out, stdout);
    buffer_free(out);
}

static int run_list(struct letters *letters)
{
    struct dead_letter_page page;
    struct error error = {0};
    int64_t limit = letters->limit > 0 ? letters->limit : LIST_LIMIT;
    if (dead_letters_read(&letters->operation, &letters->filter,
                          letters->below == NULL ? (struct span){NULL, 0} : span_of(letters->below), limit,
                          letters->arena, &page, &error) != 0)
        return cli_failed("dead-letter", &error);
    if (letters->json) {
        struct buffer out;
        buffer_init(&out, JSON_MAX);
        dead_letters_json(&page, &out);
        print_json(&out);
        return CLI_OK;
    }
    dead_letters_print(&page);
    if (page.next != NULL)
        printf("there are more: --below %s\n", page.next);
    return CLI_OK;
}

static int run_show(struct letters *letters)
{
    int code = CLI_OK;
    for (size_t i = 0; i < letters->filter.id_count; i++) {
        struct dead_letter letter;
        struct error error = {0};
        struct buffer out;
        if (dead_letter_read(&letters->operation, letters->filter.ids[i], letters->arena, &letter, &error) != 0) {
            code = cli_failed("dead-letter", &error);
            continue;
        }
        if (letters->json) {
            buffer_init(&out, JSON_MAX);
            dead_letter_json(&letter, true, &out);
            print_json(&out);
            continue;
        }
        if (i > 0)
            putchar('\n');
        dead_letter_print(&letter);
    }
    return code;
}

/* ----------------------------------------------------------------------------------------------------------- moving */

static const struct dead_letter *letter_of(const struct dead_letter_page *page, struct span id)
{
    for (size_t i = 0; i < page->count; i++)
        if (span_is(id, page->letters[i].id))
            return &page->letters[i];
    return NULL;
}

/* Those of the given ids that are not open are named. CLI_OK when there are none but what was moved before, as when the
 * command is run again. */
static int name_others(const struct letters *letters, enum dead_letter_state wanted)
{
    const struct letter_filter *filter = &letters->filter;
    struct dead_letter_page page = {0};
    struct error error = {0};
    int code = CLI_OK;
    for (size_t i = 0; i < filter->id_count; i++) {
        size_t left = filter->id_count - i;
        const struct letter_filter next = {.ids = filter->ids + i,
                                           .id_count = left < DEAD_LETTER_PAGE_MAX ? left : DEAD_LETTER_PAGE_MAX,
                                           .state_to = DEAD_LETTER_DROPPED};
        if (i % DEAD_LETTER_PAGE_MAX == 0 &&
            dead_letters_read(&letters->operation, &next, (struct span){NULL, 0}, DEAD_LETTER_PAGE_MAX, letters->arena,
                              &page, &error) != 0)
            return cli_failed("dead-letter", &error);
        const struct dead_letter *letter = letter_of(&page, filter->ids[i]);
        if (letter == NULL) {
            error_set(&error, ENOENT, "pipeline '%s' has no dead letter %.*s", letters->operation.pipeline->name,
                      (int)filter->ids[i].length, filter->ids[i].at);
            code = cli_failed("dead-letter", &error);
        } else if (letter->state != DEAD_LETTER_OPEN) {
            fprintf(stderr, "sluice dead-letter: dead letter %s is %s already\n", letter->id,
                    dead_letter_state_word(letter->state));
            code = letter->state == wanted ? code : CLI_FAILED;
        }
    }
    return code;
}

static void show_progress(const struct replay_progress *progress, void *context)
{
    struct letters *letters = context;
    int64_t now_ms = clock_monotonic_ms();
    if (!isatty(STDERR_FILENO) || now_ms - letters->shown_ms < PROGRESS_MS)
        return;
    letters->shown_ms = now_ms;
    fprintf(stderr, "\r%lld of %lld", (long long)progress->moved, (long long)progress->found);
}

static int print_moved(const struct letters *letters, const struct replay_progress *progress, int64_t took_ms,
                       const char *word)
{
    bool replay = strcmp(word, "replayed") == 0;
    struct buffer json;
    buffer_init(&json, JSON_MAX);
    if (letters->json) {
        replay_progress_json(progress, word, &json);
        (void)buffer_write(&json, stdout);
    } else if (progress->moved >= 1000 && took_ms > 0) {
        printf("%lld %s, %lld a second\n", (long long)progress->moved, word,
               (long long)(progress->moved * 1000 / took_ms));
    } else {
        printf("%lld %s\n", (long long)progress->moved, word);
    }
    buffer_free(&json);
    if (progress->exhausted > 0)
        fprintf(stderr,
                "sluice dead-letter: %lld of them were replayed %d times before and are left; look at the reason, or "
                "replay them with --force\n",
                (long long)progress->exhausted, DEAD_LETTER_ROUNDS_MAX);
    if (progress->unfit > 0) {
        struct error why = progress->unfit_why;
        error_prefix(&why, "%lld of them cannot be replayed and are left", (long long)progress->unfit);
        cli_failed("dead-letter", &why);
    }
    if (progress->stopped)
        fprintf(stderr, "sluice dead-letter: interrupted; run it again for the rest of the %lld that there were\n",
                (long long)progress->found);
    return progress->stopped || (replay && (progress->exhausted > 0 || progress->unfit > 0)) ? CLI_FAILED : CLI_OK;
}

static int print_dry_run(const struct letters *letters, const struct replay *replay, bool replays)
{
    struct replay_progress progress;
    struct error error = {0};
    if (dead_letters_count(&letters->operation, replay, &progress, &error) != 0)
        return cli_failed("dead-letter", &error);
    if (!replays)
        progress.exhausted = 0;
    if (letters->json)
        printf("{\"found\":%lld,\"exhausted\":%lld}\n", (long long)progress.found, (long long)progress.exhausted);
    else if (progress.exhausted > 0)
        printf("%lld found, of which %lld were replayed %d times before\n", (long long)progress.found,
               (long long)progress.exhausted, DEAD_LETTER_ROUNDS_MAX);
    else
        printf("%lld found\n", (long long)progress.found);
    return CLI_OK;
}

static int run_move(struct letters *letters, bool replays)
{
    const enum dead_letter_state wanted = replays ? DEAD_LETTER_REPLAYED : DEAD_LETTER_DROPPED;
    const char *word = dead_letter_state_word(wanted);
    struct replay replay = {.filter = letters->filter,
                            .chosen = letter_filter_words(&letters->filter, letters->arena),
                            .limit = letters->limit,
                            .rate = letters->rate,
                            .force = letters->force,
                            .stop = &letters_stop,
                            .progress = show_progress,
                            .context = letters};
    struct replay_progress progress = {0};
    struct error error = {0};
    if (letters->dry_run)
        return print_dry_run(letters, &replay, replays);
    int others = name_others(letters, wanted);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int64_t began_ms = clock_monotonic_ms();
    int failed = replays ? dead_letters_replay(&letters->operation, &replay, &progress, &error)
                         : dead_letters_drop(&letters->operation, &replay, &progress, &error);
    if (letters->shown_ms != 0)
        fputs("\r", stderr);
    int code = print_moved(letters, &progress, clock_monotonic_ms() - began_ms, word);
    return failed != 0 ? cli_failed("dead-letter", &error) : code != CLI_OK ? code : others;
}

static int run_replay(struct letters *letters)
{
    return run_move(letters, true);
}

static int run_drop(struct letters *letters)
{
    return run_move(letters, false);
}

/* ---------------------------------------------------------------------------------------------------------- editing */

/* The data as they are to be from now on; -1: there are none, which was reported. */
static int new_data(struct letters *letters, struct span id, struct span *ret)
{
    struct dead_letter letter;
    struct error error = {0};
    int code = 0;
    if (letters->data != NULL && strcmp(letters->data, "-") != 0) {
        *ret = span_of(letters->data);
        return 0;
    }
    if (!letters->editor) {
        code = editor_stdin(letters->arena, ret, &error);
    } else {
        code = dead_letter_read(&letters->operation, id, letters->arena, &letter, &error);
        if (code == 0)
            code = editor_run(dead_letter_data(&letter, letters->arena), letters->arena, ret, &error);
    }
    if (code == 0)
        return 0;
    (void)cli_failed("dead-letter", &error);
    return -1;
}

static int run_edit(struct letters *letters)
{
    struct span id = letters->filter.ids[0];
    struct span data;
    struct error error = {0};
    if (new_data(letters, id, &data) != 0)
        return CLI_FAILED;
    if (dead_letter_edit(&letters->operation, id, data, letters->arena, &error) != 0)
        return cli_failed("dead-letter", &error);
    const char *quote = letters->operation.connection == NULL ? "\"" : "";
    if (letters->json)
        printf("{\"id\":%s%.*s%s,\"edited\":true}\n", quote, (int)id.length, id.at, quote);
    else
        printf("dead letter %.*s is edited; `sluice dead-letter replay %s %.*s` sends it\n", (int)id.length, id.at,
               letters->config, (int)id.length, id.at);
    return CLI_OK;
}

/* ------------------------------------------------------------------------------------------------------------ begin */

static const struct action actions[] = {
    {"list", LETTERS_FILTERS "zlbj", false, false, PARTS_STORE, run_list},
    {"show", "j", true, false, PARTS_STORE, run_show},
    {"replay", LETTERS_FILTERS "lafpnwj", false, true, PARTS_BUS, run_replay},
    {"edit", "dewj", true, false, PARTS_STORE, run_edit},
    {"drop", LETTERS_FILTERS "lanwj", false, true, PARTS_STORE, run_drop},
    {0},
};

/* On the memory bus they are in the engine: only it can list and move them. */
static int refuse_memory(const struct letters *letters)
{
    const struct pipeline *pipeline = letters->parts.pipeline;
    const bool replays = letters->action->wanted == PARTS_BUS && !letters->dry_run;
    if (pipeline->bus.kind != BUS_CHOICE_MEMORY || (pipeline->store.present && !replays))
        return CLI_OK;
    fprintf(stderr,
            "sluice dead-letter: the memory bus lives inside the engine that runs it; nothing can be %s from here, "
            "but over its HTTP: /dead-letters%s\n",
            replays ? "replayed into it" : "read of it",
            pipeline->http.present ? "" : "; give it one: http: {listen: ...}");
    return CLI_FAILED;
}

static int run(struct letters *letters, const struct buses *buses)
{
    struct error error = {0};
    int code = parts_open(letters->config, PARTS_PIPELINE, false, buses, &letters->parts);
    if (code == CLI_OK)
        code = refuse_memory(letters);
    if (code != CLI_OK)
        return code;
    bool stored = letters->parts.pipeline->store.present;
    if (parts_attach(&letters->parts, stored ? letters->action->wanted : PARTS_BUS, &error) != 0)
        return cli_failed_with(letters->config, &error);
    /* One that has left the file may have dead letters: it is looked for all the same. */
    const char *topic = arena_string(letters->arena, letters->filter.topic);
    if (topic[0] != '\0' && strchr(topic, '*') == NULL && pipeline_topic(letters->parts.pipeline, topic) == NULL)
        parts_no_topic(&letters->parts, "dead-letter", letters->config, topic);
    letters->operation = (struct operation){.pipeline = letters->parts.pipeline,
                                            .bus = letters->parts.bus,
                                            .arena = letters->arena,
                                            .actor = operation_actor(letters->arena)};
    if (letters->parts.store != NULL)
        letters->operation.connection = connection_create(letters->parts.store, "dead-letter");
    if (operation_because(&letters->operation, span_of(letters->reason), &error) != 0)
        code = operator_failed("dead-letter", &error);
    else
        code = letters->action->run(letters);
    connection_destroy(letters->operation.connection);
    return code;
}

int cli_dead_letter(int argc, char **argv, const struct buses *buses)
{
    struct letters letters = {0};
    int code = letters_line(argc, argv, actions, &letters);
    if (code < 0)
        code = run(&letters, buses);
    arena_destroy(letters.arena);
    parts_close(&letters.parts);
    return code;
}
