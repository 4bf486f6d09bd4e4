/*
 * retry.h - how long to wait before trying again, and when to stop. Pure sums.
 */
#ifndef SLUICE_FLOW_RETRY_H
#define SLUICE_FLOW_RETRY_H

#include <stdint.h>

struct topic; /* pipeline/pipeline.h */

struct retry_policy {    /* of a transient failure, in place */
    int32_t max_retries; /* the first try is not counted */
    int64_t initial_interval_ms;
    double multiplier;
    int64_t max_interval_ms;
    double jitter; /* 0..1: the share of a delay that is random */
};

struct ladder {
    struct topic *topic; /* `retry:`; the same handler takes its events after their delay */
    int32_t max_retries;
    int64_t initial_interval_ms;
    double multiplier;
    int64_t max_interval_ms;
    const char *counter;     /* the data field that counts climbed steps; default "retryCount" */
    struct topic *exhausted; /* where the event goes after the last step */
};

/* Delay before try number tries + 1, when `tries` (≥ 1) have failed: ms, or -1 when the policy is exhausted.
 * `random` is uniform in [0, 1): a jitter of 0.2 gives the delay times 0.8 … 1.2, never over max_interval * (1 +
 * jitter). No overflow for any tries. */
int64_t retry_delay_ms(const struct retry_policy *policy, int64_t tries, double random);
/* Delay of step `climbed` + 1 of a ladder, or -1 when climbed ≥ max_retries (emit to `exhausted`). */
int64_t ladder_delay_ms(const struct ladder *ladder, int64_t climbed);

#endif
