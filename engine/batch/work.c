/*
 * work.c - see work.h.
 */
#include "batch/batch.h"

#include "base/random.h"
#include "flow/retry.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static char *sentence(struct batch *batch, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static char *sentence(struct batch *batch, const char *format, va_list args)
{
    char text[ERROR_TEXT_MAX];
    vsnprintf(text, sizeof text, format, args);
    return text_clean(arena_string(batch->arena, span_of(text)));
}

char *text_clean(char *text)
{
    for (size_t i = 0, length = strlen(text); i < length; i++) {
        i += span_utf8((struct span){text + i, length - i});
        if (i < length)
            text[i] = '?'; /* cut inside a letter, or never one */
    }
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20)
            *at = ' ';
    return text;
}

struct event_id work_suspect_id(const struct work *work)
{
    const struct item *item = work->item;
    struct event_id id = item->source == ITEM_TICK      ? event_id_of(span_of(item->schedule->name))
                         : item->source == ITEM_REQUEST ? event_id_of(work->event.data.text)
                                                        : work->event.id;
    return suspects_id(id, item->binding == NULL ? SPAN("") : span_of(item->binding->id));
}

bool work_noted_before(const struct work *work)
{
    const struct record *record = &work->item->record;
    return (work->again && !span_is(record_header(record, HEADER_DLT_CODE), event_dead_word(DEAD_BAD_OUTPUT))) ||
           record_header(record, HEADER_REPLAY_NOTED).length > 0;
}

/* Nothing says to which topic a dead letter of it would go: the file does not have its own. It can wait in the
 * database. */
static bool waits_for_name(const struct batch *batch, const struct item *item)
{
    return batch->connection != NULL && item->topic == NULL &&
           (item->source == ITEM_BUS || item->source == ITEM_PARKED);
}

void work_dead(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    work->why = sentence(batch, format, args);
    va_end(args);
    work->verdict = waits_for_name(batch, work->item) ? VERDICT_UNKNOWN : VERDICT_DEAD;
    work->reason = reason;
}

void work_condemn(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
{
    struct item *item = work->item;
    va_list args;
    batch->condemned = true;
    if (work->condemned)
        return; /* in this batch already: the first sentence says what is wrong */
    work->condemned = true;
    if (item->condemned != 0 && (reason != DEAD_ID_CONFLICT || item->condemned == DEAD_ID_CONFLICT)) {
        item->minimal = true; /* its dead letter failed, too: next time without chains and headers */
        return;
    }
    free(item->sentence);
    va_start(args, format);
    item->sentence = strdup(sentence(batch, format, args));
    va_end(args);
    item->condemned = reason;
    work->verdict = VERDICT_REQUEUE;
}

void work_fail(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
{
    struct item *item = work->item;
    va_list args;
    va_start(args, format);
    const char *why = sentence(batch, format, args);
    va_end(args);
    item->isolate = true;
    if (item->source == ITEM_REQUEST || item->source == ITEM_TICK || item->failed != 0) {
        work_condemn(batch, work, reason, "%s", why); /* or counting the try has failed, too */
        return;
    }
    free(item->sentence);
    item->sentence = strdup(why);
    item->failed = reason;
}

void work_retry(struct batch *batch, struct work *work, enum dead_reason exhausted, const char *why)
{
    const struct binding *binding = work->item->binding;
    int64_t delay = retry_delay_ms(&binding->retry, work->item->tries + 1, random_unit(&batch->env->random));
    if (delay < 0) {
        work_dead(batch, work, exhausted, "%s; tried %u times", why, work->item->tries + 1);
        return;
    }
    work->verdict = VERDICT_RETRY;
    work->why = why;
    work->due_ms = batch->now_ms + delay;
    series_add(batch->env->bindings[binding->index].retries, 1);
}

bool work_place(const struct batch *batch, const struct work *work, char *buf, size_t size, int32_t *ret_partition,
                int64_t *ret_offset)
{
    const struct batch_env *env = batch->env;
    const struct item *item = work->item;
    if (env->group == NULL || (item->source != ITEM_BUS && item->source != ITEM_HELD))
        return false;
    if (item->source == ITEM_BUS) {
        bus_describe(env->bus, *env->consumer, item->stream, item->position, buf, size, ret_partition, ret_offset);
        return true;
    }
    *ret_partition = item->held_partition;
    *ret_offset = item->held_offset;
    snprintf(buf, size, "%.*s at %lld", (int)item->held_stream.length, item->held_stream.at,
             (long long)item->held_offset);
    return true;
}

void overlay_set(struct arena *arena, struct overlays *overlays, struct span name, struct span json)
{
    for (size_t i = 0; i < overlays->count; i++)
        if (span_equal(overlays->list[i].name, name)) {
            overlays->list[i].json = json;
            return;
        }
    if (overlays->count == overlays->size) {
        size_t size = overlays->size == 0 ? 4 : overlays->size * 2;
        struct overlay *grown = arena_array(arena, struct overlay, size);
        if (overlays->count > 0)
            memcpy(grown, overlays->list, overlays->count * sizeof *grown);
        overlays->list = grown;
        overlays->size = size;
    }
    overlays->list[overlays->count++] = (struct overlay){name, json};
}
