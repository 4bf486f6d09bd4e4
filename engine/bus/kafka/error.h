/*
 * error.h - librdkafka's errors as ours: a code of bus/bus.h, a sentence, and the reason that a client heard last.
 */
#ifndef SLUICE_BUS_KAFKA_ERROR_H
#define SLUICE_BUS_KAFKA_ERROR_H

#include "base/error.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* Why brokers cannot be reached or refuse the client, as its error callback was told last. */
struct kafka_reason {
    rd_kafka_resp_err_t err;
    char text[300]; /* "": nothing was told */
};
void kafka_reason_set(struct kafka_reason *reason, rd_kafka_resp_err_t err, const char *text);
bool kafka_reason_is_auth(const struct kafka_reason *reason); /* TLS or SASL with the brokers failed */

/* "WHAT: Local: Broker transport failure (_TRANSPORT)" and its like. Returns the negative code: -EAGAIN, or that of
 * kafka_error_permanent(). */
int kafka_error(struct error *error, rd_kafka_resp_err_t err, const char *what);
/* The same of a call that needed a broker: -EAGAIN with the reason in place of `err`, when one is known; -EACCES when
 * that is TLS or SASL. */
int kafka_error_of_reason(struct error *error, rd_kafka_resp_err_t err, const char *what,
                          const struct kafka_reason *reason);
/* The negative errno of bus/bus.h when repeating can never help; else 0. */
int kafka_error_permanent(rd_kafka_resp_err_t err);

#endif
