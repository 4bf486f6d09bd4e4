/*
 * letter_move.c - see letter_move.h.
 *
 * Two walks over the topics: the first counts, and sees where each partition ends; the second moves what was there
 * then, so that a replay that fails again at once is not replayed once more.
 */
#include "operate/letter_move.h"

#include "base/clock.h"
#include "operate/letter_topics.h"
#include "operate/replayed_event.h"

#include <errno.h>

enum {
    MOVE_BATCH = 2000,
    MOVE_BYTES = 8 * 1024 * 1024, /* of a batch, but of its last record */
    MOVE_ARENA = 1024 * 1024,
    MOVE_ARENA_MAX = 1 << 30,
};

struct last_seen { /* of a partition */
    struct span topic;
    int32_t partition;
    int64_t offset;
};

struct moving {
    const struct operation *operation;
    const struct replay *replay;
    struct replay_progress *progress;
    bool drops;
    struct letter_topics topics;
    struct letter_filter filter; /* the open ones */
    struct arena *seen_arena;
    struct last_seen *seen;
    size_t seen_count;
    struct arena *arena; /* of a batch, which is: */
    struct record *events, *notes;
    const char **ids;
    size_t count, bytes;
    int64_t began_ms;
    struct error *error;
    int code;
};

/* --------------------------------------------------------------------------------------------------------- counting */

static struct last_seen *seen_of(struct moving *moving, const struct letter_place *place)
{
    for (size_t i = 0; i < moving->seen_count; i++)
        if (moving->seen[i].partition == place->partition && span_equal(moving->seen[i].topic, place->topic))
            return &moving->seen[i];
    return NULL;
}

static bool count_letter(const struct dead_letter *letter, void *context)
{
    struct moving *moving = context;
    struct letter_place place;
    if (!letter_place_of(span_of(letter->id), &place))
        return true;
    moving->progress->found++;
    moving->progress->exhausted += letter->rounds >= DEAD_LETTER_ROUNDS_MAX;
    struct last_seen *seen = seen_of(moving, &place);
    if (seen == NULL) {
        moving->seen = arena_grown(moving->seen_arena, moving->seen, moving->seen_count, sizeof *moving->seen);
        seen = &moving->seen[moving->seen_count++];
        *seen = (struct last_seen){arena_span(moving->seen_arena, place.topic), place.partition, 0};
    }
    seen->offset = place.offset;
    return true;
}

static int begin(struct moving *moving, bool writes)
{
    *moving->progress = (struct replay_progress){0};
    moving->filter = moving->replay->filter;
    moving->filter.state = moving->filter.state_to = DEAD_LETTER_OPEN;
    moving->seen_arena = arena_create(4096, MOVE_ARENA_MAX);
    int code = letter_topics_open(moving->operation, writes, &moving->topics, moving->error);
    return code != 0 ? code : letter_topics_each(&moving->topics, &moving->filter, count_letter, moving, moving->error);
}

static void end(struct moving *moving)
{
    letter_topics_close(&moving->topics);
    arena_destroy(moving->seen_arena);
    arena_destroy(moving->arena);
}

int letter_count(const struct operation *operation, const struct replay *replay, struct replay_progress *ret,
                 struct error *error)
{
    struct moving moving = {.operation = operation, .replay = replay, .progress = ret, .error = error};
    int code = begin(&moving, false);
    end(&moving);
    return code;
}

/* ----------------------------------------------------------------------------------------------------------- moving */

static bool is_refusal_of_one(int code)
{
    return code == -EMSGSIZE || code == -ENOENT || code == -EACCES || code == -EBADMSG || code == -EINVAL;
}

/* What the batch holds, its events before its notes. A record that the brokers refuse for good is left out with its
 * note, and the others go. */
static int publish(struct moving *moving)
{
    while (moving->count > 0) {
        size_t count = moving->count, events = moving->drops ? 0 : count, failed = SIZE_MAX;
        struct record *records = arena_array(moving->arena, struct record, 2 * count);
        memcpy(records, moving->events, events * sizeof *records);
        memcpy(records + events, moving->notes, count * sizeof *records);
        int code = letter_topics_publish(&moving->topics, records, events + count, &failed, moving->error);
        if (code == 0) {
            moving->progress->moved += (int64_t)count;
            break;
        }
        if (!is_refusal_of_one(code) || failed >= events)
            return code;
        replay_note_unfit(moving->progress, moving->ids[failed], moving->error);
        *moving->error = (struct error){0};
        moving->count--;
        memmove(moving->events + failed, moving->events + failed + 1,
                (moving->count - failed) * sizeof *moving->events);
        memmove(moving->notes + failed, moving->notes + failed + 1, (moving->count - failed) * sizeof *moving->notes);
        memmove(moving->ids + failed, moving->ids + failed + 1, (moving->count - failed) * sizeof *moving->ids);
    }
    return 0;
}

static void empty(struct moving *moving)
{
    if (moving->arena == NULL)
        moving->arena = arena_create(MOVE_ARENA, MOVE_ARENA_MAX);
    arena_reset(moving->arena);
    moving->events = arena_array(moving->arena, struct record, MOVE_BATCH);
    moving->notes = arena_array(moving->arena, struct record, MOVE_BATCH);
    moving->ids = arena_array(moving->arena, const char *, MOVE_BATCH);
    moving->count = moving->bytes = 0;
}

/* The batch goes, and the next one may begin; false: not, since it failed, was stopped, or the limit is reached. */
static bool flush(struct moving *moving)
{
    const struct replay *replay = moving->replay;
    struct replay_progress *progress = moving->progress;
    moving->code = publish(moving);
    empty(moving);
    if (replay->progress != NULL)
        replay->progress(progress, replay->context);
    if (moving->code != 0)
        return false;
    if (!moving->drops)
        replay_keep_rate(replay, progress->moved, moving->began_ms);
    progress->stopped = replay_stopped(replay);
    return !progress->stopped && replay_batch_size(replay, progress->moved, MOVE_BATCH) > 0;
}

/* Its event; false: it stays as it is. */
static bool take_event(struct moving *moving, const struct dead_letter *letter, struct span *ret_id)
{
    struct error why = {0};
    const struct record record = letter_record_copy(letter->edited ? &letter->edited_record : &letter->record,
                                                    moving->arena);
    const struct replayed from = {.letter = arena_string(moving->arena, span_of(letter->id)),
                                  .round = letter->rounds + 1,
                                  .group = arena_span(moving->arena, span_of(letter->group)),
                                  .topic = arena_span(moving->arena, span_of(letter->topic)),
                                  .record = &record};
    if (from.round > DEAD_LETTER_ROUNDS_MAX && !moving->replay->force) {
        moving->progress->exhausted++;
        return false;
    }
    struct record *event = &moving->events[moving->count];
    if (replayed_event(moving->operation->pipeline, &from, moving->arena, event, ret_id, &why) != 0) {
        replay_note_unfit(moving->progress, letter->id, &why);
        return false;
    }
    moving->bytes += event->key.length + event->value.length;
    return true;
}

static bool move_letter(const struct dead_letter *letter, void *context)
{
    struct moving *moving = context;
    struct letter_place place;
    struct span event = {NULL, 0};
    const struct last_seen *seen = letter_place_of(span_of(letter->id), &place) ? seen_of(moving, &place) : NULL;
    if (seen == NULL || place.offset > seen->offset)
        return true;
    if (!moving->drops && !take_event(moving, letter, &event))
        return true;
    moving->ids[moving->count] = arena_string(moving->arena, span_of(letter->id));
    moving->notes[moving->count] = letter_topics_note(
        &moving->topics, letter, moving->drops ? DEAD_LETTER_DROPPED : DEAD_LETTER_REPLAYED, event, moving->arena);
    moving->bytes += moving->notes[moving->count].value.length;
    moving->count++;
    struct replay pace = *moving->replay;
    pace.rate = moving->drops ? 0 : pace.rate;
    int64_t most = replay_batch_size(&pace, moving->progress->moved, MOVE_BATCH);
    return ((int64_t)moving->count < most && moving->bytes < MOVE_BYTES) || flush(moving);
}

int letter_move(const struct operation *operation, const struct replay *replay, bool drops, struct replay_progress *ret,
                struct error *error)
{
    struct moving moving = {.operation = operation,
                            .replay = replay,
                            .progress = ret,
                            .drops = drops,
                            .began_ms = clock_monotonic_ms(),
                            .error = error};
    int code = begin(&moving, true);
    ret->exhausted = 0; /* counted as they have their turn */
    if (code == 0) {
        empty(&moving);
        code = letter_topics_each(&moving.topics, &moving.filter, move_letter, &moving, error);
    }
    if (code == 0)
        code = moving.code;
    if (code == 0 && moving.count > 0 && !ret->stopped) {
        (void)flush(&moving);
        code = moving.code;
        ret->stopped = false; /* it was the last batch */
    }
    end(&moving);
    return code;
}
