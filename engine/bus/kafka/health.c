/*
 * health.c - see health.h.
 */
#include "bus/kafka/health.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/kafka/consumer.h"

#include <errno.h>

enum {
    CHECK_AFTER_MS = 500,  /* an error is given so long to end by itself */
    CHECK_AGAIN_MS = 2000, /* while no broker answers */
    CHECK_WAIT_MS = 500,   /* for the answer, while records are read */
    REACHABLE_WAIT_MS = 1000,
};

void kafka_health_failed(struct bus_consumer *consumer)
{
    struct kafka_health *health = &consumer->health;
    char text[512] = "";
    rd_kafka_resp_err_t err = rd_kafka_fatal_error(consumer->rk, text, sizeof text);
    health->client = err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID ? KAFKA_CLIENT_FENCED : KAFKA_CLIENT_FAILED;
    error_set(&health->fault, EIO, "group %s: %s (%s)", consumer->group, text, rd_kafka_err2name(err));
    if (health->client == KAFKA_CLIENT_FENCED)
        error_hint(&health->fault, "two processes have one group.instance.id; give each its own, or none");
}

void kafka_health_on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
    struct bus_consumer *consumer = opaque;
    struct kafka_health *health = &consumer->health;
    rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)code;
    (void)rk;
    if (err == RD_KAFKA_RESP_ERR__FATAL) {
        kafka_health_failed(consumer);
        return;
    }
    kafka_reason_set(&health->reason, err, text);
    if (kafka_reason_is_auth(&health->reason)) {
        if (!health->outage_reported)
            error_set(&health->fault, EIO, "group %s: TLS or SASL authentication with the brokers failed: %s",
                      consumer->group, text);
        health->outage_reported = true;
    }
    if (health->check_ms == 0)
        health->check_ms = clock_monotonic_ms() + CHECK_AFTER_MS;
}

static bool broker_answers(struct bus_consumer *consumer, int wait_ms)
{
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(consumer->rk, 0, NULL, &metadata, wait_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    rd_kafka_metadata_destroy(metadata);
    return true;
}

void kafka_health_check(struct bus_consumer *consumer)
{
    struct kafka_health *health = &consumer->health;
    if (health->check_ms == 0 || clock_monotonic_ms() < health->check_ms)
        return;
    if (broker_answers(consumer, CHECK_WAIT_MS)) {
        if (health->outage_reported)
            log_info("kafka", "group %s: the brokers answer again", consumer->group);
        health->outage_reported = false;
        health->check_ms = 0;
        return;
    }
    if (!health->outage_reported)
        error_set(&health->fault, EIO, "group %s: no broker answers; nothing is read or committed until one does (%s)",
                  consumer->group, health->reason.text);
    health->outage_reported = true;
    health->check_ms = clock_monotonic_ms() + CHECK_AGAIN_MS;
}

bool kafka_health_reachable(struct bus_consumer *consumer)
{
    return broker_answers(consumer, REACHABLE_WAIT_MS);
}

void kafka_health_reset(struct bus_consumer *consumer)
{
    struct kafka_health *health = &consumer->health;
    health->client = KAFKA_CLIENT_ALIVE;
    health->fault.code = 0;
    health->check_ms = health->outage_reported ? clock_monotonic_ms() + CHECK_AFTER_MS : 0;
}
