/*
 * fake_chain_span.c - sluice.chain_span for the tests of batch/: the last span of each step.
 */
#include "fake_ledger.h"
#include "store/ledger_span.h"

enum { SPANS_MAX = 64 };

static struct chain_span spans[SPANS_MAX];
static char texts[SPANS_MAX][TRACEPARENT_TEXT];
static size_t span_count;

static size_t place_of(const struct chain_span *span)
{
    size_t i = 0;
    while (i < span_count && (spans[i].chain != span->chain || spans[i].step != span->step ||
                              memcmp(&spans[i].correlation, &span->correlation, sizeof span->correlation) != 0))
        i++;
    return i;
}

enum store_result ledger_chain_spans_note(struct connection *connection, const struct chain_span *noted, size_t count,
                                          struct error *error)
{
    enum store_result result = fake_executed(connection, "chain_spans_note", count, error);
    for (size_t i = 0; i < count && result == STORE_OK; i++) {
        size_t at = place_of(&noted[i]);
        if (at == SPANS_MAX)
            return STORE_DOWN;
        spans[at] = noted[i];
        memcpy(texts[at], noted[i].traceparent.at, TRACEPARENT_TEXT);
        spans[at].traceparent = (struct span){texts[at], TRACEPARENT_TEXT};
        span_count += at == span_count;
    }
    return result;
}

enum store_result ledger_chain_span_find(struct connection *connection, struct chain_span *span, struct error *error)
{
    enum store_result result = fake_executed(connection, "chain_span_find", 0, error);
    size_t at = place_of(span);
    if (result == STORE_OK)
        span->traceparent = at < span_count ? spans[at].traceparent : (struct span){NULL, 0};
    return result;
}
