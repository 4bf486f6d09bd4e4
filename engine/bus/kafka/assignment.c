/*
 * assignment.c - what a member of a group does: rebalances and commits. See bus.h; member.c joins and leaves.
 *
 * librdkafka's callback only notes what is wanted; the engine hears it from poll(), and answers. An assignment is
 * taken up with offsets of our own (resume.c). A revocation is answered when the engine has let go (revoked()),
 * a lost assignment at once.
 */
#include "bus/kafka/bus.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

/* ----------------------------------------------------------------------------------------------------------
 * callbacks */

static bool cooperative(rd_kafka_t *rk)
{
    const char *protocol = rd_kafka_rebalance_protocol(rk);
    return protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0;
}

void kafka_unassign(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *all = NULL;
    if (!cooperative(consumer->rk)) {
        (void)rd_kafka_assign(consumer->rk, NULL);
        return;
    }
    if (list == NULL && rd_kafka_assignment(consumer->rk, &all) == RD_KAFKA_RESP_ERR_NO_ERROR)
        list = all;
    if (list != NULL)
        rd_kafka_error_destroy(rd_kafka_incremental_unassign(consumer->rk, list));
    if (all != NULL)
        rd_kafka_topic_partition_list_destroy(all);
}

void kafka_answer_closing(struct bus_consumer *consumer, bool assigned, const rd_kafka_topic_partition_list_t *list)
{
    if (assigned && cooperative(consumer->rk))
        rd_kafka_error_destroy(rd_kafka_incremental_assign(consumer->rk, list)); /* it comes back as revoked */
    else
        kafka_unassign(consumer, assigned ? NULL : list);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct bus_consumer *consumer = opaque;
    if (err != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && err != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        kafka_unassign(consumer, NULL);
        return;
    }
    if (consumer->closing) {
        kafka_answer_closing(consumer, err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, list);
        return;
    }
    if (consumer->changed != NULL)
        rd_kafka_topic_partition_list_destroy(consumer->changed);
    consumer->changed = rd_kafka_topic_partition_list_copy(list);
    consumer->changed_ms = clock_monotonic_ms();
    consumer->look_ms = 0;
    consumer->change = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? KAFKA_CHANGE_ASSIGN
                       : rd_kafka_assignment_lost(rk)              ? KAFKA_CHANGE_LOSE
                                                                   : KAFKA_CHANGE_REVOKE;
    rd_kafka_yield(rk);
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct bus_consumer *consumer = opaque;
    (void)rk;
    for (int i = 0; err == RD_KAFKA_RESP_ERR_NO_ERROR && list != NULL && i < list->cnt; i++) {
        struct kafka_stream *stream = kafka_stream_find(consumer, list->elems[i].topic, list->elems[i].partition);
        err = list->elems[i].err;
        if (stream != NULL && err == RD_KAFKA_RESP_ERR_NO_ERROR && list->elems[i].offset >= 0)
            stream->kept = true;
    }
    consumer->commit_in_flight = false;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR && err != RD_KAFKA_RESP_ERR__NO_OFFSET) {
        consumer->commit_wanted = true; /* what is stored is committed with the next */
        log_rarely(10000, LOG_WARN, "kafka", "group %s: offsets are not committed now: %s", consumer->group,
                   rd_kafka_err2str(err));
    }
}

/* librdkafka 2.0.2 says it in the place of a message. */
void kafka_group_fatal(struct bus_consumer *consumer)
{
    char words[512] = "";
    rd_kafka_resp_err_t err = rd_kafka_fatal_error(consumer->rk, words, sizeof words);
    consumer->dead = true;
    consumer->fenced = err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    error_set(&consumer->fault, EIO, "group %s: %s (%s)", consumer->group, words, rd_kafka_err2name(err));
    if (consumer->fenced)
        error_hint(&consumer->fault, "two processes have one group.instance.id; give each its own, or none");
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct bus_consumer *consumer = opaque;
    rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)code;
    (void)rk;
    if (err == RD_KAFKA_RESP_ERR__FATAL) {
        kafka_group_fatal(consumer);
        return;
    }
    kafka_reason_take(&consumer->reason, err, reason);
    if (kafka_reason_closed(&consumer->reason)) {
        if (!consumer->down)
            error_set(&consumer->fault, EIO, "group %s: the brokers are not the ones meant, or do not let us in: %s",
                      consumer->group, reason);
        consumer->down = true;
    }
    if (consumer->doubt_ms == 0)
        consumer->doubt_ms = clock_monotonic_ms() + KAFKA_DOUBT_MS;
}

/* Something failed a moment ago: librdkafka tries again by itself. Only when no broker answers at all does a person
 * hear of it. */
void kafka_group_doubt(struct bus_consumer *consumer)
{
    const struct rd_kafka_metadata *metadata;
    if (consumer->doubt_ms == 0 || clock_monotonic_ms() < consumer->doubt_ms)
        return;
    if (rd_kafka_metadata(consumer->rk, 0, NULL, &metadata, KAFKA_DOUBT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(metadata);
        if (consumer->down)
            log_info("kafka", "group %s: the brokers answer again", consumer->group);
        consumer->down = false;
        consumer->doubt_ms = 0;
        return;
    }
    if (!consumer->down)
        error_set(&consumer->fault, EIO,
                  "group %s: no broker answers; nothing is read or committed until one does (%s)", consumer->group,
                  consumer->reason.words);
    consumer->down = true;
    consumer->doubt_ms = clock_monotonic_ms() + 4 * KAFKA_DOUBT_MS;
}

void kafka_group_callbacks(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
    rd_kafka_conf_set_error_cb(conf, on_error);
}

/* ------------------------------------------------------------------------------------------------------------
 * streams */

struct kafka_stream *kafka_stream_find(struct bus_consumer *consumer, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < consumer->stream_count; i++)
        if (consumer->streams[i].partition == partition && strcmp(consumer->streams[i].topic, topic) == 0)
            return &consumer->streams[i];
    return NULL;
}

static struct kafka_stream *stream_make(struct bus_consumer *consumer, const char *topic, int32_t partition)
{
    struct kafka_stream *stream = kafka_stream_find(consumer, topic, partition);
    if (stream != NULL)
        return stream;
    if (consumer->stream_count == consumer->stream_size) {
        size_t size = consumer->stream_size == 0 ? 64 : 2 * consumer->stream_size;
        pthread_mutex_lock(&consumer->streams_lock);
        struct kafka_stream *grown = reallocarray(consumer->streams, size, sizeof *grown);
        if (grown != NULL) {
            consumer->streams = grown;
            consumer->stream_size = size;
        }
        pthread_mutex_unlock(&consumer->streams_lock);
        if (grown == NULL)
            return NULL;
    }
    stream = &consumer->streams[consumer->stream_count];
    *stream = (struct kafka_stream){.topic = strdup(topic), .partition = partition};
    if (stream->topic == NULL)
        return NULL;
    consumer->stream_count++;
    return stream;
}

static bool list_room(struct bus_consumer *consumer, size_t count)
{
    if (count <= consumer->listed_size)
        return true;
    free(consumer->listed_streams);
    free(consumer->listed_epochs);
    consumer->listed_streams = calloc(count, sizeof *consumer->listed_streams);
    consumer->listed_epochs = calloc(count, sizeof *consumer->listed_epochs);
    consumer->listed_size = consumer->listed_streams == NULL || consumer->listed_epochs == NULL ? 0 : count;
    return consumer->listed_size > 0;
}

/* -------------------------------------------------------------------------------------------------------------
 * changes */

/* Where the database says that reading goes on, and Kafka has no offset: it gets one now, though nothing may come
 * there for a long time. */
static void commit_unsaid(struct bus_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < consumer->stream_count; i++) {
        struct kafka_stream *stream = &consumer->streams[i];
        if (stream->state == KAFKA_STREAM_HELD && stream->unsaid)
            rd_kafka_topic_partition_list_add(list, stream->topic, stream->partition)->offset = stream->next;
        stream->unsaid = false;
    }
    if (list->cnt > 0) {
        (void)rd_kafka_offsets_store(consumer->rk, list);
        consumer->commit_wanted = true;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* librdkafka fetches what we hold: of the eager protocol all of it at once, from where reading goes on. */
static void fetch_held(struct bus_consumer *consumer, size_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)consumer->stream_count);
    bool some = cooperative(consumer->rk);
    for (size_t i = 0; i < (some ? count : consumer->stream_count); i++) {
        const struct kafka_stream *stream = &consumer->streams[some ? consumer->listed_streams[i] : i];
        if (stream->state == KAFKA_STREAM_HELD)
            rd_kafka_topic_partition_list_add(list, stream->topic, stream->partition)->offset = stream->next;
    }
    if (some)
        rd_kafka_error_destroy(rd_kafka_incremental_assign(consumer->rk, list));
    else
        (void)rd_kafka_assign(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    commit_unsaid(consumer);
    consumer->paused_ms = clock_monotonic_ms();
}

/* When to look at what stands still: soon while a person has not heard of all of it, since one is told at a time. */
static int64_t look_when(const struct bus_consumer *consumer)
{
    int64_t wait_ms = KAFKA_HALTED_LOOK_MS;
    for (size_t i = 0; i < consumer->stream_count; i++) {
        const struct kafka_stream *stream = &consumer->streams[i];
        if (stream->state == KAFKA_STREAM_HALTED && !stream->said && !stream->headless)
            return clock_monotonic_ms() + KAFKA_ASSIGN_AGAIN_MS;
        if (stream->state == KAFKA_STREAM_HALTED && stream->headless)
            wait_ms = KAFKA_LOOK_SOON_MS;
    }
    return clock_monotonic_ms() + wait_ms;
}

/* Reads what can be read of `list`, whose streams are halted until now; the engine hears of those. */
static int take_up(struct bus_consumer *consumer, rd_kafka_topic_partition_list_t *list, struct bus_event *ret)
{
    struct error error = {0};
    size_t count = 0;
    int code = list_room(consumer, (size_t)list->cnt + 1) ? kafka_members_check(consumer, &error) : -ENOMEM;
    if (code == 0)
        code = kafka_start_offsets(consumer, list, &error);
    if (code == -ESTALE)
        log_rarely(5000, LOG_ERROR, "kafka", "nothing is read: %s; %s", error.text, error.hint);
    else if (code != 0 && clock_monotonic_ms() > consumer->changed_ms + KAFKA_ASSIGN_LATE_MS)
        log_rarely(5000, LOG_WARN, "kafka", "group %s: partitions were assigned and cannot be taken up now: %s",
                   consumer->group, error.text);
    if (code != 0)
        return code;
    kafka_unpause(consumer);
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_stream *stream = kafka_stream_find(consumer, list->elems[i].topic, list->elems[i].partition);
        if (stream == NULL || list->elems[i].offset < 0)
            continue;
        stream->epoch = atomic_fetch_add(&consumer->bus->epochs, 1) + 1;
        stream->state = KAFKA_STREAM_HELD;
        stream->said = stream->deleted = stream->old = false;
        stream->next = list->elems[i].offset;
        consumer->listed_streams[count] = (uint32_t)(stream - consumer->streams);
        consumer->listed_epochs[count++] = stream->epoch;
    }
    *ret = (struct bus_event){.kind = BUS_ASSIGNED,
                              .streams = consumer->listed_streams,
                              .epochs = consumer->listed_epochs,
                              .stream_count = count};
    return 0;
}

static int change_assign(struct bus_consumer *consumer, struct bus_event *ret)
{
    rd_kafka_topic_partition_list_t *list = consumer->changed;
    if (clock_monotonic_ms() < consumer->look_ms)
        return -EAGAIN;
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_stream *stream = stream_make(consumer, list->elems[i].topic, list->elems[i].partition);
        if (stream != NULL)
            stream->state = KAFKA_STREAM_HALTED;
    }
    int code = take_up(consumer, list, ret);
    if (code != 0) {
        consumer->look_ms = clock_monotonic_ms() + (code == -ESTALE ? KAFKA_LOOK_SOON_MS : KAFKA_ASSIGN_AGAIN_MS);
        return -EAGAIN;
    }
    (void)FAILPOINT("bus.assign");
    fetch_held(consumer, ret->stream_count);
    rd_kafka_topic_partition_list_destroy(list);
    consumer->changed = NULL;
    consumer->change = KAFKA_CHANGE_NONE;
    consumer->look_ms = look_when(consumer);
    return ret->stream_count > 0 ? 0 : -EAGAIN;
}

/* Partitions that stand still are looked at again from time to time: somebody may have decided. */
static int look_again(struct bus_consumer *consumer, struct bus_event *ret)
{
    if (clock_monotonic_ms() < consumer->look_ms)
        return -EAGAIN;
    consumer->look_ms = clock_monotonic_ms() + KAFKA_HALTED_LOOK_MS;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < consumer->stream_count; i++)
        if (consumer->streams[i].state == KAFKA_STREAM_HALTED)
            rd_kafka_topic_partition_list_add(list, consumer->streams[i].topic, consumer->streams[i].partition);
    int code = list->cnt == 0 ? -EAGAIN : take_up(consumer, list, ret);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == 0)
        consumer->look_ms = look_when(consumer);
    if (code != 0 || ret->stream_count == 0)
        return -EAGAIN;
    fetch_held(consumer, ret->stream_count);
    return 0;
}

/* The broker has no such offset: the engine loses the stream, which is then looked at anew. */
static int halt_gone(struct bus_consumer *consumer, struct bus_event *ret)
{
    size_t count = 0;
    if (!list_room(consumer, consumer->stream_count + 1))
        return -EAGAIN;
    kafka_unpause(consumer);
    for (size_t i = 0; i < consumer->stream_count; i++) {
        struct kafka_stream *stream = &consumer->streams[i];
        if (stream->gone && stream->state == KAFKA_STREAM_HELD) {
            stream->state = KAFKA_STREAM_HALTED;
            consumer->listed_streams[count++] = (uint32_t)i;
        }
        stream->gone = false;
    }
    consumer->gone = false;
    consumer->look_ms = 0;
    *ret = (struct bus_event){.kind = BUS_LOST, .streams = consumer->listed_streams, .stream_count = count};
    return count > 0 ? 0 : -EAGAIN;
}

int kafka_lose_all(struct bus_consumer *consumer, struct bus_event *ret)
{
    size_t count = 0;
    if (!list_room(consumer, consumer->stream_count + 1))
        return -EAGAIN;
    for (size_t i = 0; i < consumer->stream_count; i++) {
        if (consumer->streams[i].state == KAFKA_STREAM_HELD)
            consumer->listed_streams[count++] = (uint32_t)i;
        consumer->streams[i].state = KAFKA_STREAM_NONE;
        consumer->streams[i].gone = false;
    }
    *ret = (struct bus_event){.kind = BUS_LOST, .streams = consumer->listed_streams, .stream_count = count};
    return count > 0 ? 0 : -EAGAIN;
}

/* Revoked or lost: the engine lets go of what it was told it had. */
static int change_take(struct bus_consumer *consumer, struct bus_event *ret)
{
    rd_kafka_topic_partition_list_t *list = consumer->changed;
    bool lost = consumer->change == KAFKA_CHANGE_LOSE;
    size_t count = 0;
    (void)FAILPOINT("bus.revoke");
    if (!list_room(consumer, (size_t)list->cnt + 1))
        return -EAGAIN;
    kafka_unpause(consumer);
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_stream *stream = kafka_stream_find(consumer, list->elems[i].topic, list->elems[i].partition);
        if (stream == NULL)
            continue;
        if (stream->state == KAFKA_STREAM_HELD)
            consumer->listed_streams[count++] = (uint32_t)(stream - consumer->streams);
        stream->state = lost || stream->state != KAFKA_STREAM_HELD ? KAFKA_STREAM_NONE : KAFKA_STREAM_RETURNING;
    }
    consumer->change = KAFKA_CHANGE_NONE;
    consumer->returning = !lost;
    *ret = (struct bus_event){
        .kind = lost ? BUS_LOST : BUS_REVOKED, .streams = consumer->listed_streams, .stream_count = count};
    if (!lost && count > 0)
        return 0;
    struct error error;
    (void)kafka_revoked(consumer, &error);
    return count > 0 ? 0 : -EAGAIN;
}

int kafka_change_event(struct bus_consumer *consumer, struct bus_event *ret)
{
    if (consumer->returning)
        return -EAGAIN; /* the engine still lets go of what was said before */
    switch (consumer->change) {
    case KAFKA_CHANGE_ASSIGN:
        return change_assign(consumer, ret);
    case KAFKA_CHANGE_REVOKE:
    case KAFKA_CHANGE_LOSE:
        return change_take(consumer, ret);
    default:
        return consumer->gone ? halt_gone(consumer, ret) : look_again(consumer, ret);
    }
}

/* -------------------------------------------------------------------------------------------------------------
 * commits */

/* Waits for the answer; for when nothing else is to be done. */
void kafka_commit_now(struct bus_consumer *consumer)
{
    if (!consumer->commit_wanted && !consumer->commit_in_flight)
        return;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    /* Also when one is in flight: its answer comes on the other queue, and offsets do not go back. */
    consumer->commit_in_flight = true;
    consumer->commit_wanted = false;
    if (rd_kafka_commit_queue(consumer->rk, NULL, queue, on_commit, consumer) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (int64_t until = clock_monotonic_ms() + KAFKA_LEAVE_MS;
             consumer->commit_in_flight && clock_monotonic_ms() < until;)
            (void)rd_kafka_queue_poll_callback(queue, 50);
    consumer->commit_in_flight = false;
    rd_kafka_queue_destroy(queue);
}

static void on_commit_anew(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    (void)rk;
    for (int i = 0; err == RD_KAFKA_RESP_ERR_NO_ERROR && list != NULL && i < list->cnt; i++)
        err = list->elems[i].err;
    ((struct bus_consumer *)opaque)->anew_answer = err;
}

int kafka_commit_anew(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list, struct error *error)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    consumer->anew_answer = RD_KAFKA_RESP_ERR__IN_PROGRESS;
    rd_kafka_resp_err_t err = rd_kafka_commit_queue(consumer->rk, list, queue, on_commit_anew, consumer);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        int64_t until = clock_monotonic_ms() + KAFKA_LEAVE_MS;
        while (consumer->anew_answer == RD_KAFKA_RESP_ERR__IN_PROGRESS && clock_monotonic_ms() < until)
            (void)rd_kafka_queue_poll_callback(queue, 50);
        err = consumer->anew_answer;
    }
    rd_kafka_queue_destroy(queue);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : kafka_error(error, err, "the brokers do not take the first offset of a topic that was made anew");
}

void kafka_commit_stored(struct bus_consumer *consumer)
{
    if (!consumer->commit_wanted || consumer->commit_in_flight || consumer->change != KAFKA_CHANGE_NONE ||
        clock_monotonic_ms() < consumer->commit_again_ms)
        return;
    consumer->commit_wanted = false;
    consumer->commit_again_ms = clock_monotonic_ms() + KAFKA_COMMIT_AGAIN_MS;
    consumer->commit_in_flight = rd_kafka_commit(consumer->rk, NULL, 1) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

int kafka_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                 const struct position *positions, struct error *error)
{
    bool planted = FAILPOINT("bus.epoch.mutate") == FAILPOINT_MUTATE;
    if (FAILPOINT("bus.commit.before") == FAILPOINT_ERROR)
        return error_set(error, EIO, "committing failed on purpose (failpoint bus.commit.before)");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        const struct kafka_stream *stream = streams[i] < consumer->stream_count ? &consumer->streams[streams[i]] : NULL;
        if (stream == NULL || stream->state == KAFKA_STREAM_NONE || stream->deleted ||
            (stream->epoch != epochs[i] && !planted))
            continue;
        rd_kafka_topic_partition_list_add(list, stream->topic, stream->partition)->offset = (int64_t)positions[i].high +
                                                                                            1;
    }
    int code = list->cnt > 0 && !planted && !rd_kafka_assignment_lost(consumer->rk)
                   ? kafka_positions_save(consumer, list, error)
                   : 0;
    if (planted && list->cnt > 0) {
        /* a planted bug: stamped with this member's generation, whoever had them */
        (void)rd_kafka_commit(consumer->rk, list, 0);
        list->cnt = 0;
    }
    if (code == 0 && list->cnt > 0) {
        (void)rd_kafka_offsets_store(consumer->rk, list); /* of a partition that is ours no more: refused, rightly */
        consumer->commit_wanted = true;
        consumer->commit_again_ms = 0;
        kafka_commit_stored(consumer);
    }
    rd_kafka_topic_partition_list_destroy(list);
    (void)FAILPOINT("bus.commit.after");
    return code;
}

int kafka_revoked(struct bus_consumer *consumer, struct error *error)
{
    (void)error;
    if (consumer->returning && !rd_kafka_assignment_lost(consumer->rk))
        kafka_commit_now(consumer);
    kafka_unassign(consumer, consumer->changed);
    for (size_t i = 0; i < consumer->stream_count; i++)
        if (consumer->streams[i].state == KAFKA_STREAM_RETURNING)
            consumer->streams[i].state = KAFKA_STREAM_NONE;
    if (consumer->changed != NULL)
        rd_kafka_topic_partition_list_destroy(consumer->changed);
    consumer->changed = NULL;
    consumer->returning = false;
    return 0;
}
