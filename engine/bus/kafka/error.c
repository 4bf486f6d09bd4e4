/*
 * error.c - see error.h.
 */
#include "bus/kafka/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void kafka_reason_set(struct kafka_reason *reason, rd_kafka_resp_err_t err, const char *text)
{
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && reason->text[0] != '\0')
        return; /* what was told of a single broker says more */
    reason->err = err;
    snprintf(reason->text, sizeof reason->text, "%s", text == NULL ? rd_kafka_err2str(err) : text);
    char *after = strstr(reason->text, " (after "); /* "... 3ms in state CONNECT)" */
    if (after != NULL)
        *after = '\0';
}

bool kafka_reason_is_auth(const struct kafka_reason *reason)
{
    /* A handshake that fails while something is sent is reported as a failure of the transport. */
    return reason->err == RD_KAFKA_RESP_ERR__AUTHENTICATION || reason->err == RD_KAFKA_RESP_ERR__SSL ||
           strstr(reason->text, "SSL routines") != NULL;
}

int kafka_error(struct error *error, rd_kafka_resp_err_t err, const char *what)
{
    int permanent = kafka_error_permanent(err);
    return error_set(error, permanent != 0 ? -permanent : EAGAIN, "%s: %s (%s)", what, rd_kafka_err2str(err),
                     rd_kafka_err2name(err));
}

int kafka_error_of_reason(struct error *error, rd_kafka_resp_err_t err, const char *what,
                          const struct kafka_reason *reason)
{
    if (reason->text[0] == '\0')
        return kafka_error(error, err, what);
    bool auth = kafka_reason_is_auth(reason);
    return error_set(error, auth ? EACCES : EAGAIN, "%s: %s%s", what,
                     auth ? "TLS or SASL authentication with the brokers failed: " : "", reason->text);
}

int kafka_error_permanent(rd_kafka_resp_err_t err)
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
