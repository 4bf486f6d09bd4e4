/*
 * writer.c - see writer.h.
 */
#include "bus/kafka/writer.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "bus/chunk.h"
#include "bus/kafka/client.h"
#include "bus/kafka/kafka.h"
#include "bus/kafka/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WRITER_ROOM_MS = 20, WRITER_LEAST_MS = 1000 };

struct bus_writer { /* of the kafka bus */
    rd_kafka_t *rk;
    struct kafka_reason reason;
    char name[256];
    /* the call in progress: */
    size_t failed; /* the first record that failed for good, or at all; SIZE_MAX: none */
    rd_kafka_resp_err_t err;
};

static void note_failed(struct bus_writer *writer, size_t index, rd_kafka_resp_err_t err)
{
    bool worse = kafka_error_permanent(err) != 0 && kafka_error_permanent(writer->err) == 0;
    if (writer->failed != SIZE_MAX && !worse)
        return;
    writer->failed = index;
    writer->err = err;
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        note_failed(opaque, (size_t)(uintptr_t)message->_private, message->err);
}

static void on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    struct bus_writer *writer = opaque;
    (void)rk;
    if ((rd_kafka_resp_err_t)code != RD_KAFKA_RESP_ERR__FATAL)
        kafka_reason_set(&writer->reason, (rd_kafka_resp_err_t)code, text);
}

static void set_callbacks(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_error_cb(conf, on_error);
}

static int left_ms(int64_t deadline_ms)
{
    int64_t left = deadline_ms - clock_monotonic_ms();
    return left < WRITER_LEAST_MS ? WRITER_LEAST_MS : left > INT32_MAX ? INT32_MAX : (int)left;
}

static bool is_fenced(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR__FENCED || err == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           err == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

/* A step of a transaction that failed, as an error of ours. Destroys `failed`. */
static int writer_error(struct bus_writer *writer, const char *what, rd_kafka_error_t *failed, struct error *error)
{
    rd_kafka_resp_err_t err = rd_kafka_error_code(failed);
    char text[512];
    snprintf(text, sizeof text, "%s", rd_kafka_error_string(failed));
    rd_kafka_error_destroy(failed);
    if (is_fenced(err))
        return error_set(error, EBUSY, "another process writes as '%s' now", writer->name);
    if (err == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED) {
        error_set(error, EACCES, "the brokers refuse transactions under the id '%s'", writer->name);
        return error_hint(error, "allow it Describe and Write on that TransactionalId");
    }
    if (writer->reason.text[0] != '\0')
        return kafka_error_of_reason(error, err, what, &writer->reason);
    return error_set(error, EAGAIN, "%s: %s", what, text);
}

int kafka_writer_open(struct bus *head, const char *name, int64_t deadline_ms, struct bus_writer **ret,
                      struct error *error)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    struct bus_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return error_set(error, ENOMEM, "out of memory");
    snprintf(writer->name, sizeof writer->name, "%s", name);
    const struct kafka_client_config config = {
        .role = KAFKA_PRODUCER, .transactional = writer->name, .set_callbacks = set_callbacks, .opaque = writer};
    writer->rk = kafka_client_new(&bus->options, &config, error);
    if (writer->rk == NULL) {
        free(writer);
        return -EINVAL;
    }
    rd_kafka_error_t *failed;
    while ((failed = rd_kafka_init_transactions(writer->rk, left_ms(deadline_ms))) != NULL &&
           rd_kafka_error_is_retriable(failed) && clock_monotonic_ms() < deadline_ms)
        rd_kafka_error_destroy(failed);
    if (failed != NULL) {
        (void)rd_kafka_poll(writer->rk, 0); /* why brokers cannot be reached */
        int code = writer_error(writer, "the brokers begin no transactions", failed, error);
        kafka_writer_close(writer);
        return code;
    }
    *ret = writer;
    return 0;
}

static void send_all(struct bus_writer *writer, const struct record *records, size_t count, int64_t deadline_ms)
{
    for (size_t i = 0; i < count && writer->failed == SIZE_MAX; i++) {
        char name[256];
        memcpy(name, records[i].topic.at, records[i].topic.length); /* record_check() has bounded it */
        name[records[i].topic.length] = '\0';
        rd_kafka_topic_t *topic = rd_kafka_topic_new(writer->rk, name, NULL);
        rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
        while (topic != NULL &&
               (err = kafka_record_produce(writer->rk, topic, &records[i], (void *)(uintptr_t)i)) ==
                   RD_KAFKA_RESP_ERR__QUEUE_FULL &&
               clock_monotonic_ms() < deadline_ms)
            (void)rd_kafka_poll(writer->rk, WRITER_ROOM_MS);
        if (topic != NULL)
            rd_kafka_topic_destroy(topic);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
            note_failed(writer, i, err);
    }
}

/* Commits, or aborts when a record failed. NULL: that is done. */
static rd_kafka_error_t *end(struct bus_writer *writer, bool commits, int64_t deadline_ms)
{
    rd_kafka_error_t *failed;
    while ((failed = commits ? rd_kafka_commit_transaction(writer->rk, left_ms(deadline_ms))
                             : rd_kafka_abort_transaction(writer->rk, left_ms(deadline_ms))) != NULL &&
           rd_kafka_error_is_retriable(failed) && clock_monotonic_ms() < deadline_ms)
        rd_kafka_error_destroy(failed);
    return failed;
}

int kafka_writer_publish(struct bus_writer *writer, const struct record *records, size_t count, int64_t deadline_ms,
                         size_t *ret_failed, struct error *error)
{
    static const char what[] = "the brokers do not commit a transaction";
    for (size_t i = 0; i < count; i++) {
        int code = record_check(&records[i], error);
        if (code < 0) {
            *ret_failed = i;
            return code;
        }
    }
    writer->failed = SIZE_MAX;
    writer->err = RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_error_t *failed = rd_kafka_begin_transaction(writer->rk);
    if (failed != NULL)
        return writer_error(writer, what, failed, error);
    send_all(writer, records, count, deadline_ms);
    (void)FAILPOINT("bus.writer.commit.before");
    if (writer->failed == SIZE_MAX) {
        failed = end(writer, true, deadline_ms);
        (void)FAILPOINT("bus.writer.commit.after");
        if (failed == NULL)
            return 0;
        if (!rd_kafka_error_txn_requires_abort(failed))
            return writer_error(writer, what, failed, error);
        rd_kafka_error_destroy(failed);
    }
    failed = end(writer, false, deadline_ms);
    if (failed != NULL)
        return writer_error(writer, what, failed, error);
    if (writer->failed == SIZE_MAX)
        return error_set(error, EAGAIN, "%s: it was aborted", what);
    *ret_failed = writer->failed;
    const struct span topic = records[writer->failed].topic;
    int permanent = kafka_error_permanent(writer->err);
    return error_set(error, permanent != 0 ? -permanent : EAGAIN,
                     "a record for \"%.*s\" is not taken by the brokers: %s", (int)topic.length, topic.at,
                     rd_kafka_err2str(writer->err));
}

void kafka_writer_close(struct bus_writer *writer)
{
    rd_kafka_destroy(writer->rk);
    free(writer);
}
