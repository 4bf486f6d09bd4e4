/*
 * letter_page.c - a page of the dead letters that topics hold. See letter_topics.h.
 *
 * One walk finds which ones the page has, the next one reads them: what a page costs in memory does not depend on how
 * large they are.
 */
#include "operate/letter_page.h"

#include "operate/letter_topics.h"

#include <errno.h>
#include <stdlib.h>

struct candidate {
    int64_t at_ms;
    const char *id;
};

struct choosing {
    struct arena *arena; /* the caller's */
    struct candidate *list;
    size_t count, size;
    bool failed;
    struct dead_letter *letters; /* then: the chosen ones, whole */
};

static bool choose(const struct dead_letter *letter, void *context)
{
    struct choosing *choosing = context;
    if (choosing->count == choosing->size) {
        size_t size = choosing->size == 0 ? 256 : 2 * choosing->size;
        struct candidate *grown = reallocarray(choosing->list, size, sizeof *grown);
        if (grown == NULL) {
            choosing->failed = true;
            return false;
        }
        choosing->list = grown;
        choosing->size = size;
    }
    choosing->list[choosing->count++] = (struct candidate){letter->at_ms,
                                                           arena_string(choosing->arena, span_of(letter->id))};
    return true;
}

/* The newest first. Of equal time: by topic and partition, in a partition by offset. */
static int candidate_compare(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    struct letter_place x, y;
    if (a->at_ms != b->at_ms)
        return a->at_ms > b->at_ms ? -1 : 1;
    if (!letter_place_of(span_of(a->id), &x) || !letter_place_of(span_of(b->id), &y))
        return strcmp(a->id, b->id);
    if (!span_equal(x.topic, y.topic))
        return strcmp(a->id, b->id);
    if (x.partition != y.partition)
        return x.partition < y.partition ? -1 : 1;
    return x.offset > y.offset ? -1 : x.offset < y.offset;
}

static bool read_time(const struct dead_letter *letter, void *context)
{
    ((struct candidate *)context)->at_ms = letter->at_ms;
    return false;
}

/* Those from `below` on go; so does everything when it is not on its topic any more: what is older is gone, too. */
static int leave_newer(const struct letter_topics *topics, struct choosing *choosing, struct span below,
                       struct error *error)
{
    const struct letter_filter only = {.ids = &below, .id_count = 1, .state_to = DEAD_LETTER_DROPPED};
    struct candidate from = {INT64_MIN, arena_string(choosing->arena, below)};
    int code = letter_topics_each(topics, &only, read_time, &from, error);
    size_t first = 0;
    while (code == 0 && first < choosing->count && candidate_compare(&choosing->list[first], &from) <= 0)
        first++;
    choosing->count -= first;
    if (choosing->count > 0)
        memmove(choosing->list, choosing->list + first, choosing->count * sizeof *choosing->list);
    return code;
}

static bool fill(const struct dead_letter *letter, void *context)
{
    struct choosing *choosing = context;
    struct arena *arena = choosing->arena;
    for (size_t i = 0; i < choosing->count; i++) {
        if (strcmp(choosing->list[i].id, letter->id) != 0)
            continue;
        struct dead_letter *kept = &choosing->letters[i];
        *kept = *letter;
        kept->id = choosing->list[i].id;
        const char **texts[] = {&kept->before, &kept->group,       &kept->topic,   &kept->handler,  &kept->reason,
                                &kept->event,  &kept->correlation, &kept->message, &kept->ended_by, &kept->replayed_as};
        for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
            *texts[t] = arena_string(arena, span_of(*texts[t]));
        kept->record = letter_record_copy(&letter->record, arena);
        if (kept->edited)
            kept->edited_record = letter_record_copy(&letter->edited_record, arena);
    }
    return true;
}

/* The chosen ones, read again for all that they hold. */
static int fill_page(const struct letter_topics *topics, struct choosing *choosing, struct dead_letter_page *ret,
                     struct error *error)
{
    struct span *ids = arena_array(choosing->arena, struct span, choosing->count + 1);
    const struct letter_filter chosen = {.ids = ids, .id_count = choosing->count, .state_to = DEAD_LETTER_DROPPED};
    for (size_t i = 0; i < choosing->count; i++)
        ids[i] = span_of(choosing->list[i].id);
    choosing->letters = arena_array(choosing->arena, struct dead_letter, choosing->count + 1);
    int code = choosing->count == 0 ? 0 : letter_topics_each(topics, &chosen, fill, choosing, error);
    for (size_t i = 0; code == 0 && i < choosing->count; i++)
        if (choosing->letters[i].id != NULL) /* else it has just left its topic */
            ret->letters[ret->count++] = choosing->letters[i];
    return code;
}

int letter_topics_page(const struct operation *operation, const struct letter_filter *filter, struct span below,
                       int64_t limit, struct arena *arena, struct dead_letter_page *ret, struct error *error)
{
    struct letter_topics topics = {0};
    struct choosing choosing = {.arena = arena};
    int code = letter_topics_open(operation, false, &topics, error);
    if (code == 0)
        code = letter_topics_each(&topics, filter, choose, &choosing, error);
    if (code == 0 && choosing.failed)
        code = error_set(error, ENOMEM, "out of memory");
    if (code == 0 && choosing.count > 0)
        qsort(choosing.list, choosing.count, sizeof *choosing.list, candidate_compare);
    if (code == 0 && below.length > 0)
        code = leave_newer(&topics, &choosing, below, error);
    *ret = (struct dead_letter_page){.letters = arena_array(arena, struct dead_letter, (size_t)limit + 1)};
    if (code == 0 && choosing.count > (size_t)limit) {
        choosing.count = (size_t)limit;
        ret->next = choosing.list[limit - 1].id;
    }
    if (code == 0)
        code = fill_page(&topics, &choosing, ret, error);
    free(choosing.list);
    letter_topics_close(&topics);
    return code;
}
