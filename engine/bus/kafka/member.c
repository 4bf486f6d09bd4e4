/*
 * member.c - see member.h.
 */
#include "bus/kafka/member.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/kafka/consumer.h"
#include "bus/kafka/metadata.h"
#include "bus/kafka/producer.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEAVE_MS = 3000, /* the longest wait while a group is left */
    REJOIN_MS = 5000,
    POLL_RECORDS = 500, /* of a subscription that does not say */
    POLL_BYTES = 1024 * 1024,
};

/* reachable: a broker answered a moment ago */
static void consumer_free(struct bus_consumer *consumer, bool reachable)
{
    if (consumer->queue != NULL)
        rd_kafka_queue_destroy(consumer->queue);
    if (reachable)
        kafka_client_release(consumer->client);
    else
        kafka_client_release_detached(consumer->client);
    kafka_instance_release(&consumer->instance);
    connection_destroy(consumer->connection);
    if (consumer->subscription != NULL)
        rd_kafka_topic_partition_list_destroy(consumer->subscription);
    kafka_assignment_destroy(&consumer->assignment);
    kafka_streams_destroy(&consumer->streams);
    kafka_pause_destroy(&consumer->pause);
    free(consumer->missing.topics);
    free(consumer->messages);
    free(consumer->records);
    free(consumer->group);
    free(consumer);
}

/* ---------------------------------------------------------------------------------------------------------- joining */

static void set_callbacks(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, kafka_assignment_on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, kafka_commit_on_answer);
    rd_kafka_conf_set_error_cb(conf, kafka_health_on_error);
}

/* Sets client, rk and queue; on an error the client is NULL and the rest undefined. */
static int make_client(struct bus_consumer *consumer, struct error *error)
{
    struct kafka_bus *bus = consumer->bus;
    char id[160];
    bool ours = kafka_instance_id(&consumer->instance, bus, consumer->group, id, sizeof id);
    const struct kafka_client_config config = {.role = KAFKA_CONSUMER,
                                               .group = consumer->group,
                                               .instance = ours ? id : NULL,
                                               .set_callbacks = set_callbacks,
                                               .opaque = consumer};
    consumer->client = calloc(1, sizeof *consumer->client);
    if (consumer->client == NULL)
        return error_set(error, ENOMEM, "out of memory");
    consumer->rk = kafka_client_new(&bus->options, &config, error);
    if (consumer->rk == NULL) {
        free(consumer->client);
        consumer->client = NULL;
        return -EINVAL;
    }
    consumer->client->rk = consumer->rk;
    atomic_init(&consumer->client->holders, 1);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->rk);
    kafka_fetch_init(&consumer->fetch, consumer->rk);
    log_debug("kafka", "group %s: member %s", consumer->group, ours ? id : "as configured");
    return 0;
}

/* Without a client and its connections. NULL: out of memory. */
static struct bus_consumer *consumer_make(struct kafka_bus *bus, const struct bus_subscription *subscription)
{
    struct bus_consumer *consumer = calloc(1, sizeof *consumer);
    if (consumer == NULL)
        return NULL;
    kafka_pause_init(&consumer->pause);
    kafka_streams_init(&consumer->streams);
    consumer->bus = bus;
    consumer->instance.slot_lock = -1;
    consumer->group = strdup(subscription->group);
    consumer->poll_records = subscription->poll_records == 0 ? POLL_RECORDS : subscription->poll_records;
    consumer->poll_bytes = subscription->poll_bytes == 0 ? POLL_BYTES : subscription->poll_bytes;
    consumer->messages = calloc(consumer->poll_records, sizeof *consumer->messages);
    consumer->records = calloc(consumer->poll_records, sizeof *consumer->records);
    consumer->subscription = kafka_options_topics(&bus->options, subscription->topics, subscription->topic_count,
                                                  false);
    consumer->missing.topics = calloc((size_t)consumer->subscription->cnt + 1, sizeof *consumer->missing.topics);
    bool store = bus->options.store != NULL && subscription->recorded;
    if (store)
        consumer->connection = connection_create(bus->options.store, "positions");
    if (consumer->group != NULL && consumer->messages != NULL && consumer->records != NULL &&
        consumer->missing.topics != NULL && (!store || consumer->connection != NULL))
        return consumer;
    consumer_free(consumer, true);
    return NULL;
}

/* All that comes before joining. */
static int approach(struct bus_consumer *consumer, struct error *error)
{
    struct kafka_bus *bus = consumer->bus;
    int code = kafka_instance_database(consumer, error);
    if (code == 0)
        code = make_client(consumer, error);
    if (code == 0)
        code = kafka_producer_start(bus, error);
    if (code == 0)
        code = kafka_metadata_check(consumer->rk, &bus->options, &consumer->health.reason, error);
    if (code == 0)
        code = kafka_instance_check_peers(consumer, error);
    if (code != 0 && kafka_reason_is_auth(&consumer->health.reason))
        log_rarely(60000, LOG_ERROR, "kafka", "group %s: %s", consumer->group, error->text);
    return code;
}

static int join(struct bus_consumer *consumer, struct error *error)
{
    kafka_joining_begin(&consumer->joining);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(consumer->rk, consumer->subscription);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, err, "the topics cannot be subscribed to");
    if (consumer->instance.slot_lock >= 0)
        kafka_slot_note(consumer->bus, consumer->group, consumer->instance.slot);
    return 0;
}

/* ------------------------------------------------------------------------------------------- joining beforehand */

void kafka_prepare(struct bus *head, const struct bus_subscription *subscription)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    struct bus_consumer *consumer = consumer_make(bus, subscription);
    struct error error = {0};
    if (consumer == NULL)
        return;
    if (!kafka_instance_await(&consumer->instance, bus, consumer->group) || approach(consumer, &error) != 0) {
        consumer_free(consumer, true);
        return;
    }
    consumer->next = bus->prepared;
    bus->prepared = consumer;
}

void kafka_prepared_free(struct kafka_bus *bus)
{
    for (struct bus_consumer *consumer = bus->prepared, *next; consumer != NULL; consumer = next) {
        next = consumer->next;
        consumer_free(consumer, true);
    }
    bus->prepared = NULL;
}

static bool same_topics(const rd_kafka_topic_partition_list_t *list, const rd_kafka_topic_partition_list_t *other)
{
    bool same = list->cnt == other->cnt;
    for (int i = 0; same && i < list->cnt; i++)
        same = rd_kafka_topic_partition_list_find(other, list->elems[i].topic, list->elems[i].partition) != NULL;
    return same;
}

/* The one that was prepared for this, with the slot that it awaited. NULL: there is none. */
static struct bus_consumer *prepared_take(struct kafka_bus *bus, const struct bus_subscription *subscription)
{
    struct bus_consumer **link = &bus->prepared;
    while (*link != NULL && strcmp((*link)->group, subscription->group) != 0)
        link = &(*link)->next;
    struct bus_consumer *consumer = *link;
    if (consumer == NULL)
        return NULL;
    *link = consumer->next;
    rd_kafka_topic_partition_list_t *topics = kafka_options_topics(&bus->options, subscription->topics,
                                                                   subscription->topic_count, false);
    bool good = same_topics(consumer->subscription, topics) &&
                kafka_instance_awaited(&consumer->instance, bus, consumer->group);
    rd_kafka_topic_partition_list_destroy(topics);
    if (good)
        return consumer;
    consumer_free(consumer, true);
    return NULL;
}

int kafka_subscribe(struct bus *head, const struct bus_subscription *subscription, struct bus_consumer **ret,
                    struct error *error)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    struct bus_consumer *consumer = prepared_take(bus, subscription);
    int code = 0;
    if (consumer == NULL) {
        consumer = consumer_make(bus, subscription);
        code = consumer == NULL ? error_set(error, ENOMEM, "out of memory") : approach(consumer, error);
    }
    if (consumer == NULL)
        return code;
    code = code == 0 ? join(consumer, error) : code;
    if (code != 0) {
        consumer_free(consumer, true);
        return code;
    }
    pthread_mutex_lock(&bus->lock);
    consumer->next = bus->consumers;
    bus->consumers = consumer;
    pthread_mutex_unlock(&bus->lock);
    *ret = consumer;
    return 0;
}

/* The instance id is ours alone on this machine. The brokers take this member for another when a commit that librdkafka
 * kept for a coordinator that did not answer is sent before the member has joined again. */
int kafka_member_rejoin(struct bus_consumer *consumer)
{
    struct kafka_client *old = consumer->client;
    rd_kafka_queue_t *old_queue = consumer->queue;
    struct error error = {0};
    int64_t now = clock_monotonic_ms();
    if (consumer->rejoined_ms != 0 && now < consumer->rejoined_ms + REJOIN_MS)
        return -EAGAIN;
    consumer->rejoined_ms = now;
    pthread_mutex_lock(&consumer->pause.lock);
    pthread_mutex_lock(&consumer->bus->lock);
    int code = make_client(consumer, &error);
    if (code != 0) {
        consumer->client = old;
        consumer->rk = old->rk;
        consumer->queue = old_queue;
    }
    pthread_mutex_unlock(&consumer->bus->lock);
    pthread_mutex_unlock(&consumer->pause.lock);
    if (code != 0)
        return -EAGAIN;
    log_warn("kafka",
             "group %s: the brokers fenced this member, %s-%d; it joins again. If that repeats, two machines have one "
             "name and one machine id",
             consumer->group, consumer->bus->host, consumer->instance.slot);
    rd_kafka_queue_destroy(old_queue);
    kafka_client_release_detached(old);
    kafka_assignment_reset(consumer);
    kafka_health_reset(consumer);
    kafka_joining_begin(&consumer->joining);
    consumer->pause.partitions_paused = false;
    consumer->commits.in_flight = consumer->commits.wanted = false;
    consumer->streams.last_topic = NULL; /* the old client's */
    if (rd_kafka_subscribe(consumer->rk, consumer->subscription) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    consumer->health.client = KAFKA_CLIENT_FENCED; /* so that this is repeated */
    return -EAGAIN;
}

/* ---------------------------------------------------------------------------------------------------------- leaving */

/* Closing a static member does not make it leave its group. Unsubscribing does, as soon as nothing is assigned any
 * more. False: the brokers do not answer. */
static bool leave(struct bus_consumer *consumer)
{
    int64_t until = clock_monotonic_ms() + LEAVE_MS;
    bool member = true;
    if (rd_kafka_unsubscribe(consumer->rk) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    while (member && clock_monotonic_ms() < until) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->rk, 10);
        if (message != NULL)
            rd_kafka_message_destroy(message);
        char *id = rd_kafka_memberid(consumer->rk);
        member = id != NULL && id[0] != '\0';
        if (id != NULL)
            rd_kafka_mem_free(consumer->rk, id);
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    rd_kafka_error_destroy(rd_kafka_consumer_close_queue(consumer->rk, queue));
    while (!rd_kafka_consumer_closed(consumer->rk) && clock_monotonic_ms() < until)
        (void)rd_kafka_queue_poll_callback(queue, 10);
    rd_kafka_queue_destroy(queue);
    return rd_kafka_consumer_closed(consumer->rk);
}

/* When no broker answers, nobody is told: what is committed in the database is done, and the group notices by itself
 * that the member is not there any more. */
void kafka_unsubscribe(struct bus_consumer *consumer)
{
    if (consumer == NULL)
        return;
    pthread_mutex_lock(&consumer->bus->lock);
    struct bus_consumer **link = &consumer->bus->consumers;
    while (*link != consumer)
        link = &(*link)->next;
    *link = consumer->next;
    pthread_mutex_unlock(&consumer->bus->lock);
    bool reachable = kafka_health_reachable(consumer);
    if (reachable && consumer->health.client == KAFKA_CLIENT_ALIVE && !rd_kafka_assignment_lost(consumer->rk))
        kafka_commit_wait(consumer);
    if (atomic_load(&consumer->bus->succeeded) && consumer->instance.slot_lock >= 0) {
        consumer_free(consumer, false); /* a static member that is closed stays in its group */
        return;
    }
    kafka_assignment_close(consumer);
    if (reachable && consumer->health.client == KAFKA_CLIENT_ALIVE)
        reachable = leave(consumer);
    consumer_free(consumer, reachable);
}
