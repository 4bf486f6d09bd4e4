/*
 * timeline_text.c - a timeline for people: a line an event, in colours on a terminal.
 */
#include "cli/timeline_text.h"

#include "cli/plain.h"
#include "operate/dead_letter.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { DAY_MS = 24 * 60 * 60 * 1000 };

#define INDENT "                                  "

static void print_letters(const struct timeline_event *event)
{
    if (event->replay_of != NULL)
        printf(INDENT "replay %lld of dead letter %lld\n", (long long)event->replays,
               (long long)event->replayed_letter);
    for (size_t i = 0; i < event->letter_count; i++)
        printf(INDENT "dead letter %lld, %s\n", (long long)event->letters[i].id,
               dead_letter_state_word((enum dead_letter_state)event->letters[i].state));
}

/* What events, handlers and operators said: `before` and `after` are ours. */
static void print_between(const char *before, const char *text, const char *after)
{
    fputs(before, stdout);
    plain_print(span_of(text), 0);
    fputs(after, stdout);
}

/* The command as it is typed: CONFIG stands for the file. */
static void print_command(const struct timeline *timeline, const char *command)
{
    static const char word[] = " CONFIG";
    const char *at = strstr(command, word);
    if (at != NULL) {
        const char *begin = arena_format(timeline->arena, "%.*s", (int)(at - command), command);
        begin = wait_command(timeline->arena, begin, timeline->pipeline->file);
        command = arena_format(timeline->arena, "%s%s", begin, at + sizeof word - 1);
    }
    print_between("  → ", command, "");
}

/* `before`: what stands before each line. */
static void print_waits(const struct timeline *timeline, const struct waits *waits, const char *before)
{
    for (size_t i = 0; i < waits->count; i++) {
        const struct wait *wait = &waits->list[i];
        print_between(before, wait->sentence, "");
        if (wait->command != NULL)
            print_command(timeline, wait->command);
        putchar('\n');
    }
}

static void print_event_waits(const struct timeline *timeline, const struct timeline_event *event)
{
    print_waits(timeline, &event->waits, INDENT "waits: ");
    if (event->tries > 0)
        printf(INDENT "tried %lld time%s\n", (long long)event->tries, event->tries == 1 ? "" : "s");
    if (event->why != NULL)
        print_between(INDENT "because: ", event->why, "\n");
}

static void print_chain(const struct timeline *timeline)
{
    printf("   chain %s: %s", timeline->chain, timeline->chain_state);
    if (timeline->chain_reason != NULL)
        print_between(", because: ", timeline->chain_reason, "");
    bool undoes = strcmp(timeline->chain_state, "running") != 0 && strcmp(timeline->chain_state, "complete") != 0;
    if (undoes && timeline->chain_doings > 0)
        printf("; %lld of %lld done steps undone", (long long)timeline->chain_undos, (long long)timeline->chain_doings);
    if (timeline->chain_begun > 1)
        printf("; begun %lld times", (long long)timeline->chain_begun);
    if (timeline->chain_older_definition)
        printf("; by the definition that it began with, not the file's");
}

void timeline_print_text(const struct timeline *timeline)
{
    bool color = isatty(STDOUT_FILENO);
    const char *bold = color ? "\033[1m" : "", *dim = color ? "\033[2m" : "", *off = color ? "\033[0m" : "";
    const char *red = color ? "\033[31m" : "", *green = color ? "\033[32m" : "";

    print_between(bold, timeline->correlation, off);
    if (timeline->chain != NULL)
        print_chain(timeline);
    putchar('\n');
    print_waits(timeline, &timeline->waits, "  waits: ");
    if (timeline->incomplete != NULL)
        print_between("  not all of it: ", timeline->incomplete, "\n");
    for (size_t i = 0; i < timeline->count; i++) {
        const struct timeline_event *event = &timeline->events[i];
        time_t seconds = (time_t)(event->at_ms / 1000);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        if (i == 0 || event->at_ms / DAY_MS != timeline->events[i - 1].at_ms / DAY_MS)
            printf("  %s%04d-%02d-%02d, UTC%s\n", dim, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, off);
        printf("  %02d:%02d:%02d.%03d %s%+8lld ms%s  %s", tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(event->at_ms % 1000),
               dim, (long long)(event->at_ms - timeline->events[0].at_ms), off, event->dead_letter ? red : bold);
        plain_column(span_of(event->topic), 22);
        fputs(off, stdout);
        if (event->due_ms > event->at_ms)
            printf("  after %lld ms", (long long)(event->due_ms - event->at_ms));
        for (size_t e = 0; e < event->ended_count; e++)
            printf("  %s → %s%s%s", event->ended[e].handler,
                   strcmp(event->ended[e].outcome, "dead letter") == 0 ? red : green, event->ended[e].outcome, off);
        for (size_t e = 0; e < event->elsewhere_count; e++) {
            printf("  %s", dim);
            print_between("elsewhere → ", event->elsewhere[e], off);
        }
        if (event->reason != NULL) {
            printf("  %s", dim);
            print_between("(", event->reason, ")");
            fputs(off, stdout);
        }
        if (event->copies > 1)
            printf("  %s(on the topic %zu times)%s", dim, event->copies, off);
        putchar('\n');
        print_event_waits(timeline, event);
        if (!event->dead_letter || event->letter_count > 0)
            print_letters(event);
    }
    if (timeline->count == 0 && timeline->incomplete == NULL)
        printf(
            "  nothing on this pipeline's topics carries it: it is no value of an event's data, and no event's id\n");
}

void timeline_print_why(const struct timeline *timeline)
{
    size_t count = timeline->waits.count;
    print_waits(timeline, &timeline->waits, "");
    for (size_t i = 0; i < timeline->count; i++) {
        const struct timeline_event *event = &timeline->events[i];
        char before[512];
        snprintf(before, sizeof before, "%s %s: ", event->topic, event->id); /* names of topics and ids are plain */
        print_waits(timeline, &event->waits, before);
        count += event->waits.count;
    }
    if (timeline->incomplete != NULL)
        print_between("not all of it: ", timeline->incomplete, "\n");
    if (timeline->count == 0 && timeline->incomplete == NULL)
        printf("nothing on this pipeline's topics carries it\n");
    else if (count == 0)
        printf("nothing of it waits%s%s%s%s\n", timeline->chain != NULL ? "; chain " : "",
               timeline->chain != NULL ? timeline->chain : "", timeline->chain != NULL ? ": " : "",
               timeline->chain != NULL ? timeline->chain_state : "");
}
