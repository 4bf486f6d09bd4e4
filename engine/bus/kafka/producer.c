/*
 * producer.c - see producer.h.
 */
#include "bus/kafka/producer.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "bus/chunk.h"
#include "bus/kafka/client.h"
#include "bus/kafka/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PRODUCER_POLL_MS = 1000,
    REPORT_WAIT_MS = 100, /* then look whether the producer failed, or publishes were aborted */
    SEND_AGAIN_MS = 20,   /* after a full queue, or with a new producer */
};

struct kafka_producer {
    struct kafka_bus *bus;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;    /* of its reports */
    size_t users;               /* publishes; with bus->lock */
    bool retired;               /* the same */
    struct kafka_reason reason; /* the same */
    atomic_bool failed;         /* a fatal error of librdkafka */
};

enum slot_state { SLOT_UNSENT = 0, SLOT_SENT, SLOT_ACKNOWLEDGED, SLOT_FAILED };

struct publishing { /* one call of kafka_publish() */
    pthread_mutex_t lock;
    pthread_cond_t reported;  /* monotonic; unreported is 0 */
    atomic_size_t unreported; /* records sent and without a report, and one while records are being sent */
    struct slot *slots;
};
struct slot { /* of a record */
    struct publishing *publishing;
    enum slot_state state;
    rd_kafka_resp_err_t err;
};

/* ---------------------------------------------------------------------------------------------------------- reports */

static void count_report(struct publishing *publishing)
{
    /* Under the lock, so that the last report has left this function before kafka_publish() frees the lock. */
    pthread_mutex_lock(&publishing->lock);
    if (atomic_fetch_sub_explicit(&publishing->unreported, 1, memory_order_acq_rel) == 1)
        pthread_cond_signal(&publishing->reported);
    pthread_mutex_unlock(&publishing->lock);
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct slot *slot = message->_private;
    (void)rk, (void)opaque;
    /* A success without an offset is an inference of librdkafka: the broker took a later request, so it must have taken
     * this one. But a broker that does not know the producer yet takes any first request, and then this one is lost. */
    bool inferred = message->err == RD_KAFKA_RESP_ERR_NO_ERROR && message->offset < 0;
    slot->err = inferred ? RD_KAFKA_RESP_ERR__TIMED_OUT : message->err;
    slot->state = slot->err == RD_KAFKA_RESP_ERR_NO_ERROR ? SLOT_ACKNOWLEDGED : SLOT_FAILED;
    count_report(slot->publishing);
}

static void on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    struct kafka_producer *producer = opaque;
    char fatal[512];
    /* librdkafka repeats what failed; what does not succeed in time is an error of kafka_publish() */
    if ((rd_kafka_resp_err_t)code != RD_KAFKA_RESP_ERR__FATAL) {
        pthread_mutex_lock(&producer->bus->lock);
        kafka_reason_set(&producer->reason, (rd_kafka_resp_err_t)code, text);
        pthread_mutex_unlock(&producer->bus->lock);
        return;
    }
    rd_kafka_resp_err_t err = rd_kafka_fatal_error(rk, fatal, sizeof fatal);
    log_warn("kafka", "the producer failed and is replaced; its unacknowledged records are sent again: %s (%s)", fatal,
             rd_kafka_err2name(err));
    atomic_store(&producer->failed, true);
}

static void set_callbacks(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_error_cb(conf, on_error);
}

/* --------------------------------------------------------------------------------------------------------- lifetime */

static void *producer_main(void *context)
{
    struct kafka_producer *producer = context;
    struct kafka_bus *bus = producer->bus;
    for (bool unused = false; !unused;) {
        (void)rd_kafka_poll(producer->rk, PRODUCER_POLL_MS);
        pthread_mutex_lock(&bus->lock);
        unused = producer->retired && producer->users == 0;
        pthread_mutex_unlock(&bus->lock);
    }
    rd_kafka_queue_destroy(producer->queue);
    rd_kafka_destroy(producer->rk);
    free(producer);
    pthread_mutex_lock(&bus->lock);
    bus->producer_count--;
    pthread_cond_broadcast(&bus->producer_ended);
    pthread_mutex_unlock(&bus->lock);
    return NULL;
}

/* With the bus's lock. */
static struct kafka_producer *producer_make(struct kafka_bus *bus, struct error *error)
{
    struct kafka_producer *producer = calloc(1, sizeof *producer);
    pthread_t thread;
    pthread_attr_t detached;
    if (producer == NULL) {
        error_set(error, ENOMEM, "out of memory");
        return NULL;
    }
    producer->bus = bus;
    const struct kafka_client_config config = {
        .role = KAFKA_PRODUCER, .set_callbacks = set_callbacks, .opaque = producer};
    producer->rk = kafka_client_new(&bus->options, &config, error);
    if (producer->rk == NULL) {
        free(producer);
        return NULL;
    }
    producer->queue = rd_kafka_queue_get_main(producer->rk);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    int code = pthread_create(&thread, &detached, producer_main, producer);
    pthread_attr_destroy(&detached);
    if (code != 0) {
        rd_kafka_queue_destroy(producer->queue);
        rd_kafka_destroy(producer->rk);
        free(producer);
        error_set(error, code, "no thread for a producer: %s", strerror(code));
        return NULL;
    }
    bus->producer_count++;
    return producer;
}

static struct kafka_producer *producer_hold(struct kafka_bus *bus, struct error *error)
{
    pthread_mutex_lock(&bus->lock);
    if (bus->producer == NULL)
        bus->producer = producer_make(bus, error);
    struct kafka_producer *producer = bus->producer;
    if (producer != NULL)
        producer->users++;
    pthread_mutex_unlock(&bus->lock);
    return producer;
}

static void producer_retire(struct kafka_producer *producer)
{
    struct kafka_bus *bus = producer->bus;
    pthread_mutex_lock(&bus->lock);
    producer->retired = true;
    if (bus->producer == producer)
        bus->producer = NULL;
    pthread_mutex_unlock(&bus->lock);
    (void)rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
}

static void producer_release(struct kafka_producer *producer, struct kafka_reason *ret_reason)
{
    struct kafka_bus *bus = producer->bus;
    pthread_mutex_lock(&bus->lock);
    if (ret_reason != NULL)
        *ret_reason = producer->reason;
    if (--producer->users == 0 && producer->retired)
        rd_kafka_queue_yield(producer->queue); /* its thread ends it */
    pthread_mutex_unlock(&bus->lock);
}

int kafka_producer_start(struct kafka_bus *bus, struct error *error)
{
    struct kafka_producer *producer = producer_hold(bus, error);
    if (producer == NULL)
        return -EINVAL;
    producer_release(producer, NULL);
    return 0;
}

int kafka_producer_ends(struct kafka_bus *bus, const rd_kafka_topic_partition_list_t *list, int wait_ms,
                        struct kafka_offsets *ret, struct error *error)
{
    struct kafka_producer *producer = producer_hold(bus, error);
    if (producer == NULL)
        return -EINVAL;
    int code = kafka_offsets_ends(producer->rk, list, wait_ms, ret, error);
    producer_release(producer, NULL);
    return code;
}

void kafka_producer_close(struct kafka_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    struct kafka_producer *producer = bus->producer;
    if (producer != NULL)
        producer->users++;
    pthread_mutex_unlock(&bus->lock);
    if (producer != NULL) {
        producer_retire(producer);
        producer_release(producer, NULL);
    }
    pthread_mutex_lock(&bus->lock);
    while (bus->producer_count > 0)
        pthread_cond_wait(&bus->producer_ended, &bus->lock);
    pthread_mutex_unlock(&bus->lock);
}

void kafka_abort_publishes(struct bus *head)
{
    atomic_store(&((struct kafka_bus *)head)->publishes_aborted, true);
}

/* ---------------------------------------------------------------------------------------------------------- sending */

/* Topics of one round: few, mostly the same as the last record's. */
struct topics {
    struct {
        struct span name;
        rd_kafka_topic_t *topic;
    } list[16];
    size_t count, last;
};

static rd_kafka_topic_t *topic_of(rd_kafka_t *rk, struct topics *topics, struct span name)
{
    char text[256];
    if (topics->count > 0 && span_equal(topics->list[topics->last].name, name))
        return topics->list[topics->last].topic;
    for (size_t i = 0; i < topics->count; i++)
        if (span_equal(topics->list[i].name, name))
            return topics->list[topics->last = i].topic;
    if (topics->count == sizeof topics->list / sizeof topics->list[0])
        rd_kafka_topic_destroy(topics->list[topics->last = 0].topic);
    else
        topics->last = topics->count++;
    memcpy(text, name.at, name.length); /* record_check() has bounded it */
    text[name.length] = '\0';
    topics->list[topics->last].name = name;
    return topics->list[topics->last].topic = rd_kafka_topic_new(rk, text, NULL);
}

static rd_kafka_resp_err_t send_one(struct kafka_producer *producer, struct topics *topics, const struct record *record,
                                    struct slot *slot)
{
    rd_kafka_topic_t *topic = topic_of(producer->rk, topics, record->topic);
    return topic == NULL ? RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC : kafka_record_produce(producer->rk, topic, record, slot);
}

/* For most_ms, or until the last report. */
static void wait_reports(struct publishing *publishing, int64_t most_ms)
{
    int64_t until_ms = clock_monotonic_ms() + most_ms;
    pthread_mutex_lock(&publishing->lock);
    if (atomic_load(&publishing->unreported) > 0)
        cond_timedwait_ms(&publishing->reported, &publishing->lock, until_ms);
    pthread_mutex_unlock(&publishing->lock);
}

static bool may_go_on(const struct kafka_producer *producer, int64_t deadline_ms)
{
    return clock_monotonic_ms() < deadline_ms && !atomic_load(&producer->failed) &&
           !atomic_load(&producer->bus->publishes_aborted);
}

static rd_kafka_resp_err_t send_when_room(struct kafka_producer *producer, struct topics *topics,
                                          const struct record *record, struct slot *slot, int64_t deadline_ms)
{
    rd_kafka_resp_err_t err;
    while ((err = send_one(producer, topics, record, slot)) == RD_KAFKA_RESP_ERR__QUEUE_FULL &&
           may_go_on(producer, deadline_ms))
        wait_reports(slot->publishing, SEND_AGAIN_MS);
    return err;
}

/* Sends the records from `first` on, but those that are refused for good, and waits for the reports. */
static void publish_round(struct kafka_producer *producer, struct publishing *publishing, const struct record *records,
                          size_t first, size_t count, int64_t deadline_ms)
{
    struct topics topics = {0};
    bool more = true;
    atomic_store(&publishing->unreported, 1);
    for (size_t i = first; i < count && more; i++) {
        struct slot *slot = &publishing->slots[i];
        if (slot->state == SLOT_FAILED && kafka_error_permanent(slot->err) != 0)
            continue;
        slot->state = SLOT_SENT;
        atomic_fetch_add_explicit(&publishing->unreported, 1, memory_order_relaxed);
        rd_kafka_resp_err_t err = send_when_room(producer, &topics, &records[i], slot, deadline_ms);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
            continue;
        slot->state = SLOT_FAILED;
        slot->err = err;
        atomic_fetch_sub_explicit(&publishing->unreported, 1, memory_order_relaxed);
        more = kafka_error_permanent(err) != 0;
    }
    for (size_t i = 0; i < topics.count; i++)
        rd_kafka_topic_destroy(topics.list[i].topic);
    if (FAILPOINT("bus.producer.fatal") == FAILPOINT_ERROR)
        (void)rd_kafka_test_fatal_error(producer->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "on purpose");
    atomic_fetch_sub_explicit(&publishing->unreported, 1, memory_order_relaxed);
    while (atomic_load(&publishing->unreported) > 0 && may_go_on(producer, deadline_ms))
        wait_reports(publishing, REPORT_WAIT_MS);
    if (may_go_on(producer, deadline_ms))
        return;
    producer_retire(producer);
    while (atomic_load(&publishing->unreported) > 0) /* the purge brings every report, with an error */
        wait_reports(publishing, REPORT_WAIT_MS);
}

/* The first record that is to be sent again; count: none is. *ret_refused: the first that the brokers refuse for good;
 * count: none. */
static size_t first_unacknowledged(const struct publishing *publishing, size_t count, size_t *ret_refused)
{
    size_t first = count;
    *ret_refused = count;
    for (size_t i = count; i > 0; i--) {
        const struct slot *slot = &publishing->slots[i - 1];
        if (slot->state == SLOT_FAILED && kafka_error_permanent(slot->err) != 0)
            *ret_refused = i - 1;
        else if (slot->state != SLOT_ACKNOWLEDGED)
            first = i - 1;
    }
    return first;
}

static int publish_all(struct kafka_bus *bus, struct publishing *publishing, const struct record *records, size_t count,
                       int64_t deadline_ms, size_t *ret_failed, struct error *error)
{
    size_t first = 0, refused = count;
    struct kafka_reason reason = {0};
    do {
        struct kafka_producer *producer = producer_hold(bus, error);
        if (producer == NULL)
            return -EAGAIN;
        publish_round(producer, publishing, records, first, count, deadline_ms);
        producer_release(producer, &reason);
        first = first_unacknowledged(publishing, count, &refused);
        if (first == count)
            break;
        struct timespec pause = timespec_of_ms(SEND_AGAIN_MS);
        nanosleep(&pause, NULL);
    } while (clock_monotonic_ms() < deadline_ms && !atomic_load(&bus->publishes_aborted));
    if (refused < count) {
        const struct span topic = records[refused].topic;
        *ret_failed = refused;
        error_set(error, EIO, "a record for \"%.*s\" is refused by the brokers: %s", (int)topic.length, topic.at,
                  rd_kafka_err2str(publishing->slots[refused].err));
        return kafka_error_permanent(publishing->slots[refused].err);
    }
    if (first < count) {
        *ret_failed = first;
        return error_set(error, EAGAIN,
                         "%zu of %zu records are not acknowledged by the brokers in time (the first for \"%.*s\": %s)",
                         count - first, count, (int)records[first].topic.length, records[first].topic.at,
                         reason.text[0] != '\0' ? reason.text : rd_kafka_err2str(publishing->slots[first].err));
    }
    return 0;
}

int kafka_publish(struct bus *head, const struct record *records, size_t count, int64_t deadline_ms, size_t *ret_failed,
                  struct error *error)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    for (size_t i = 0; i < count; i++) {
        int code = record_check(&records[i], error);
        if (code < 0) {
            *ret_failed = i;
            return code;
        }
    }
    if (count == 0)
        return 0;
    if (FAILPOINT("bus.append.before") == FAILPOINT_ERROR)
        return error_set(error, EIO, "publishing failed on purpose (failpoint bus.append.before)");
    struct publishing publishing = {.slots = calloc(count, sizeof(struct slot))};
    if (publishing.slots == NULL)
        return error_set(error, ENOMEM, "out of memory while publishing %zu records", count);
    for (size_t i = 0; i < count; i++)
        publishing.slots[i].publishing = &publishing;
    cond_init_monotonic(&publishing.reported);
    pthread_mutex_init(&publishing.lock, NULL);
    int code = publish_all(bus, &publishing, records, count, deadline_ms, ret_failed, error);
    pthread_mutex_destroy(&publishing.lock);
    pthread_cond_destroy(&publishing.reported);
    free(publishing.slots);
    return code;
}
