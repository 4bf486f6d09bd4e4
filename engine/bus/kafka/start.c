/*
 * start.c - see start.h.
 */
#include "bus/kafka/start.h"

enum kafka_answer kafka_start_weigh(int64_t committed, bool had_offset, int64_t now_ms, int64_t *doubted_ms)
{
    if (committed >= 0 || !had_offset) {
        *doubted_ms = 0;
        return KAFKA_ANSWER_TAKEN;
    }
    if (*doubted_ms == 0)
        *doubted_ms = now_ms;
    return now_ms - *doubted_ms < KAFKA_DOUBT_MS ? KAFKA_ANSWER_DOUBTED : KAFKA_ANSWER_CONFIRMED;
}

enum kafka_start kafka_start_decide(const struct kafka_offsets *offsets, int64_t *ret_offset)
{
    bool committed = offsets->committed >= 0, recorded = offsets->recorded >= 0;
    bool committed_is_lower = committed && (!recorded || offsets->committed < offsets->recorded);
    int64_t next = committed_is_lower ? offsets->committed : offsets->recorded;

    *ret_offset = offsets->low;
    if (offsets->topic_recreated)
        return KAFKA_START_RECREATED;
    if (!committed && !recorded)
        return KAFKA_START_NEW;
    if (next < offsets->skipped)
        next = offsets->skipped;
    if (next > offsets->high)
        return KAFKA_START_RECREATED;
    if (next < offsets->low)
        return KAFKA_START_DELETED;
    *ret_offset = next;
    if (!committed)
        return KAFKA_START_STORE_ONLY;
    return recorded && offsets->committed > offsets->recorded ? KAFKA_START_STORE_BEHIND : KAFKA_START_CONTINUE;
}
