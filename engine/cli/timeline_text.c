/*
 * timeline_text.c - a timeline for people: a line an event, in colours on a terminal.
 */
#include "cli/timeline_text.h"

#include "operate/dead_letter.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

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

/* `before`: what stands before each line. */
static void print_waits(const struct waits *waits, const char *before)
{
    for (size_t i = 0; i < waits->count; i++) {
        const struct wait *wait = &waits->list[i];
        printf("%s%s", before, wait->sentence);
        if (wait->command != NULL)
            printf("  → %s", wait->command);
        putchar('\n');
    }
}

static void print_event_waits(const struct timeline_event *event)
{
    print_waits(&event->waits, INDENT "waits: ");
    if (event->tries > 0)
        printf(INDENT "tried %lld time%s\n", (long long)event->tries, event->tries == 1 ? "" : "s");
    if (event->why != NULL)
        printf(INDENT "because: %s\n", event->why);
}

static void print_chain(const struct timeline *timeline)
{
    printf("   chain %s: %s%s%s", timeline->chain, timeline->chain_state,
           timeline->chain_reason != NULL ? ", because: " : "",
           timeline->chain_reason != NULL ? timeline->chain_reason : "");
    if (timeline->chain_doings > 1 || timeline->chain_undos > 0)
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

    printf("%s%s%s", bold, timeline->correlation, off);
    if (timeline->chain != NULL)
        print_chain(timeline);
    putchar('\n');
    print_waits(&timeline->waits, "  waits: ");
    if (timeline->incomplete != NULL)
        printf("  not all of it: %s\n", timeline->incomplete);
    for (size_t i = 0; i < timeline->count; i++) {
        const struct timeline_event *event = &timeline->events[i];
        time_t seconds = (time_t)(event->at_ms / 1000);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        printf("  %02d:%02d:%02d.%03d %s%+8lld ms%s  %s%-22s%s", tm.tm_hour, tm.tm_min, tm.tm_sec,
               (int)(event->at_ms % 1000), dim, (long long)(event->at_ms - timeline->events[0].at_ms), off,
               event->dead_letter ? red : bold, event->topic, off);
        if (event->due_ms > event->at_ms)
            printf("  after %lld ms", (long long)(event->due_ms - event->at_ms));
        for (size_t e = 0; e < event->ended_count; e++)
            printf("  %s → %s%s%s", event->ended[e].handler,
                   strcmp(event->ended[e].outcome, "dead letter") == 0 ? red : green, event->ended[e].outcome, off);
        for (size_t e = 0; e < event->elsewhere_count; e++)
            printf("  %selsewhere → %s%s", dim, event->elsewhere[e], off);
        if (event->reason != NULL)
            printf("  %s(%s)%s", dim, event->reason, off);
        if (event->copies > 1)
            printf("  %s(on the topic %zu times)%s", dim, event->copies, off);
        putchar('\n');
        print_event_waits(event);
        if (!event->dead_letter || event->letter_count > 0)
            print_letters(event);
    }
    if (timeline->count == 0)
        printf(
            "  nothing on this pipeline's topics carries it: it is no value of an event's data, and no event's id\n");
}

void timeline_print_why(const struct timeline *timeline)
{
    size_t count = timeline->waits.count;
    print_waits(&timeline->waits, "");
    for (size_t i = 0; i < timeline->count; i++) {
        const struct timeline_event *event = &timeline->events[i];
        char before[512];
        snprintf(before, sizeof before, "%s %s: ", event->topic, event->id);
        print_waits(&event->waits, before);
        count += event->waits.count;
    }
    if (timeline->incomplete != NULL)
        printf("not all of it: %s\n", timeline->incomplete);
    if (timeline->count == 0)
        printf("nothing on this pipeline's topics carries it\n");
    else if (count == 0)
        printf("nothing of it waits%s%s%s%s\n", timeline->chain != NULL ? "; chain " : "",
               timeline->chain != NULL ? timeline->chain : "", timeline->chain != NULL ? ": " : "",
               timeline->chain != NULL ? timeline->chain_state : "");
}
