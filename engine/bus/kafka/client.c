/*
 * client.c - see client.h.
 */
#include "bus/kafka/client.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT_END_MS = 1000 };

/* Of a producer of transactions. What one that died has left open is aborted after so long, and readers of the
 * partitions that it wrote to wait until then. The other two must not be longer, whatever the user has set. */
static const struct {
    const char *name, *value;
} transaction_properties[] = {
    {"transaction.timeout.ms", "20000"}, {"message.timeout.ms", "20000"}, {"socket.timeout.ms", "15000"}};

/* ----------------------------------------------------------------------------------------------------------- making */

/* FAIL, ERROR and SSL also reach an error callback or the maker of the client, GETPID is repeated by librdkafka,
 * CONFWARN names properties without effect here. */
static bool is_redundant(const char *facility)
{
    static const char *const facilities[] = {"CONFWARN", "FAIL", "ERROR", "SSL", "GETPID"};
    for (size_t i = 0; i < sizeof facilities / sizeof facilities[0]; i++)
        if (strcmp(facilities[i], facility) == 0)
            return true;
    return false;
}

/* librdkafka's own log. What matters to an operator is also an event or an error; so this is rare. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    enum { SYSLOG_WARNING = 4 };
    if (level <= SYSLOG_WARNING && !is_redundant(facility))
        log_rarely(10000, LOG_WARN, "kafka", "%s: %s", rk == NULL ? "client" : rd_kafka_name(rk), text);
    else
        log_debug("kafka", "%s: %s: %s", rk == NULL ? "client" : rd_kafka_name(rk), facility, text);
}

static rd_kafka_conf_t *conf_make(const struct bus_options *options, const struct kafka_client_config *config,
                                  struct error *error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_opaque(conf, config->opaque);
    int code = kafka_options_apply(options, config->role, conf, error);
    if (code == 0 && config->group != NULL)
        code = kafka_options_set(conf, "group.id", config->group, error);
    if (code == 0 && config->instance != NULL)
        code = kafka_options_set(conf, "group.instance.id", config->instance, error);
    if (code == 0 && config->transactional != NULL)
        code = kafka_options_set(conf, "transactional.id", config->transactional, error);
    for (size_t i = 0; i < sizeof transaction_properties / sizeof transaction_properties[0] && code == 0 &&
                       config->transactional != NULL;
         i++)
        code = kafka_options_set(conf, transaction_properties[i].name, transaction_properties[i].value, error);
    if (code != 0) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    if (config->set_callbacks != NULL)
        config->set_callbacks(conf);
    return conf;
}

/* librdkafka checks some properties only when it makes a client, above all those that name files. */
static void set_refused(const struct bus_options *options, const char *text, struct error *error)
{
    static const char suffix[] = ".location";
    error_set(error, EINVAL, "librdkafka %s makes no client of bus.properties: %s", rd_kafka_version_str(), text);
    for (size_t i = 0; i < options->property_count; i++) {
        const struct bus_property *property = &options->properties[i];
        size_t length = strlen(property->name);
        if (strncmp(text, property->name, length) == 0 && length > sizeof suffix - 1 &&
            strcmp(property->name + length - (sizeof suffix - 1), suffix) == 0)
            error_hint(error, "is '%s' a file of that kind, and can it be read?", property->value);
    }
}

rd_kafka_t *kafka_client_new(const struct bus_options *options, const struct kafka_client_config *config,
                             struct error *error)
{
    char text[512];
    rd_kafka_conf_t *conf = conf_make(options, config, error);
    if (conf == NULL)
        return NULL;
    bool producer = config->role == KAFKA_PRODUCER;
    rd_kafka_t *rk = rd_kafka_new(producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        set_refused(options, text, error);
        return NULL;
    }
    if (!producer)
        rd_kafka_poll_set_consumer(rk);
    return rk;
}

static void on_scanner_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    (void)rk;
    kafka_reason_set(opaque, (rd_kafka_resp_err_t)code, text);
}

static void set_scanner_callbacks(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_error_cb(conf, on_scanner_error);
}

rd_kafka_t *kafka_client_asking(const struct bus_options *options, const char *group, struct kafka_reason *reason,
                                struct error *error)
{
    const struct kafka_client_config config = {
        .role = KAFKA_SCANNER, .group = group, .set_callbacks = set_scanner_callbacks, .opaque = reason};
    return kafka_client_new(options, &config, error);
}

rd_kafka_t *kafka_client_scanner(const struct bus_options *options, struct kafka_reason *reason, struct error *error)
{
    return kafka_client_asking(options, "sluice-scan", reason, error);
}

/* ----------------------------------------------------------------------------------------------------------- ending */

struct ending {
    rd_kafka_t *rk;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done, abandoned; /* abandoned: nobody waits any more, the thread frees this */
};

static void ending_free(struct ending *ending)
{
    pthread_cond_destroy(&ending->ended);
    pthread_mutex_destroy(&ending->lock);
    free(ending);
}

static void *ending_main(void *context)
{
    struct ending *ending = context;
    rd_kafka_destroy_flags(ending->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    pthread_mutex_lock(&ending->lock);
    ending->done = true;
    bool abandoned = ending->abandoned;
    pthread_cond_signal(&ending->ended);
    pthread_mutex_unlock(&ending->lock);
    if (abandoned)
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
    cond_init_monotonic(&ending->ended);
    if (pthread_create(&thread, NULL, ending_main, ending) != 0) {
        ending_free(ending);
        return;
    }
    pthread_detach(thread);
    int64_t until_ms = clock_monotonic_ms() + CLIENT_END_MS;
    pthread_mutex_lock(&ending->lock);
    while (!ending->done && cond_timedwait_ms(&ending->ended, &ending->lock, until_ms) == 0)
        continue;
    bool done = ending->done;
    ending->abandoned = !done;
    pthread_mutex_unlock(&ending->lock);
    if (done)
        ending_free(ending);
    else
        log_debug("kafka", "a client did not end within %d ms and is abandoned", CLIENT_END_MS);
}

void kafka_client_hold(struct kafka_client *client)
{
    atomic_fetch_add_explicit(&client->holders, 1, memory_order_relaxed);
}

void kafka_client_release(struct kafka_client *client)
{
    if (client == NULL || atomic_fetch_sub_explicit(&client->holders, 1, memory_order_acq_rel) != 1)
        return;
    kafka_client_end(client->rk);
    free(client);
}

static void *release_main(void *client)
{
    kafka_client_release(client);
    return NULL;
}

void kafka_client_release_detached(struct kafka_client *client)
{
    pthread_t thread;
    if (client != NULL && pthread_create(&thread, NULL, release_main, client) == 0)
        pthread_detach(thread);
    else
        kafka_client_release(client);
}
