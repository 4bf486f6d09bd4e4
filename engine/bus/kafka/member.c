/*
 * member.c - becoming a member of a group, and leaving it. See bus.h.
 */
#include "bus/kafka/bus.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The first number that no process of this group on this host has. A socket's name in the kernel holds it, and falls
 * with the process. */
static int slot_take(const struct kafka_bus *bus, const char *group, int *ret_slot)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const char *servers = kafka_property(bus, "bootstrap.servers");
    for (int slot = 0; fd >= 0 && slot < KAFKA_SLOTS_MAX; slot++) {
        char name[512], hash[17];
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(name, sizeof name, "%s/%s/%d", servers == NULL ? "" : servers, group, slot);
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)span_hash(span_of(name)));
        int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "sluice/%.16s", hash);
        if (bind(fd, (const struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0) {
            *ret_slot = slot;
            return fd;
        }
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static void *client_end(void *client)
{
    kafka_client_release(client);
    return NULL;
}

/* librdkafka gives up what is in flight, a commit above all, after ten seconds: whoever stops does not wait for
 * brokers that are away. */
static void client_abandon(struct kafka_client *client)
{
    pthread_t thread;
    if (client != NULL && pthread_create(&thread, NULL, client_end, client) == 0)
        pthread_detach(thread);
    else
        kafka_client_release(client);
}

/* away: no broker answers */
static void consumer_free(struct bus_consumer *consumer, bool away)
{
    if (consumer == NULL)
        return;
    if (consumer->queue != NULL)
        rd_kafka_queue_destroy(consumer->queue);
    if (away)
        client_abandon(consumer->client);
    else
        kafka_client_release(consumer->client);
    if (consumer->slot >= 0)
        close(consumer->slot);
    connection_destroy(consumer->connection);
    if (consumer->subscription != NULL)
        rd_kafka_topic_partition_list_destroy(consumer->subscription);
    if (consumer->changed != NULL)
        rd_kafka_topic_partition_list_destroy(consumer->changed);
    for (size_t i = 0; i < consumer->stream_count; i++)
        free(consumer->streams[i].topic);
    free(consumer->streams);
    free(consumer->listed_streams);
    free(consumer->listed_epochs);
    free(consumer->messages);
    free(consumer->records);
    free(consumer->group);
    pthread_cond_destroy(&consumer->wake_up);
    pthread_mutex_destroy(&consumer->wake_lock);
    pthread_mutex_destroy(&consumer->streams_lock);
    free(consumer);
}

/* ------------------------------------------------------------------------------------------------------- databases */

/* Of two servers, or two databases of a server, never the same. */
static const struct statement statement_database = {
    .text = "SELECT (hashtext(s.system_identifier || '/' || d.oid)::int8 & 4294967295) FROM pg_control_system() s, "
            "pg_database d"
            " WHERE d.datname = current_database()"};

/* 0, with the database's mark in instance ids: empty without a store, and where the server does not tell. */
static int database_mark(struct bus_consumer *consumer, struct error *error)
{
    struct rows *rows;
    if (consumer->connection == NULL)
        return 0;
    enum store_result result = connection_once(consumer->connection, &statement_database, 0, NULL, KAFKA_WAIT_MS, &rows,
                                               error);
    if (result == STORE_DOWN || result == STORE_TRANSIENT)
        return -EAGAIN;
    if (result == STORE_OK && rows_count(rows) == 1)
        snprintf(consumer->database, sizeof consumer->database, ".%08llx", (unsigned long long)rows_int64(rows, 0, 0));
    else if (consumer->database[0] == '\0')
        log_warn("kafka",
                 "group %s: the database does not say which one it is (%s); an engine with another one in this group "
                 "would not be noticed",
                 consumer->group, error->text);
    return 0;
}

/* The mark at the end of an instance id, or NULL: it is of another program, a user's, or of a pipeline without a
 * store. */
static const char *mark_of(const char *instance)
{
    const char *mark = instance == NULL ? NULL : strrchr(instance, '.');
    return mark != NULL && strlen(mark) == 9 && strspn(mark + 1, "0123456789abcdef") == 8 ? mark : NULL;
}

static int members_compare(const struct bus_consumer *consumer, const rd_kafka_ConsumerGroupDescription_t *group,
                           struct error *error)
{
    for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(group); i++) {
        const rd_kafka_MemberDescription_t *member = rd_kafka_ConsumerGroupDescription_member(group, i);
        const char *instance = rd_kafka_MemberDescription_group_instance_id(member), *mark = mark_of(instance);
        if (mark == NULL || strcmp(mark, consumer->database) == 0)
            continue;
        error_set(
            error, ESTALE,
            "group %s has a member (%s at %s) that works with another database: each would handle a part of the events",
            consumer->group, instance, rd_kafka_MemberDescription_host(member));
        return error_hint(error, "give one of them the other's store.url, or an engine.group of its own; if the other "
                                 "is the one to go, end it first");
    }
    return 0;
}

static int members_of(const struct bus_consumer *consumer, rd_kafka_event_t *event, struct error *error)
{
    size_t count = 0;
    int code = 0;
    const rd_kafka_DescribeConsumerGroups_result_t *result = event == NULL
                                                                 ? NULL
                                                                 : rd_kafka_event_DescribeConsumerGroups_result(event);
    const rd_kafka_ConsumerGroupDescription_t **groups = result == NULL ? NULL
                                                                        : rd_kafka_DescribeConsumerGroups_result_groups(
                                                                              result, &count);
    for (size_t i = 0; i < count && code == 0; i++)
        if (rd_kafka_ConsumerGroupDescription_error(groups[i]) == NULL)
            code = members_compare(consumer, groups[i], error);
    return code;
}

int kafka_members_check(struct bus_consumer *consumer, struct error *error)
{
    const char *names[] = {consumer->group}, *protocol = kafka_property(consumer->bus, "group.protocol");
    if (consumer->database[0] == '\0' || consumer->slot < 0 || (protocol != NULL && strcmp(protocol, "consumer") == 0))
        return 0;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(consumer->rk,
                                                                 RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_MEMBERS_MS, NULL, 0);
    rd_kafka_DescribeConsumerGroups(consumer->rk, names, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, KAFKA_MEMBERS_MS);
    int code = members_of(consumer, event, error);
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return code;
}

/* --------------------------------------------------------------------------------------------------------- joining */

static int consumer_client(struct bus_consumer *consumer, struct error *error)
{
    struct kafka_bus *bus = consumer->bus;
    char instance[160];
    if (consumer->slot < 0 && kafka_property(bus, "group.instance.id") == NULL)
        consumer->slot = slot_take(bus, consumer->group, &consumer->slot_number);
    bool own = consumer->slot >= 0;
    snprintf(instance, sizeof instance, "%s-%d%s", bus->host, consumer->slot_number, consumer->database);
    consumer->client = calloc(1, sizeof *consumer->client);
    if (consumer->client == NULL)
        return error_set(error, ENOMEM, "out of memory");
    consumer->rk = kafka_client_new(bus, KAFKA_CONSUMER, consumer->group, own ? instance : NULL, consumer, error);
    if (consumer->rk == NULL) {
        free(consumer->client);
        consumer->client = NULL;
        return -EINVAL;
    }
    consumer->client->rk = consumer->rk;
    atomic_init(&consumer->client->holders, 1);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->rk);
    kafka_flow_init(&consumer->flow, consumer->rk);
    log_debug("kafka", "group %s: member %s", consumer->group, own ? instance : "as configured");
    return 0;
}

int kafka_rejoin(struct bus_consumer *consumer)
{
    struct kafka_client *old = consumer->client;
    rd_kafka_queue_t *old_queue = consumer->queue;
    struct error error = {0};
    int64_t now = clock_monotonic_ms();
    if (consumer->rejoined_ms != 0 && now < consumer->rejoined_ms + KAFKA_REJOIN_MS)
        return -EAGAIN;
    consumer->rejoined_ms = now;
    pthread_mutex_lock(&consumer->wake_lock);
    pthread_mutex_lock(&consumer->bus->lock);
    int code = consumer_client(consumer, &error);
    if (code != 0) {
        consumer->client = old;
        consumer->rk = old->rk;
        consumer->queue = old_queue;
    }
    pthread_mutex_unlock(&consumer->bus->lock);
    pthread_mutex_unlock(&consumer->wake_lock);
    if (code != 0)
        return -EAGAIN;
    log_warn("kafka",
             "group %s: the brokers took %s-%d for another member; it joins again. If that does not end, two machines "
             "have one name and "
             "one machine id",
             consumer->group, consumer->bus->host, consumer->slot_number);
    rd_kafka_queue_destroy(old_queue);
    client_abandon(old);
    if (consumer->changed != NULL)
        rd_kafka_topic_partition_list_destroy(consumer->changed);
    consumer->changed = NULL;
    consumer->change = KAFKA_CHANGE_NONE;
    consumer->returning = consumer->gone = consumer->paused_hard = false;
    consumer->commit_in_flight = consumer->commit_wanted = false;
    consumer->last_topic = NULL; /* the old client's */
    consumer->fault.code = 0;
    consumer->doubt_ms = consumer->down ? now + KAFKA_DOUBT_MS : 0;
    rd_kafka_resp_err_t err = rd_kafka_subscribe(consumer->rk, consumer->subscription);
    consumer->dead = consumer->fenced = err != RD_KAFKA_RESP_ERR_NO_ERROR; /* then once more */
    return consumer->dead ? -EAGAIN : 0;
}

int kafka_subscribe(struct bus *head, const struct bus_subscription *subscription, struct bus_consumer **ret,
                    struct error *error)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    struct bus_consumer *consumer = calloc(1, sizeof *consumer);
    if (consumer == NULL)
        return error_set(error, ENOMEM, "out of memory");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&consumer->wake_up, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&consumer->wake_lock, NULL);
    pthread_mutex_init(&consumer->streams_lock, NULL);
    consumer->bus = bus;
    consumer->slot = -1;
    consumer->group = strdup(subscription->group);
    consumer->poll_records = subscription->poll_records == 0 ? KAFKA_POLL_RECORDS : subscription->poll_records;
    consumer->poll_bytes = subscription->poll_bytes == 0 ? KAFKA_POLL_BYTES : subscription->poll_bytes;
    consumer->messages = calloc(consumer->poll_records, sizeof *consumer->messages);
    consumer->records = calloc(consumer->poll_records, sizeof *consumer->records);
    consumer->subscription = kafka_expand(bus, subscription->topics, subscription->topic_count, false);
    int code = consumer->group == NULL || consumer->messages == NULL || consumer->records == NULL
                   ? error_set(error, ENOMEM, "out of memory")
                   : 0;
    if (code == 0 && bus->options.store != NULL && subscription->recorded) {
        consumer->connection = connection_create(bus->options.store, "positions");
        code = consumer->connection == NULL ? error_set(error, ENOMEM, "out of memory") : 0;
    }
    if (code == 0)
        code = database_mark(consumer, error);
    if (code == 0)
        code = consumer_client(consumer, error);
    if (code == 0)
        code = kafka_producer_warm(bus, error);
    if (code == 0)
        code = kafka_topics_present(bus, consumer->rk, &consumer->reason, error);
    if (code == 0)
        code = kafka_members_check(consumer, error);
    if (code != 0 && kafka_reason_closed(&consumer->reason))
        log_rarely(60000, LOG_ERROR, "kafka", "group %s: %s", consumer->group, error->text);
    if (code == 0) {
        rd_kafka_resp_err_t err = rd_kafka_subscribe(consumer->rk, consumer->subscription);
        code = err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : kafka_error(error, err, "the topics cannot be subscribed to");
    }
    if (code != 0) {
        consumer_free(consumer, false);
        return code;
    }
    pthread_mutex_lock(&bus->lock);
    consumer->next = bus->consumers;
    bus->consumers = consumer;
    pthread_mutex_unlock(&bus->lock);
    *ret = consumer;
    return 0;
}

/* Leaves the group, as static members do not by closing: unsubscribing does it, as soon as nothing is assigned any
 * more. False: the brokers do not answer. */
static bool consumer_leave(struct bus_consumer *consumer)
{
    int64_t until = clock_monotonic_ms() + KAFKA_LEAVE_MS;
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

/* Nobody is there to be told: what is committed in the database is done, and the group finds out by itself. */
static bool brokers_away(const struct bus_consumer *consumer)
{
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(consumer->rk, 0, NULL, &metadata, 2 * KAFKA_DOUBT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    rd_kafka_metadata_destroy(metadata);
    return false;
}

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
    bool away = brokers_away(consumer);
    if (!consumer->dead && !away && !rd_kafka_assignment_lost(consumer->rk))
        kafka_commit_now(consumer);
    consumer->closing = true;
    if (consumer->changed != NULL)
        kafka_answer_closing(consumer, consumer->change == KAFKA_CHANGE_ASSIGN, consumer->changed);
    if (!consumer->dead && !away)
        away = !consumer_leave(consumer);
    consumer_free(consumer, away);
}
