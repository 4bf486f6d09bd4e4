/*
 * timeline_text.c - a timeline for people: a line an event, in colours on a terminal.
 */
#include "cli/timeline_text.h"

#include "base/clock.h"
#include "operate/dead_letter.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static void print_letters(const struct timeline_event *event)
{
    if (event->replay_of != NULL)
        printf("                                  replay %lld of dead letter %lld\n", (long long)event->replays,
               (long long)event->replayed_letter);
    for (size_t i = 0; i < event->letter_count; i++)
        printf("                                  dead letter %lld, %s\n", (long long)event->letters[i].id,
               dead_letter_state_word((enum dead_letter_state)event->letters[i].state));
}
enum { TIMELINE_PAUSE_MAX = 4096 };

static void print_wait(const struct timeline_event *event, bool color)
{
    int64_t left = event->delayed_until_ms - clock_wall_ms();
    if (event->stuck)
        printf("%s                                  waits for an operator%s\n", color ? "\033[31m" : "",
               color ? "\033[0m" : "");
    else if (event->held && event->held_before > 0)
        printf("                                  held behind its key, %lld before it\n",
               (long long)event->held_before);
    else if (event->held && event->paused_count == 0)
        printf("                                  holds its key, next try in %lld ms\n",
               (long long)(event->delayed_until_ms != 0 && left > 0 ? left : 0));
    else if (event->delayed_until_ms != 0)
        printf("                                  waits %lld ms more for its time\n", (long long)(left > 0 ? left : 0));
    for (size_t p = 0; p < event->paused_count; p++) {
        struct buffer text;
        buffer_init(&text, TIMELINE_PAUSE_MAX);
        pause_print_text(event->paused[p], &text);
        printf("                                  %s %s is %.*s\n", pause_kind_word(event->paused[p]->kind),
               event->paused[p]->name, (int)text.length, text.at);
        buffer_free(&text);
    }
    if (event->tries > 0)
        printf("                                  tried %lld time%s\n", (long long)event->tries,
               event->tries == 1 ? "" : "s");
    if (event->why != NULL)
        printf("                                  because: %s\n", event->why);
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
        print_wait(event, color);
        if (!event->dead_letter || event->letter_count > 0)
            print_letters(event);
    }
    if (timeline->count == 0)
        printf(
            "  nothing on this pipeline's topics carries it: it is no value of an event's data, and no event's id\n");
}
