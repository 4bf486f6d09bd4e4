/*
 * metrics.h - counters, gauges and histograms, and their Prometheus page.
 *
 * Every metric is a row of the table in metrics.c (name, kind, unit, help, label name), from which docs/metrics.md
 * is generated. A series is one metric with one label value, made at start (label values come from the configuration,
 * and partitions from the bus, so their number is bounded) and then bumped without a lock.
 */
#ifndef SLUICE_BASE_METRICS_H
#define SLUICE_BASE_METRICS_H

#include "base/buffer.h"

enum metric {
    METRIC_BUILD_INFO,    /* sluice_build_info{version}, gauge 1 */
    METRIC_FILES_READ,    /* sluice_files_read_timestamp_seconds, gauge: when what this process runs was read */
    METRIC_EVENTS,        /* sluice_events_total{handler,outcome}: events that ended, by outcome */
    METRIC_DUPLICATES,    /* sluice_duplicates_total{handler} */
    METRIC_REPLAYED,      /* sluice_replayed_total{handler} */
    METRIC_RETRIES,       /* sluice_retries_total{handler}: transient retries in place */
    METRIC_DEAD,          /* sluice_dead_letters_total{topic} */
    METRIC_DEAD_OPEN,     /* sluice_dead_letters_open{topic}, gauge: those that no operator has decided about */
    METRIC_EMITTED,       /* sluice_emitted_total{topic} */
    METRIC_BATCHES,       /* sluice_batches_total{group} */
    METRIC_BATCH_EVENTS,  /* sluice_batch_events{group}, histogram of counts */
    METRIC_BATCH_SECONDS, /* sluice_batch_seconds{group}, histogram */
    METRIC_ROUND_TRIPS,   /* sluice_store_round_trips_total */
    METRIC_IN_FLIGHT,     /* sluice_in_flight{group}, gauge: events taken from the bus and not completed */
    METRIC_WAITING_KEYS,  /* sluice_waiting_keys{group}, gauge: keys that are held by a retry in place */
    METRIC_HELD_KEYS,     /* sluice_held_keys, gauge: keys that are held in the database, of all groups and processes */
    METRIC_HELD_EVENTS,   /* sluice_held_events, gauge: events that wait there, heads included */
    METRIC_HELD_AGE,      /* sluice_held_oldest_seconds, gauge: since when the first of them is held */
    METRIC_PARKED,        /* sluice_parked, gauge: delayed events: those that wait in the database until they are due */
    METRIC_PARKED_UNKNOWN, /* sluice_parked_unknown, gauge: of those, events of topics that the file does not have */
    /* sluice_outbox_oldest_seconds, gauge: age of the oldest unpublished output; the health number */
    METRIC_OUTBOX_AGE,
    METRIC_OUTBOX_REFUSED,  /* sluice_outbox_refused, gauge: batches with outputs that the brokers refuse for good */
    METRIC_STORE_UP,        /* sluice_store_up, gauge 0/1 */
    METRIC_PARTITIONS,      /* sluice_partitions{group}, gauge: partitions this process reads */
    METRIC_HALTED,          /* sluice_partition_halted{group,partition}, gauge 0/1: of those that were ever halted */
    METRIC_LAG,             /* sluice_lag{group}, gauge: records that no process of the group has completed */
    METRIC_REQUESTS,        /* sluice_requests_total{route,code} */
    METRIC_REQUEST_SECONDS, /* sluice_request_seconds{route}, histogram */
    METRIC_CHAINS_STUCK,    /* sluice_chains_stuck, gauge */
    METRIC_CHAINS_UNDOING,  /* sluice_chains_undoing, gauge */
    METRIC_CHAINS_OLDEST,   /* sluice_chains_oldest_seconds, gauge */
    METRIC_HANDLER_SECONDS, /* sluice_handler_seconds{handler}, histogram of calls */
    METRIC_TRACE_SPANS,     /* sluice_trace_spans_total{outcome}: sent, dropped, refused */
    METRIC_LOG_LOST,        /* sluice_log_lost_total: lines that stderr did not take */
    METRIC_HANDLER_STOPPED, /* sluice_handler_stopped{handler}, gauge 0/1 */
    METRIC_PAUSED,          /* sluice_paused{kind,name}, gauge */
    METRIC_DEPENDENCY,      /* sluice_dependency_state{dependency}, gauge: 0 closed, 1 half-open, 2 open */
    METRIC_LIMIT_WAITING,   /* sluice_limit_waiting_keys{topic}, gauge: of this process, about */
    METRIC_COUNT
};

struct metrics;
struct series;

struct metrics *metrics_create(void);
void metrics_destroy(struct metrics *metrics);
/* The series of `metric` with its label values ("" or NULL for those it does not have); made at the first call,
 * later calls return the same one. Takes a lock: call it at start and keep the pointer. Never NULL. */
struct series *metrics_series(struct metrics *metrics, enum metric metric, const char *label1, const char *label2);
void series_add(struct series *series, int64_t amount);   /* counters and gauges; relaxed atomic */
void series_set(struct series *series, int64_t value);    /* gauges */
void series_observe(struct series *series, double value); /* histograms */
int64_t series_value(const struct series *series);
void metrics_print(struct metrics *metrics, struct buffer *out); /* Prometheus text format 0.0.4 */
void metrics_print_reference(struct buffer *out);                /* Markdown table of every metric */

#endif
