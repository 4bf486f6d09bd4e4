/*
 * metrics.c - see metrics.h. Series are found under a lock when they are made and never freed before the registry is,
 * so a bump is one relaxed atomic addition. The table below is the source of docs/metrics.md.
 */
#include "base/metrics.h"

#include "base/log.h"
#include "base/number.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum metric_kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM };

enum { BOUNDS_MAX = 20 };

/* Upper bounds of a histogram's buckets, 0 after the last; +Inf follows by itself. */
struct metric_bounds {
    double at[BOUNDS_MAX + 1];
};

static const struct metric_bounds seconds_bounds = {
    {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}};
static const struct metric_bounds count_bounds = {{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000}};

struct metric_row {
    const char *name;
    enum metric_kind kind;
    const char *unit;
    const char *label1, *label2; /* NULL: it has none */
    const struct metric_bounds *bounds;
    const char *help;
};

static const struct metric_row metric_table[METRIC_COUNT] = {
    [METRIC_BUILD_INFO] = {"sluice_build_info", KIND_GAUGE, "1", "version", NULL, NULL,
                           "The version that runs; always 1."},
    [METRIC_FILES_READ] = {"sluice_files_read_timestamp_seconds", KIND_GAUGE, "seconds since 1970", NULL, NULL, NULL,
                           "When the pipeline's file and plugins that run were read: at the start, or by the latest "
                           "reload that was accepted."},
    [METRIC_EVENTS] = {"sluice_events_total", KIND_COUNTER, "events", "handler", "outcome", NULL,
                       "Events that ended, by handler and recorded outcome. `dead`: a dead letter. A request or tick "
                       "has none: `refused` is answered 4xx, `failed` 5xx, or is a line in the log."},
    [METRIC_DUPLICATES] = {"sluice_duplicates_total", KIND_COUNTER, "events", "handler", NULL, NULL,
                           "Events that came again after their outcome was recorded."},
    [METRIC_REPLAYED] = {"sluice_replayed_total", KIND_COUNTER, "events", "handler", NULL, NULL,
                         "Dead letters that were sent to their topic again and handled again."},
    [METRIC_RETRIES] = {"sluice_retries_total", KIND_COUNTER, "attempts", "handler", NULL, NULL,
                        "Attempts repeated in place after a transient failure."},
    [METRIC_DEAD] = {"sluice_dead_letters_total", KIND_COUNTER, "events", "topic", NULL, NULL,
                     "Events sent to a dead letter topic, by the topic they came from."},
    [METRIC_DEAD_OPEN] = {"sluice_dead_letters_open", KIND_GAUGE, "events", "topic", NULL, NULL,
                          "Dead letters in the database that were neither replayed nor dropped, by the topic of their "
                          "events; the topic is empty for topics that the file does not have."},
    [METRIC_EMITTED] = {"sluice_emitted_total", KIND_COUNTER, "events", "topic", NULL, NULL,
                        "Events published and acknowledged by the bus."},
    [METRIC_BATCHES] = {"sluice_batches_total", KIND_COUNTER, "batches", "group", NULL, NULL,
                        "Batches that were committed."},
    [METRIC_BATCH_EVENTS] = {"sluice_batch_events", KIND_HISTOGRAM, "events", "group", NULL, &count_bounds,
                             "Events in a committed batch."},
    [METRIC_BATCH_SECONDS] = {"sluice_batch_seconds", KIND_HISTOGRAM, "seconds", "group", NULL, &seconds_bounds,
                              "Time from the claim of a batch to its commit."},
    [METRIC_ROUND_TRIPS] = {"sluice_store_round_trips_total", KIND_COUNTER, "round trips", NULL, NULL, NULL,
                            "Waits for an answer of the database."},
    [METRIC_IN_FLIGHT] = {"sluice_in_flight", KIND_GAUGE, "events", "group", NULL, NULL,
                          "Events taken from the bus and not completed."},
    [METRIC_WAITING_KEYS] = {"sluice_waiting_keys", KIND_GAUGE, "keys", "group", NULL, NULL,
                             "Keys whose events wait behind a transient retry, in memory or in the database."},
    [METRIC_HELD_KEYS] = {"sluice_held_keys", KIND_GAUGE, "keys", NULL, NULL, NULL,
                          "Keys that are held in the database, of all processes: their next event waits."},
    [METRIC_HELD_EVENTS] = {"sluice_held_events", KIND_GAUGE, "events", NULL, NULL, NULL,
                            "Events of held keys that wait in the database; they do not count as lag."},
    [METRIC_HELD_AGE] = {"sluice_held_oldest_seconds", KIND_GAUGE, "seconds", NULL, NULL, NULL,
                         "For how long the first of the held keys has been held."},
    [METRIC_PARKED] =
        {"sluice_parked", KIND_GAUGE, "events", NULL, NULL, NULL,
         "Events and timers of chains that wait in the database until they are due; of more than 100 000 the "
         "server's estimate."},
    [METRIC_PARKED_UNKNOWN] = {"sluice_parked_unknown", KIND_GAUGE, "events", NULL, NULL, NULL,
                               "Of those, events of topics that the file does not have, until it says what becomes of "
                               "them (`renamed`, `retired`)."},
    [METRIC_OUTBOX_AGE] = {"sluice_outbox_oldest_seconds", KIND_GAUGE, "seconds", NULL, NULL, NULL,
                           "Age of the oldest output that is committed and not yet published; the health number."},
    [METRIC_OUTBOX_REFUSED] = {"sluice_outbox_refused", KIND_GAUGE, "batches", NULL, NULL, NULL,
                               "Batches with outputs that the brokers refuse for good; sluice.outbox says why."},
    [METRIC_STORE_UP] = {"sluice_store_up", KIND_GAUGE, "0 or 1", NULL, NULL, NULL, "1 while the database answers."},
    [METRIC_PARTITIONS] = {"sluice_partitions", KIND_GAUGE, "partitions", "group", NULL, NULL,
                           "Partitions that this process reads."},
    [METRIC_HALTED] = {"sluice_partition_halted", KIND_GAUGE, "0 or 1", "group", "partition", NULL,
                       "1 while a partition is assigned to this process and not read: its next record was deleted, it "
                       "has no leader, a row is damaged; and while a topic, in place of the partition, is "
                       "not there any more, or may not be read. `/readyz` says which and why."},
    [METRIC_LAG] = {"sluice_lag", KIND_GAUGE, "records", "group", NULL, NULL,
                    "Records on the group's topics that it has not completed, as its positions say, whoever reads "
                    "them; looked up every 10 s."},
    [METRIC_REQUESTS] = {"sluice_requests_total", KIND_COUNTER, "requests", "route", "code", NULL,
                         "HTTP requests answered, by route and status code."},
    [METRIC_REQUEST_SECONDS] = {"sluice_request_seconds", KIND_HISTOGRAM, "seconds", "route", NULL, &seconds_bounds,
                                "Time from a complete HTTP request to its answer."},
    [METRIC_CHAINS_STUCK] = {"sluice_chains_stuck", KIND_GAUGE, "chains", NULL, NULL, NULL,
                             "Chains whose undo failed for good and wait for a person."},
    [METRIC_CHAINS_UNDOING] = {"sluice_chains_undoing", KIND_GAUGE, "chains", NULL, NULL, NULL,
                               "Chains that are being undone: an undo is not sent yet, or was sent and not handled, "
                               "since it is tried again, paused, over a limit or behind its key."},
    [METRIC_CHAINS_OLDEST] = {"sluice_chains_oldest_seconds", KIND_GAUGE, "seconds", NULL, NULL, NULL,
                              "Age of the oldest chain that is not over: being undone (an undo that waits included), "
                              "stuck, or running with a step missing (of chains with `timeout`, `retain` or `abort_on: "
                              "dead_letter`, whose end is "
                              "known)."},
    [METRIC_HANDLER_SECONDS] = {"sluice_handler_seconds", KIND_HISTOGRAM, "seconds", "handler", NULL, &seconds_bounds,
                                "Time that one call of a handler took."},
    [METRIC_TRACE_SPANS] = {"sluice_trace_spans_total", KIND_COUNTER, "spans", "outcome", NULL, NULL,
                            "Spans of traces, by what became of them: `sent`: the collector took them; `dropped`: it "
                            "did not answer for so long that there was no room; `refused` by it for good."},
    [METRIC_LOG_LOST] =
        {"sluice_log_lost_total", KIND_COUNTER, "lines", NULL, NULL, NULL,
         "Log lines that stderr did not take: its reader is too slow or has ended, or the disk is full."},
    [METRIC_HANDLER_STOPPED] = {"sluice_handler_stopped", KIND_GAUGE, "0 or 1", "handler", NULL, NULL,
                                "1 while the database refuses a statement of the handler as no event could pass it "
                                "(no such table, no right): its events wait; the log says what is missing."},
    [METRIC_PAUSED] = {"sluice_paused", KIND_GAUGE, "0 or 1", "kind", "name", NULL,
                       "1 while an operator has paused this topic, handler, tap, schedule or dependency."},
    [METRIC_DEPENDENCY] = {"sluice_dependency_state", KIND_GAUGE, "0, 1 or 2", "dependency", NULL, NULL,
                           "The breaker of this dependency: 0 closed, 1 half-open (one event is let through), 2 open "
                           "(events that need it wait)."},
    [METRIC_LIMIT_WAITING] = {"sluice_limit_waiting_keys", KIND_GAUGE, "keys", "topic", NULL, NULL,
                              "Keys of this process that wait for the topic's limit, with what is behind them."},
};

static const char *const metric_kinds[] = {"counter", "gauge", "histogram"};

struct series {
    struct series *next;
    const struct metric_row *row;
    char *label1, *label2;
    _Atomic int64_t value;                    /* of a histogram: the number of observations */
    _Atomic uint64_t sum;                     /* the bits of a double */
    _Atomic uint64_t buckets[BOUNDS_MAX + 1]; /* not cumulative; the last is above every bound */
};

struct metrics {
    pthread_mutex_t lock; /* protects the lists, not the series */
    struct series *first[METRIC_COUNT];
    struct series **last[METRIC_COUNT];
};

static _Noreturn void metrics_exhausted(void)
{
    log_line(LOG_ERROR, "memory", "cannot make a metric: the system has no memory left; the process ends");
    log_flush();
    _exit(EX_OSERR);
}

struct metrics *metrics_create(void)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics == NULL)
        return NULL;
    pthread_mutex_init(&metrics->lock, NULL);
    for (int i = 0; i < METRIC_COUNT; i++)
        metrics->last[i] = &metrics->first[i];
    return metrics;
}

void metrics_destroy(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (int i = 0; i < METRIC_COUNT; i++) {
        for (struct series *series = metrics->first[i]; series != NULL;) {
            struct series *next = series->next;
            free(series->label1);
            free(series->label2);
            free(series);
            series = next;
        }
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static struct series *series_create(const struct metric_row *row, const char *label1, const char *label2)
{
    struct series *series = calloc(1, sizeof *series);
    if (series == NULL)
        metrics_exhausted();
    series->row = row;
    series->label1 = strdup(label1);
    series->label2 = strdup(label2);
    if (series->label1 == NULL || series->label2 == NULL)
        metrics_exhausted();
    return series;
}

struct series *metrics_series(struct metrics *metrics, enum metric metric, const char *label1, const char *label2)
{
    const struct metric_row *row = &metric_table[metric];
    if (row->label1 == NULL || label1 == NULL)
        label1 = "";
    if (row->label2 == NULL || label2 == NULL)
        label2 = "";

    pthread_mutex_lock(&metrics->lock);
    struct series *series = metrics->first[metric];
    while (series != NULL && (strcmp(series->label1, label1) != 0 || strcmp(series->label2, label2) != 0))
        series = series->next;
    if (series == NULL) {
        series = series_create(row, label1, label2);
        *metrics->last[metric] = series;
        metrics->last[metric] = &series->next;
    }
    pthread_mutex_unlock(&metrics->lock);
    return series;
}

void series_add(struct series *series, int64_t amount)
{
    atomic_fetch_add_explicit(&series->value, amount, memory_order_relaxed);
}

void series_set(struct series *series, int64_t value)
{
    atomic_store_explicit(&series->value, value, memory_order_relaxed);
}

void series_observe(struct series *series, double value)
{
    const double *bounds = series->row->bounds->at;
    size_t bucket = 0;
    while (bounds[bucket] != 0 && value > bounds[bucket])
        bucket++;
    if (bounds[bucket] == 0)
        bucket = BOUNDS_MAX;
    atomic_fetch_add_explicit(&series->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&series->value, 1, memory_order_relaxed);

    uint64_t old = atomic_load_explicit(&series->sum, memory_order_relaxed), bits;
    do {
        double sum;
        memcpy(&sum, &old, sizeof sum);
        sum += value;
        memcpy(&bits, &sum, sizeof bits);
    } while (
        !atomic_compare_exchange_weak_explicit(&series->sum, &old, bits, memory_order_relaxed, memory_order_relaxed));
}

int64_t series_value(const struct series *series)
{
    return atomic_load_explicit(&((struct series *)series)->value, memory_order_relaxed);
}

/* A label's value in quotes: Prometheus escapes backslash, quote and newline. */
static void metrics_label(struct buffer *out, const char *name, const char *value)
{
    buffer_text(out, name);
    buffer_text(out, "=\"");
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            buffer_text(out, "\\n");
        else if (*value == '"' || *value == '\\')
            buffer_format(out, "\\%c", *value);
        else
            buffer_byte(out, *value);
    }
    buffer_byte(out, '"');
}

/* "name_suffix{label1="…",label2="…",le="…"} " */
static void metrics_head(struct buffer *out, const struct series *series, const char *suffix, const char *le)
{
    const struct metric_row *row = series->row;
    const char *between = "{";
    buffer_text(out, row->name);
    buffer_text(out, suffix);
    if (row->label1 != NULL) {
        buffer_text(out, between);
        metrics_label(out, row->label1, series->label1);
        between = ",";
    }
    if (row->label2 != NULL) {
        buffer_text(out, between);
        metrics_label(out, row->label2, series->label2);
        between = ",";
    }
    if (le != NULL) {
        buffer_text(out, between);
        metrics_label(out, "le", le);
        between = ",";
    }
    buffer_text(out, between[0] == ',' ? "} " : " ");
}

static void metrics_print_histogram(struct buffer *out, struct series *series)
{
    const double *bounds = series->row->bounds->at;
    uint64_t below = 0, bits;
    for (size_t i = 0; bounds[i] != 0; i++) {
        char le[NUMBER_TEXT_MAX];
        number_text(bounds[i], 6, le);
        below += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
        metrics_head(out, series, "_bucket", le);
        buffer_format(out, "%llu\n", (unsigned long long)below);
    }
    /* The count is taken from the buckets: the page must agree with itself while others observe. */
    below += atomic_load_explicit(&series->buckets[BOUNDS_MAX], memory_order_relaxed);
    metrics_head(out, series, "_bucket", "+Inf");
    buffer_format(out, "%llu\n", (unsigned long long)below);
    metrics_head(out, series, "_sum", NULL);
    double sum;
    bits = atomic_load_explicit(&series->sum, memory_order_relaxed);
    memcpy(&sum, &bits, sizeof sum);
    char text[NUMBER_TEXT_MAX];
    buffer_format(out, "%s\n", number_text(sum, 9, text));
    metrics_head(out, series, "_count", NULL);
    buffer_format(out, "%llu\n", (unsigned long long)below);
}

void metrics_print(struct metrics *metrics, struct buffer *out)
{
    pthread_mutex_lock(&metrics->lock);
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = &metric_table[i];
        if (metrics->first[i] == NULL)
            continue;
        buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, metric_kinds[row->kind]);
        for (struct series *series = metrics->first[i]; series != NULL; series = series->next) {
            if (row->kind == KIND_HISTOGRAM) {
                metrics_print_histogram(out, series);
            } else {
                metrics_head(out, series, "", NULL);
                buffer_int64(out, series_value(series));
                buffer_byte(out, '\n');
            }
        }
    }
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_print_reference(struct buffer *out)
{
    buffer_text(out, "| Metric | Kind | Unit | Labels | Meaning |\n|---|---|---|---|---|\n");
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = &metric_table[i];
        buffer_format(out, "| `%s` | %s | %s | ", row->name, metric_kinds[row->kind], row->unit);
        if (row->label1 != NULL)
            buffer_format(out, "`%s`", row->label1);
        if (row->label2 != NULL)
            buffer_format(out, ", `%s`", row->label2);
        buffer_format(out, " | %s |\n", row->help);
    }
}
