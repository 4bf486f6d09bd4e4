/*
 * topics.c - see topics.h.
 */
#include "bus/kafka/topics.h"

#include "base/clock.h"
#include "bus/kafka/client.h"
#include "bus/kafka/durability.h"
#include "bus/kafka/kafka.h"
#include "bus/kafka/metadata.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAKE_MS = 30000,        /* the longest wait until the brokers serve what was made */
    DELETED_MS = 1000,      /* a topic that is missing for so long, after it was listed, was being deleted */
    MAKE_ROUNDS = 5,        /* for topics that were being deleted */
    RECORD_EXTRA = 4096,    /* bytes of a record beside its value: key, headers, framing */
    LETTER_EXTRA = 4096,    /* bytes that a dead letter has beside those of the event's record */
    MADE_EXTRA = 64 * 1024, /* in place of either, for topics that are made */
};

struct check {
    struct kafka_bus *bus;
    rd_kafka_t *rk;
    struct kafka_reason reason;
    const struct rd_kafka_metadata *metadata;
    void (*each)(const struct bus_finding *finding, void *context);
    void *context;
    size_t unreplicated;     /* topics of one replica */
    int64_t largest_default; /* bytes of a record on a topic that does not say; -1: not known */
    int64_t *largest;        /* the same of each topic of the options */
};

static __attribute__((format(printf, 5, 6))) void report(const struct check *check, enum bus_finding_kind kind,
                                                         const char *code, const char *topic, const char *format, ...)
{
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    check->each(&(struct bus_finding){.kind = kind, .code = code, .topic = topic, .text = text}, check->context);
}

static int64_t config_number(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    const char *value = kafka_config_value(resource, name);
    return value == NULL ? -1 : strtoll(value, NULL, 10);
}

/* ----------------------------------------------------------------------------------------------------------- making */

/* What a topic takes for which nobody says more. */
static int64_t broker_largest(const struct check *check)
{
    char name[16] = "";
    size_t count = 0;
    int64_t largest = -1;
    if (check->metadata == NULL || check->metadata->broker_cnt == 0)
        return -1;
    snprintf(name, sizeof name, "%d", (int)check->metadata->brokers[0].id);
    rd_kafka_ConfigResource_t *broker = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, name);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(check->rk);
    rd_kafka_DescribeConfigs(check->rk, &broker, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, KAFKA_REQUEST_MS);
    if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &count);
        if (count == 1 && rd_kafka_ConfigResource_error(found[0]) == RD_KAFKA_RESP_ERR_NO_ERROR)
            largest = config_number(found[0], "message.max.bytes");
    }
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(broker);
    return largest;
}

/* So that what comes in goes out: an event of the largest size with its headers, and to a dead letter topic whatever
 * the others take, with the headers of a dead letter. */
static void set_largest(const struct check *check, const struct bus_topic *topic, rd_kafka_NewTopic_t *made)
{
    char text[32];
    int64_t largest = (int64_t)check->bus->options.max_event_size + MADE_EXTRA;
    if (check->largest_default < 0 || (!topic->dead_letters && !topic->own && check->largest_default >= largest))
        return;
    largest = largest > check->largest_default ? largest : check->largest_default;
    snprintf(text, sizeof text, "%lld",
             (long long)(topic->dead_letters || topic->own ? largest + MADE_EXTRA : largest));
    (void)rd_kafka_NewTopic_set_config(made, "max.message.bytes", text);
}

static void set_configuration(const struct check *check, const struct bus_topic *topic, rd_kafka_NewTopic_t *made)
{
    set_largest(check, topic, made);
    if (topic->own)
        (void)rd_kafka_NewTopic_set_config(made, "cleanup.policy", "compact");
}

static rd_kafka_NewTopic_t *new_topic(const struct kafka_bus *bus, const struct bus_topic *topic, char *text,
                                      size_t size)
{
    int partitions = topic->partitions > 0 ? topic->partitions : (int)bus->options.partitions;
    int replication = topic->replication > 0         ? topic->replication
                      : bus->options.replication > 0 ? bus->options.replication
                                                     : -1;
    return rd_kafka_NewTopic_new(topic->name, partitions, replication, text, size);
}

/* Reports what was made and what was refused; returns how many were refused. */
static size_t count_refused(const struct check *check, rd_kafka_event_t *event)
{
    size_t count = 0, refused = 0;
    const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
    const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(result, &count);
    for (size_t i = 0; i < count; i++) {
        const char *name = rd_kafka_topic_result_name(topics[i]), *text = rd_kafka_topic_result_error_string(topics[i]);
        rd_kafka_resp_err_t err = rd_kafka_topic_result_error(topics[i]);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
            report(check, BUS_FINDING_MADE, "topic_made", name, "made topic %s", name);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            continue; /* another process made it */
        refused++;
        report(check, BUS_FINDING_ERROR, "topic_refused", name, "topic %s cannot be made: %s", name,
               text != NULL ? text : rd_kafka_err2str(err));
    }
    return refused;
}

/* The controller has made them; a moment later every broker knows them, and each partition has a leader. Any broker may
 * answer, so the answer must be good several times in a row for each. *ret_deleted: a topic that was listed is missing:
 * it was being deleted, and is to be made as well. */
static int wait_until_served(const struct check *check, bool *ret_deleted, struct error *error)
{
    struct timespec pause = {.tv_nsec = 10 * 1000000};
    int good = 0, enough = 1;
    int64_t listed_ms = clock_monotonic_ms();
    for (int64_t until = listed_ms + MAKE_MS;;) {
        const struct rd_kafka_metadata *metadata = NULL;
        bool all = kafka_metadata(check->rk, &check->reason, &metadata, error) == 0, deleted = false;
        for (size_t i = 0; all && i < check->bus->options.topic_count; i++) {
            const rd_kafka_metadata_topic_t *topic = kafka_metadata_topic(metadata, check->bus->options.topics[i].name);
            all = topic != NULL;
            deleted = deleted || topic == NULL;
            for (int p = 0; all && p < topic->partition_cnt; p++)
                all = topic->partitions[p].leader >= 0;
        }
        if (metadata != NULL) {
            enough = metadata->broker_cnt > 1 ? 5 * metadata->broker_cnt : 1;
            rd_kafka_metadata_destroy(metadata);
        }
        good = all ? good + 1 : 0;
        listed_ms = deleted ? listed_ms : clock_monotonic_ms();
        *ret_deleted = clock_monotonic_ms() > listed_ms + DELETED_MS;
        if (good >= enough || *ret_deleted)
            return 0;
        if (clock_monotonic_ms() > until)
            return error_set(error, EAGAIN, "the brokers have made the topics, and do not serve all of them yet");
        nanosleep(&pause, NULL);
    }
}

/* *ret_deleted: as of wait_until_served(). */
static int make_missing(struct check *check, bool *ret_deleted, struct error *error)
{
    const struct kafka_bus *bus = check->bus;
    rd_kafka_NewTopic_t **topics = calloc(bus->options.topic_count + 1, sizeof(rd_kafka_NewTopic_t *));
    size_t count = 0;
    char text[256] = "";
    int code = 0;
    if (topics == NULL)
        return error_set(error, ENOMEM, "out of memory");
    check->largest_default = broker_largest(check);
    for (size_t i = 0; i < bus->options.topic_count && code == 0; i++) {
        if (kafka_metadata_topic(check->metadata, bus->options.topics[i].name) != NULL)
            continue;
        topics[count] = new_topic(bus, &bus->options.topics[i], text, sizeof text);
        if (topics[count] == NULL)
            code = error_set(error, EINVAL, "topic %s cannot be made: %s", bus->options.topics[i].name, text);
        else
            set_configuration(check, &bus->options.topics[i], topics[count++]);
    }
    if (code == 0 && count > 0) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(check->rk);
        rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(check->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        rd_kafka_AdminOptions_set_operation_timeout(options, MAKE_MS / 2, text, sizeof text);
        rd_kafka_CreateTopics(check->rk, topics, count, options, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, MAKE_MS);
        size_t refused = 0;
        if (event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
            code = error_set(error, EAGAIN, "the brokers do not make topics: %s",
                             event == NULL ? "no answer" : rd_kafka_event_error_string(event));
        else
            refused = count_refused(check, event);
        if (event != NULL)
            rd_kafka_event_destroy(event);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_queue_destroy(queue);
        if (code == 0 && refused == 0)
            code = wait_until_served(check, ret_deleted, error);
    }
    rd_kafka_NewTopic_destroy_array(topics, count);
    free(topics);
    return code;
}

/* -------------------------------------------------------------------------------------------------------- comparing */

static void compare_partitions(const struct check *check, const struct bus_topic *topic,
                               const rd_kafka_metadata_topic_t *existing)
{
    const struct bus_options *options = &check->bus->options;
    if (topic->partitions > existing->partition_cnt)
        report(check, BUS_FINDING_WARNING, "topic_partitions", topic->name,
               "topic '%s' has %d partitions, 'partitions' says %d", topic->name, existing->partition_cnt,
               topic->partitions);
    for (size_t i = 0; topic->key != NULL && i < options->topic_count; i++) {
        const struct bus_topic *other = &options->topics[i];
        const rd_kafka_metadata_topic_t *same_key = other->key == NULL || strcmp(other->key, topic->key) != 0
                                                        ? NULL
                                                        : kafka_metadata_topic(check->metadata, other->name);
        if (same_key == NULL || same_key->partition_cnt <= existing->partition_cnt)
            continue;
        report(
            check, BUS_FINDING_WARNING, "topic_partitions_differ", topic->name,
            "topic '%s' has %d partitions and '%s', which has the same key, %d: a key's events are read by different "
            "instances",
            topic->name, existing->partition_cnt, other->name, same_key->partition_cnt);
        break;
    }
}

/* Topics that leave it to `bus`, when they agree among themselves on another number. */
static void compare_bus_partitions(const struct check *check)
{
    const struct bus_options *options = &check->bus->options;
    int count = 0;
    for (size_t i = 0; i < options->topic_count; i++) {
        const rd_kafka_metadata_topic_t *existing = kafka_metadata_topic(check->metadata, options->topics[i].name);
        if (existing == NULL || options->topics[i].partitions > 0)
            continue;
        if (existing->partition_cnt == (int)options->partitions || (count > 0 && existing->partition_cnt != count))
            return;
        count = existing->partition_cnt;
    }
    if (count > 0)
        report(
            check, BUS_FINDING_WARNING, "bus_partitions", NULL,
            "the topics have %d partitions, bus.partitions says %u: it counts when `sluice migrate` makes a topic, and "
            "changes none that is there",
            count, (unsigned)options->partitions);
}

static void compare_replicas(struct check *check, const struct bus_topic *topic,
                             const rd_kafka_metadata_topic_t *existing)
{
    int fewest = existing->partition_cnt > 0 ? existing->partitions[0].replica_cnt : 0;
    for (int p = 0; p < existing->partition_cnt; p++)
        if (existing->partitions[p].replica_cnt < fewest)
            fewest = existing->partitions[p].replica_cnt;
    if (topic->replication > fewest)
        report(check, BUS_FINDING_WARNING, "topic_replication", topic->name,
               "topic '%s' has %d replicas, 'replication' says %d", topic->name, fewest, topic->replication);
    check->unreplicated += fewest == 1 && topic->replication <= 1;
}

static bool config_deletes(const rd_kafka_ConfigResource_t *resource)
{
    const char *value = kafka_config_value(resource, "cleanup.policy");
    return value == NULL || strstr(value, "delete") != NULL;
}

static void compare_retention(const struct check *check, const struct bus_topic *topic,
                              const rd_kafka_ConfigResource_t *resource)
{
    const struct bus_options *options = &check->bus->options;
    int64_t retention = config_number(resource, "retention.ms");
    if (topic->own && config_deletes(resource)) {
        report(
            check, BUS_FINDING_WARNING, "topic_cleanup", topic->name,
            "topic '%s' loses what became of dead letters (cleanup.policy): those that were replayed would look open "
            "again; set cleanup.policy=compact",
            topic->name);
        return;
    }
    if (config_deletes(resource) && retention >= 0 && retention < options->longest_delay_ms)
        report(check, BUS_FINDING_WARNING, "topic_retention", topic->name,
               "topic '%s' keeps events for %lld s (retention.ms), and a retry may be %lld s away: after an outage it "
               "would find nothing",
               topic->name, (long long)retention / 1000, (long long)options->longest_delay_ms / 1000);
}

/* Bytes of a record that the topic takes; -1: not known. */
static int64_t largest_on(const struct check *check, const char *topic)
{
    for (size_t i = 0; i < check->bus->options.topic_count; i++)
        if (strcmp(check->bus->options.topics[i].name, topic) == 0)
            return check->largest[i];
    return -1;
}

/* Whether what comes in goes out. */
static void compare_sizes(const struct check *check, size_t index)
{
    const struct bus_options *options = &check->bus->options;
    const struct bus_topic *topic = &options->topics[index];
    int64_t largest = check->largest[index], event = (int64_t)options->max_event_size + RECORD_EXTRA,
            letter = largest + LETTER_EXTRA, sent = kafka_options_largest_record(options);
    if (largest < 0)
        return;
    if (!topic->dead_letters && largest < event)
        report(check, BUS_FINDING_WARNING, "topic_message_size", topic->name,
               "topic '%s' takes %lld bytes (max.message.bytes), and an event of engine.max_event_size has %lld with "
               "its key and headers: larger ones would be handled and their outputs refused",
               topic->name, (long long)largest, (long long)event);
    int64_t on_letters = topic->dead_letter == NULL ? -1 : largest_on(check, topic->dead_letter);
    if (on_letters >= 0 && on_letters < letter)
        report(
            check, BUS_FINDING_WARNING, "dead_letter_size", topic->dead_letter,
            "topic '%s' takes %lld bytes (max.message.bytes), and '%s', whose dead letters go there, %lld: with their "
            "headers they have up to %lld, and would be refused",
            topic->dead_letter, (long long)on_letters, topic->name, (long long)largest, (long long)letter);
    if (topic->dead_letter != NULL && sent < letter)
        report(check, BUS_FINDING_WARNING, "sent_size", topic->name,
               "topic '%s' takes %lld bytes (max.message.bytes), and this pipeline sends %lld at most "
               "(bus.properties.message.max.bytes): a dead letter of it has up to %lld",
               topic->name, (long long)largest, (long long)sent, (long long)letter);
}

static void take_configuration(struct check *check, const rd_kafka_ConfigResource_t *resource)
{
    const struct bus_options *options = &check->bus->options;
    for (size_t t = 0; t < options->topic_count; t++) {
        if (strcmp(options->topics[t].name, rd_kafka_ConfigResource_name(resource)) != 0 ||
            rd_kafka_ConfigResource_error(resource) != RD_KAFKA_RESP_ERR_NO_ERROR)
            continue;
        const rd_kafka_metadata_topic_t *existing = kafka_metadata_topic(check->metadata, options->topics[t].name);
        compare_retention(check, &options->topics[t], resource);
        if (existing != NULL)
            kafka_durability(existing, resource, check->each, check->context);
        check->largest[t] = config_number(resource, "max.message.bytes");
    }
}

static int compare_configurations(struct check *check, struct error *error)
{
    const struct bus_options *options = &check->bus->options;
    rd_kafka_ConfigResource_t **resources = calloc(options->topic_count + 1, sizeof(rd_kafka_ConfigResource_t *));
    size_t count = 0, answers = 0;
    check->largest = calloc(options->topic_count + 1, sizeof *check->largest);
    if (resources == NULL || check->largest == NULL) {
        free(resources);
        return error_set(error, ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < options->topic_count; i++)
        check->largest[i] = -1;
    for (size_t i = 0; i < options->topic_count; i++)
        if (kafka_metadata_topic(check->metadata, options->topics[i].name) != NULL)
            resources[count++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, options->topics[i].name);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(check->rk);
    if (count > 0)
        rd_kafka_DescribeConfigs(check->rk, resources, count, NULL, queue);
    rd_kafka_event_t *event = count == 0 ? NULL : rd_kafka_queue_poll(queue, 2 * KAFKA_REQUEST_MS);
    if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &answers);
        for (size_t i = 0; i < answers; i++)
            take_configuration(check, found[i]);
        for (size_t i = 0; i < options->topic_count; i++)
            compare_sizes(check, i);
    } else if (count > 0) {
        report(check, BUS_FINDING_WARNING, "topic_configuration", NULL,
               "the configuration of topics cannot be read (%s): sizes and retention are not compared",
               event == NULL ? "no answer" : rd_kafka_event_error_string(event));
    }
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy_array(resources, count);
    free(resources);
    return 0;
}

/* librdkafka refuses some properties only together, when a client is made. These are never polled. */
static int check_clients(const struct bus_options *options, struct error *error)
{
    const struct kafka_client_config reading = {.role = KAFKA_CONSUMER, .group = "sluice-scan"},
                                     writing = {.role = KAFKA_PRODUCER};
    rd_kafka_t *consumer = kafka_client_new(options, &reading, error);
    rd_kafka_t *producer = consumer == NULL ? NULL : kafka_client_new(options, &writing, error);
    if (consumer != NULL)
        kafka_client_end(consumer);
    if (producer == NULL)
        return -EINVAL;
    rd_kafka_destroy(producer);
    return 0;
}

/* Again for topics that were being deleted when they were listed. */
static int make_topics(struct check *check, struct error *error)
{
    bool deleted = true;
    int code = 0;
    for (int round = 0; code == 0 && deleted && round < MAKE_ROUNDS; round++) {
        if (round > 0) {
            rd_kafka_metadata_destroy(check->metadata);
            check->metadata = NULL;
            code = kafka_metadata(check->rk, &check->reason, &check->metadata, error);
        }
        deleted = false;
        if (code == 0)
            code = make_missing(check, &deleted, error);
    }
    if (code == 0 && deleted)
        code = error_set(error, EAGAIN, "the brokers have made the topics, and do not list all of them yet");
    return code;
}

static int compare_topics(struct check *check, struct error *error)
{
    for (size_t i = 0; i < check->bus->options.topic_count; i++) {
        const struct bus_topic *topic = &check->bus->options.topics[i];
        const rd_kafka_metadata_topic_t *existing = kafka_metadata_topic(check->metadata, topic->name);
        if (existing == NULL) {
            report(check, BUS_FINDING_ERROR, "topic_missing", topic->name,
                   "topic '%s' is not on the brokers; `sluice migrate` makes it", topic->name);
            continue;
        }
        compare_partitions(check, topic, existing);
        compare_replicas(check, topic, existing);
    }
    if (check->unreplicated > 0)
        report(
            check, BUS_FINDING_WARNING, "topic_unreplicated", NULL,
            "%zu topics have one replica: when its broker is lost, so are events that were acknowledged; use three for "
            "what matters",
            check->unreplicated);
    compare_bus_partitions(check);
    return compare_configurations(check, error);
}

int kafka_topics(struct bus *head, bool make, void (*each)(const struct bus_finding *finding, void *context),
                 void *context, struct error *error)
{
    struct check check = {.bus = (struct kafka_bus *)head, .each = each, .context = context};
    check.rk = kafka_client_scanner(&check.bus->options, &check.reason, error);
    if (check.rk == NULL)
        return -EINVAL;
    int code = make ? 0 : check_clients(&check.bus->options, error);
    if (code == 0)
        code = kafka_metadata(check.rk, &check.reason, &check.metadata, error);
    if (code == 0)
        code = make ? make_topics(&check, error) : compare_topics(&check, error);
    if (check.metadata != NULL)
        rd_kafka_metadata_destroy(check.metadata);
    free(check.largest);
    kafka_client_end(check.rk);
    return code;
}
