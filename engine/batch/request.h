/*
 * request.h - requests and ticks as events, and the way their answers go back.
 *
 * A request becomes an event in prepare.c. It is answered in finish.c, in fail.c when it waited too long, or by the
 * lane that stops. One whose answer is pending runs again, in later batches, until its answer is final or wait_ms is
 * over.
 */
#ifndef SLUICE_BATCH_REQUEST_H
#define SLUICE_BATCH_REQUEST_H

#include "batch/batch.h"

struct gateway_param { /* of the path or the query; decoded */
    struct span name, value;
};

struct gateway_request {
    /* the caller's, alive until done(): */
    uint32_t route;   /* index in pipeline->requests */
    struct span body; /* {NULL, 0} when there is none */
    const struct gateway_param *params;
    size_t param_count;
    struct span idempotency_key; /* of the header; {NULL, 0} without */
    struct span traceparent;
    int64_t wait_ms;  /* ?wait=; 0: answer at once */
    atomic_bool left; /* set at any time: nobody waits for the answer any more */
    void *context;    /* the caller's */
    /* The answer, called once: after COMMIT, or when nothing is committed because the request is late or the engine
     * stops. On a lane's thread, or on the one that stops the engine. `json` is valid until it returns. */
    void (*done)(struct gateway_request *request, int status, struct span json);
    /* the gateway's: */
    atomic_size_t *waiting; /* counts the requests that were not answered yet */
    int64_t arrived_ms;     /* monotonic */
    int32_t asked;          /* how often its handler answered "pending" */
    int32_t retry_after_s;  /* set before done(), of a 503: when to ask again; 0: soon */
};

/* Fills work->event of a request (its body, path and query as one object); a bad one becomes dead. */
void request_event(struct batch *batch, struct work *work);
/* Fills work->event of a schedule's tick, whose data is empty. */
void tick_event(struct batch *batch, struct work *work);
bool request_has_idempotency_key(const struct item *item);
/* A request under an Idempotency-Key that was used before: the answer of then, or a refusal when it asks for something
 * else. */
void request_repeated(struct batch *batch, struct work *work, const struct claim *claim);
/* After COMMIT: sends the answer; or, when it is pending and the client waits, false and when to ask again (monotonic
 * ms). */
bool request_answer(struct batch *batch, struct work *work, int64_t *ret_again_ms);
/* When an item that is due then comes again (monotonic ms): a request not after its end, which is http.timeout after it
 * arrived, or for as long as its client waits. */
int64_t request_due_ms(const struct batch *batch, const struct item *item, int64_t due_ms);
/* Answers a request 503 and returns true when that end is past; false for any other item. `why`: a sentence for the
 * client. */
bool request_answer_if_late(const struct batch *batch, const struct item *item, const char *why);
/* The status of the answer to a request that was refused or failed: below 500 when the client is at fault. */
int request_dead_status(enum dead_reason reason);
/* The engine stops: 503. */
void request_refuse(const struct item *item);

#endif
