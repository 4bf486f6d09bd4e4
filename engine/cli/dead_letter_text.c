/*
 * dead_letter_text.c - see dead_letter_text.h.
 */
#include "cli/dead_letter_text.h"

#include "cli/plain.h"
#include "event/timestamp.h"

#include <stdio.h>

enum { MESSAGE_COLUMNS = 120 };

static const char *time_text(int64_t ms, char buf[TIMESTAMP_TEXT + 1])
{
    timestamp_format(ms, buf);
    return buf;
}

static size_t wider(size_t width, const char *text)
{
    size_t length = strlen(text);
    return length > width ? length < 40 ? length : 40 : width;
}

void dead_letters_print(const struct dead_letter_page *page)
{
    size_t id = 2, topic = 5, reason = 6, correlation = 11;
    for (size_t i = 0; i < page->count; i++) {
        id = strlen(page->letters[i].id) > id ? strlen(page->letters[i].id) : id;
        topic = wider(topic, page->letters[i].topic);
        reason = wider(reason, page->letters[i].reason);
        correlation = wider(correlation, page->letters[i].correlation);
    }
    if (page->count > 0)
        printf("%*s  %-24s  %-8s  %-*s  %-*s  %-6s  %-*s  %s\n", (int)id, "ID", "AT", "STATE", (int)topic, "TOPIC",
               (int)reason, "REASON", "ROUNDS", (int)correlation, "CORRELATION", "MESSAGE");
    for (size_t i = 0; i < page->count; i++) {
        const struct dead_letter *letter = &page->letters[i];
        char at[TIMESTAMP_TEXT + 1];
        printf("%*s  %s  %-8s  ", (int)id, letter->id, time_text(letter->at_ms, at),
               dead_letter_state_word(letter->state));
        plain_column(span_of(letter->topic), topic + 2);
        plain_column(span_of(letter->reason), reason + 2);
        printf("%-6d  ", letter->rounds);
        plain_column(span_of(letter->correlation), correlation + 2);
        plain_print(span_of(letter->message), MESSAGE_COLUMNS);
        putchar('\n');
    }
    if (page->count == 0)
        puts("no dead letters");
}

static void line(const char *name, const char *text)
{
    if (text[0] == '\0')
        return;
    printf("%-13s ", name);
    plain_print(span_of(text), 0);
    putchar('\n');
}

static void print_record(const struct record *record, const char *word)
{
    printf("%-13s ", "key");
    plain_print(record->key.at == NULL ? SPAN("none") : record->key, 0);
    putchar('\n');
    for (size_t i = 0; i < record->header_count; i++) {
        printf("%-13s ", i == 0 ? "headers" : "");
        plain_print(record->headers[i].name, 0);
        fputs(": ", stdout);
        plain_print(record->headers[i].value, 0);
        putchar('\n');
    }
    printf("%-13s ", word);
    plain_print(record->value, 0);
    putchar('\n');
}

void dead_letter_print(const struct dead_letter *letter)
{
    char at[TIMESTAMP_TEXT + 1];
    printf("%-13s %s, %s\n", "dead letter", letter->id, dead_letter_state_word(letter->state));
    line("reason", letter->reason);
    line("message", letter->message);
    line("topic", letter->topic);
    if (letter->placed)
        printf("%-13s partition %d at %lld\n", "place", letter->partition, (long long)letter->offset);
    line("group", letter->group);
    line("handler", letter->handler);
    line("event", letter->event);
    line("correlation", letter->correlation);
    printf("%-13s %s, tried %d time%s\n", "at", time_text(letter->at_ms, at), letter->attempts,
           letter->attempts == 1 ? "" : "s");
    if (letter->before[0] != '\0') {
        printf("%-13s dead letter ", "before");
        plain_print(span_of(letter->before), 0);
        printf(", replayed %d time%s\n", letter->rounds, letter->rounds == 1 ? "" : "s");
    }
    if (letter->ended_at_ms != 0) {
        printf("%-13s %s by ", dead_letter_state_word(letter->state), time_text(letter->ended_at_ms, at));
        plain_print(span_of(letter->ended_by), 0);
        if (letter->replayed_as[0] != '\0') {
            fputs(", as event ", stdout);
            plain_print(span_of(letter->replayed_as), 0);
        }
        putchar('\n');
    }
    print_record(&letter->record, "value");
    if (letter->edited) {
        puts("edited, this is what is replayed:");
        print_record(&letter->edited_record, "value");
    }
}
