/*
 * refused.c - see refused.h.
 */
#include "batch/refused.h"

#include "base/clock.h"
#include "base/log.h"
#include "event/record_batch.h"
#include "store/ledger.h"

#include <errno.h>

enum { REFUSED_BYTES_MAX = 256 * 1024 * 1024 };

bool is_refusal(int code)
{
    return code == -EMSGSIZE || code == -ENOENT || code == -EACCES || code == -EBADMSG || code == -EINVAL;
}

int publish_each(struct bus *bus, struct record *records, size_t count, int64_t timeout_ms, size_t *ret_refused,
                 struct error *ret_reason)
{
    size_t refused = 0, failed = 0;
    struct error error = {0};
    struct span missing = {0}; /* the last topic that the bus does not have: each such record would wait its time-out */
    for (size_t i = 0; i < count; i++) {
        const struct record record = records[i];
        int code = missing.at != NULL && span_equal(missing, record.topic)
                       ? -ENOENT
                       : bus_publish(bus, &record, 1, clock_monotonic_ms() + timeout_ms, &failed, &error);
        if (code == 0)
            continue;
        if (!is_refusal(code))
            return code;
        if (code == -ENOENT)
            missing = record.topic;
        if (refused == 0) {
            *ret_reason = error;
            ret_reason->code = -code;
        }
        records[refused++] = record;
    }
    *ret_refused = refused;
    return 0;
}

enum store_result refused_keep(struct connection *connection, int64_t row, const struct record *records, size_t count,
                               const struct error *reason, struct error *error)
{
    struct buffer packed;
    buffer_init(&packed, REFUSED_BYTES_MAX);
    record_batch_begin(&packed);
    for (size_t i = 0; i < count; i++)
        record_batch_append(&packed, 0, &records[i]);
    enum store_result result = packed.failed ? STORE_DOWN
                                             : ledger_outbox_refuse(connection, row, buffer_view(&packed),
                                                                    span_of(reason->text), error);
    /* What is queued points to the bytes: they go out here. */
    if (result == STORE_OK)
        result = connection_commit(connection, error);
    buffer_free(&packed);
    log_rarely(5000, LOG_ERROR, "outbox",
               "%zu outputs stay in sluice.outbox (row %lld): %s; nothing else waits for them", count, (long long)row,
               reason->text);
    return result;
}
