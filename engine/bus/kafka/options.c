/*
 * options.c - making clients: which properties each gets, and librdkafka's words as ours. See bus.h.
 *
 * Three layers, the later ones win: what is good for most (the user may change it), what the user set, what the
 * engine's promises rest on. The pipeline's loader has refused properties that would be of the third kind.
 */
#include "bus/kafka/bus.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ANY = KAFKA_CONSUMER | KAFKA_SCANNER | KAFKA_PRODUCER, READERS = KAFKA_CONSUMER | KAFKA_SCANNER };

struct client_property {
    const char *name, *value;
    unsigned roles;
};

static const struct client_property usual[] = {
    {"socket.keepalive.enable", "true", ANY},
    {"socket.nagle.disable", "true", ANY},
    /* A connection that died in silence is given up so soon; what is asked for must come in this time over a slow
     * network, too. */
    {"socket.timeout.ms", "15000", ANY},
    {"fetch.max.bytes", "4194304", READERS},
    {"reconnect.backoff.ms", "50", ANY},
    {"reconnect.backoff.max.ms", "1000", ANY},
    {"topic.metadata.refresh.interval.ms", "5000", ANY}, /* partitions added, topics made anew */
    {"session.timeout.ms", "10000", KAFKA_CONSUMER},
    {"heartbeat.interval.ms", "300", KAFKA_CONSUMER},           /* so soon do peers hear that somebody came or left */
    {"partition.assignment.strategy", "range", KAFKA_CONSUMER}, /* a key's topics stay together */
    {"fetch.wait.max.ms", "200", READERS},
    {"fetch.error.backoff.ms", "100", READERS},
    /* A consumer that holds so much stops fetching: see kafka_flow_took(). */
    {"queued.min.messages", "100000", READERS},
    {"queued.max.messages.kbytes", "4096", READERS},
    {"linger.ms", "0", KAFKA_PRODUCER}, /* what comes while a request is on its way goes out together with the next */
    {"retry.backoff.ms", "50", KAFKA_PRODUCER},
    {"message.timeout.ms", "120000", KAFKA_PRODUCER},
    /* a topic that is not there: so long it may be about to be */
    {"topic.metadata.propagation.max.ms", "5000", KAFKA_PRODUCER},
    {"queue.buffering.max.messages", "200000", KAFKA_PRODUCER},
    {"queue.buffering.max.kbytes", "131072", KAFKA_PRODUCER},
};

static const struct client_property owned[] = {
    {"enable.auto.commit", "false", READERS},
    {"enable.auto.offset.store", "false", READERS},
    {"auto.offset.reset", "error", KAFKA_CONSUMER}, /* a position that is gone must be noticed */
    {"auto.offset.reset", "earliest", KAFKA_SCANNER},
    {"isolation.level", "read_committed", READERS},
    {"check.crcs", "true", READERS},
    {"enable.partition.eof", "true", KAFKA_SCANNER},
    {"allow.auto.create.topics", "false", ANY},
    {"enable.idempotence", "true", KAFKA_PRODUCER},
    {"acks", "all", KAFKA_PRODUCER},
    /* nothing overtakes a request that has to be repeated */
    {"max.in.flight.requests.per.connection", "1", KAFKA_PRODUCER},
    {"partitioner", "murmur2_random", KAFKA_PRODUCER}, /* a key's partition is the one that Java's clients choose */
};

/* Properties that only some clients understand; the others are for all. A name that ends in '*' is a family. */
static const struct {
    const char *name;
    unsigned roles;
} special[] = {
    {"group.*", KAFKA_CONSUMER},
    {"partition.assignment.strategy", KAFKA_CONSUMER},
    {"session.timeout.ms", KAFKA_CONSUMER},
    {"heartbeat.interval.ms", KAFKA_CONSUMER},
    {"max.poll.interval.ms", KAFKA_CONSUMER},
    {"fetch.*", READERS},
    {"max.partition.fetch.bytes", READERS},
    {"queued.*", READERS},
    {"linger.ms", KAFKA_PRODUCER},
    {"queue.buffering.*", KAFKA_PRODUCER},
    {"batch.*", KAFKA_PRODUCER},
    {"compression.*", KAFKA_PRODUCER},
    {"message.timeout.ms", KAFKA_PRODUCER},
    {"delivery.timeout.ms", KAFKA_PRODUCER},
    {"request.timeout.ms", KAFKA_PRODUCER},
};

static unsigned property_roles(const char *name)
{
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
        size_t length = strlen(special[i].name);
        if (special[i].name[length - 1] == '*' ? strncmp(special[i].name, name, length - 1) == 0
                                               : strcmp(special[i].name, name) == 0)
            return special[i].roles;
    }
    return ANY;
}

const char *kafka_property(const struct kafka_bus *bus, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < bus->options.property_count; i++)
        if (strcmp(bus->options.properties[i].name, name) == 0)
            value = bus->options.properties[i].value;
    return value;
}

/* -------------------------------------------------------------------------------------------------------------
 * words */

int kafka_error(struct error *error, rd_kafka_resp_err_t err, const char *what)
{
    int code = kafka_permanent(err) != 0 ? -kafka_permanent(err) : EAGAIN;
    return error_set(error, code, "%s: %s (%s)", what, rd_kafka_err2str(err), rd_kafka_err2name(err));
}

void kafka_reason_take(struct kafka_reason *reason, rd_kafka_resp_err_t err, const char *words)
{
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && reason->words[0] != '\0')
        return; /* what was said of each of them says more */
    reason->err = err;
    snprintf(reason->words, sizeof reason->words, "%s", words == NULL ? rd_kafka_err2str(err) : words);
    char *after = strstr(reason->words, " (after "); /* so many milliseconds in this state of librdkafka's */
    if (after != NULL)
        *after = '\0';
}

bool kafka_reason_closed(const struct kafka_reason *reason)
{
    /* A handshake that fails while something is sent comes as a failure of the transport. */
    return reason->err == RD_KAFKA_RESP_ERR__AUTHENTICATION || reason->err == RD_KAFKA_RESP_ERR__SSL ||
           strstr(reason->words, "SSL routines") != NULL;
}

void kafka_reason_hear(rd_kafka_t *rk)
{
    for (rd_kafka_message_t *message; (message = rd_kafka_consumer_poll(rk, 0)) != NULL;)
        rd_kafka_message_destroy(message);
}

int kafka_reach_error(struct error *error, rd_kafka_resp_err_t err, const char *what, const struct kafka_reason *reason)
{
    if (reason->words[0] == '\0')
        return kafka_error(error, err, what);
    return error_set(error, EAGAIN, "%s: %s%s", what,
                     kafka_reason_closed(reason) ? "they are not the ones meant, or do not let us in: " : "",
                     reason->words);
}

int kafka_permanent(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return -EMSGSIZE;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        return -ENOENT;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return -EACCES;
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
        return -EBADMSG;
    default:
        return 0;
    }
}

/* What a callback or the maker of a client hears too (FAIL, ERROR, SSL), what is tried again by itself (GETPID),
 * what has no effect here. */
static bool log_dispensable(const char *facility)
{
    static const char *const facilities[] = {"CONFWARN", "FAIL", "ERROR", "SSL", "GETPID"};
    for (size_t i = 0; i < sizeof facilities / sizeof facilities[0]; i++)
        if (strcmp(facilities[i], facility) == 0)
            return true;
    return false;
}

/* librdkafka's own log. What matters to a person comes as an event or an error, too; so this is rare. */
static void client_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    enum { SYSLOG_WARNING = 4 };
    if (level <= SYSLOG_WARNING && !log_dispensable(facility))
        log_rarely(10000, LOG_WARN, "kafka", "%s: %s", rk == NULL ? "client" : rd_kafka_name(rk), text);
    else
        log_debug("kafka", "%s: %s: %s", rk == NULL ? "client" : rd_kafka_name(rk), facility, text);
}

/* ------------------------------------------------------------------------------------------------------------
 * making */

static int conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *error)
{
    char words[256];
    if (rd_kafka_conf_set(conf, name, value, words, sizeof words) == RD_KAFKA_CONF_OK)
        return 0;
    error_set(error, EINVAL, "bus.properties.%s: librdkafka %s says: %s", name, rd_kafka_version_str(), words);
    return error_hint(error, "remove it, or give it a value that this version takes");
}

/* What older versions of librdkafka do not have, or get wrong. */
static const struct {
    const char *name, *value;
    int since; /* as rd_kafka_version() says it */
    const char *version, *instead;
} young[] = {
    {"partition.assignment.strategy", "cooperative-sticky", 0x020a01ff, "2.10.1", "range or roundrobin"},
    {"group.protocol", "consumer", 0x020c00ff, "2.12.0", "classic"},
};

static int conf_young(const struct kafka_bus *bus, struct error *error)
{
    for (size_t i = 0; i < sizeof young / sizeof young[0]; i++) {
        const char *value = kafka_property(bus, young[i].name);
        if (value == NULL || strcmp(value, young[i].value) != 0 || rd_kafka_version() >= young[i].since)
            continue;
        error_set(error, EINVAL, "bus.properties.%s: %s needs librdkafka %s; this is %s", young[i].name, value,
                  young[i].version, rd_kafka_version_str());
        return error_hint(error, "say %s", young[i].instead);
    }
    return 0;
}

/* KIP-848: the brokers decide about sessions and assignments, and the client may not say otherwise. */
static bool conf_by_broker(const char *name)
{
    static const char *const names[] = {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static int conf_layers(struct kafka_bus *bus, rd_kafka_conf_t *conf, enum kafka_role role, struct error *error)
{
    const char *protocol = kafka_property(bus, "group.protocol");
    bool by_broker = protocol != NULL && strcmp(protocol, "consumer") == 0;
    char text[128];
    int code = 0;

    for (size_t i = 0; i < sizeof usual / sizeof usual[0] && code == 0; i++)
        if ((usual[i].roles & role) != 0 && !(by_broker && conf_by_broker(usual[i].name)))
            code = conf_set(conf, usual[i].name, usual[i].value, error);
    if ((role & READERS) != 0) /* 2.0.2 does not know it, and looks after a second */
        (void)rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "10", NULL, 0);
    snprintf(text, sizeof text, "sluice-%.100s", bus->options.name);
    if (code == 0)
        code = conf_set(conf, "client.id", text, error);
    /* What the engine lets through, its headers and its key must fit; the topic's own limit is the brokers' word. */
    snprintf(text, sizeof text, "%zu", bus->options.max_event_size + 256 * 1024);
    if (code == 0 && role == KAFKA_PRODUCER)
        code = conf_set(conf, "message.max.bytes", text, error);
    if (code == 0)
        code = conf_young(bus, error);
    for (size_t i = 0; i < bus->options.property_count && code == 0; i++) {
        const struct bus_property *property = &bus->options.properties[i];
        /* 2.0.2 has no other and not the name */
        bool same = strcmp(property->name, "group.protocol") == 0 && !by_broker;
        if ((property_roles(property->name) & role) != 0 && !same)
            code = conf_set(conf, property->name, property->value, error);
    }
    for (size_t i = 0; i < sizeof owned / sizeof owned[0] && code == 0; i++)
        if ((owned[i].roles & role) != 0)
            code = conf_set(conf, owned[i].name, owned[i].value, error);
    return code;
}

int kafka_properties_check(struct kafka_bus *bus, struct error *error)
{
    static const enum kafka_role roles[] = {KAFKA_CONSUMER, KAFKA_SCANNER, KAFKA_PRODUCER};
    int code = 0;
    for (size_t i = 0; i < sizeof roles / sizeof roles[0] && code == 0; i++) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        code = conf_layers(bus, conf, roles[i], error);
        rd_kafka_conf_destroy(conf);
    }
    return code;
}

/* Some properties are looked at when a client is made, those that name files above all. */
static void conf_refused(const struct kafka_bus *bus, const char *words, struct error *error)
{
    error_set(error, EINVAL, "librdkafka %s makes no client of bus.properties: %s", rd_kafka_version_str(), words);
    for (size_t i = 0; i < bus->options.property_count; i++) {
        const struct bus_property *property = &bus->options.properties[i];
        size_t length = strlen(property->name);
        if (strncmp(words, property->name, length) == 0 && length > 9 &&
            strcmp(property->name + length - 9, ".location") == 0)
            error_hint(error, "is '%s' a file of that kind, and can it be read?", property->value);
    }
}

static void on_scanner_error(rd_kafka_t *rk, int code, const char *words, void *opaque)
{
    (void)rk;
    kafka_reason_take(opaque, (rd_kafka_resp_err_t)code, words);
}

rd_kafka_t *kafka_client_new(struct kafka_bus *bus, enum kafka_role role, const char *group, const char *instance,
                             void *opaque, struct error *error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char words[512];
    rd_kafka_conf_set_log_cb(conf, client_log);
    rd_kafka_conf_set_opaque(conf, opaque);
    int code = conf_layers(bus, conf, role, error);
    if (code == 0 && group != NULL)
        code = conf_set(conf, "group.id", group, error);
    if (code == 0 && instance != NULL)
        code = conf_set(conf, "group.instance.id", instance, error);
    if (code != 0) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    if (role == KAFKA_CONSUMER)
        kafka_group_callbacks(conf);
    else if (role == KAFKA_PRODUCER)
        kafka_producer_callbacks(conf);
    else
        rd_kafka_conf_set_error_cb(conf, on_scanner_error);
    rd_kafka_t *rk = rd_kafka_new(role == KAFKA_PRODUCER ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, words,
                                  sizeof words);
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        conf_refused(bus, words, error);
        return NULL;
    }
    if (role != KAFKA_PRODUCER)
        rd_kafka_poll_set_consumer(rk);
    return rk;
}

/* librdkafka before 2.5.0 never ends a client that read a topic until it was deleted. Nobody waits for that for
 * long: the process ends. */
struct ending {
    rd_kafka_t *rk;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done, left;
};

static void ending_free(struct ending *ending)
{
    pthread_cond_destroy(&ending->over);
    pthread_mutex_destroy(&ending->lock);
    free(ending);
}

static void *ending_main(void *context)
{
    struct ending *ending = context;
    rd_kafka_destroy_flags(ending->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    pthread_mutex_lock(&ending->lock);
    ending->done = true;
    bool left = ending->left;
    pthread_cond_signal(&ending->over);
    pthread_mutex_unlock(&ending->lock);
    if (left)
        ending_free(ending);
    return NULL;
}

void kafka_client_end(rd_kafka_t *rk)
{
    struct ending *ending = calloc(1, sizeof *ending);
    pthread_t thread;
    if (ending == NULL)
        return;
    ending->rk = rk;
    pthread_mutex_init(&ending->lock, NULL);
    pthread_cond_init(&ending->over, NULL);
    if (pthread_create(&thread, NULL, ending_main, ending) != 0) {
        ending_free(ending);
        return;
    }
    pthread_detach(thread);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += KAFKA_END_S;
    pthread_mutex_lock(&ending->lock);
    while (!ending->done && pthread_cond_timedwait(&ending->over, &ending->lock, &until) == 0)
        continue;
    bool done = ending->done;
    ending->left = !done;
    pthread_mutex_unlock(&ending->lock);
    if (done)
        ending_free(ending);
    else
        log_debug("kafka", "a client does not end; it is left behind");
}

void kafka_client_release(struct kafka_client *client)
{
    if (client == NULL || atomic_fetch_sub_explicit(&client->holders, 1, memory_order_acq_rel) != 1)
        return;
    kafka_client_end(client->rk);
    free(client);
}

rd_kafka_topic_partition_list_t *kafka_expand(const struct kafka_bus *bus, const char *const *topics,
                                              size_t topic_count, bool dead_letters)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)topic_count);
    for (size_t t = 0; t < topic_count; t++) {
        size_t length = strlen(topics[t]);
        bool pattern = length > 0 && topics[t][length - 1] == '*';
        if (!pattern && rd_kafka_topic_partition_list_find(list, topics[t], RD_KAFKA_PARTITION_UA) == NULL)
            rd_kafka_topic_partition_list_add(list, topics[t], RD_KAFKA_PARTITION_UA);
        for (size_t i = 0; pattern && i < bus->options.topic_count; i++) {
            const char *name = bus->options.topics[i].name;
            if (topics_match(&topics[t], 1, span_of(name)) && (dead_letters || !bus->options.topics[i].dead_letters) &&
                rd_kafka_topic_partition_list_find(list, name, RD_KAFKA_PARTITION_UA) == NULL)
                rd_kafka_topic_partition_list_add(list, name, RD_KAFKA_PARTITION_UA);
        }
    }
    return list;
}
