/*
 * correlation.c - the correlation that an event has: carried in a header, or the field that a chain ties events by, in
 * what a handler lays over the data or in the data itself.
 */
#include "batch/batch.h"

#include "event/correlation.h"

struct span output_correlation(struct batch *batch, const struct work *work, const struct overlays *overlays)
{
    if (work->event.record != NULL) {
        struct span carried = record_header(work->event.record, HEADER_CORRELATION);
        if (carried.length > 0)
            return carried;
    }
    const struct pipeline *pipeline = batch->env->config;
    for (size_t i = 0; i < pipeline->chain_count; i++) {
        struct span name = span_of(pipeline->chains[i].correlate);
        for (size_t j = 0; j < overlays->count; j++)
            if (span_equal(overlays->list[j].name, name) && overlays->list[j].json.length > 2 &&
                overlays->list[j].json.at[0] == '"')
                return json_unescape(overlays->list[j].json, true, batch->arena);
        struct span correlation;
        if (correlation_read(&work->event.data, name, batch->arena, &correlation, NULL) == CORRELATION_USABLE)
            return correlation;
    }
    return (struct span){NULL, 0};
}
