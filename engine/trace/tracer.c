/*
 * tracer.c - see tracer.h.
 *
 * Two buffers of a fixed size: one that lanes fill, one that the thread sends from. They change places under the lock,
 * so a lane waits at most for a copy. A span is a line, so that a buffer is cut into requests without another index.
 */
#include "trace/tracer.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "base/random.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SEND_EARLY = 256 * 1024, /* bytes that wait for no more */
    FRAME_MAX = 16 * 1024,
    PAUSE_MS = 1000, /* after a failed post; doubles with each */
    PAUSE_MAX_MS = 30000,
    PAUSE_ASKED_MAX_MS = 300000, /* that the collector asks for */
    REFUSED_LOG_MS = 60000,
};

struct tracer {
    double sample;
    const char *messaging;
    struct sender *sender;
    struct series *sent, *dropped, *refused;
    struct buffer before, after; /* of a request, around its spans */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buffer filling; /* lines */
    bool stop;
    pthread_t thread;

    /* the thread's */
    struct buffer sending, request;
    atomic_llong until_ms; /* of the flush; 0: it goes on */
    int64_t down_since_ms; /* 0: the last post was answered */
    int64_t pause_ms;
    int64_t dropped_before; /* as it was when the outage began */
    uint64_t random;
};

/* --------------------------------------------------------------------------------------------------------- requests */

/* What stands around the spans of each request. */
static void frame(struct tracer *tracer, const struct tracer_options *options)
{
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    const struct trace_attribute attributes[] = {
        {.key = "service.name", .text = span_of(options->service)},
        {.key = "service.instance.id", .text = span_of(options->instance == NULL ? "" : options->instance)},
        {.key = "host.name", .text = span_of(host)},
        {.key = "process.pid", .number = getpid()},
        {.key = "telemetry.sdk.name", .text = SPAN("sluice")},
        {.key = "telemetry.sdk.language", .text = SPAN("c")},
        {.key = "telemetry.sdk.version", .text = SPAN(SLUICE_VERSION)},
    };
    buffer_text(&tracer->before, "{\"resourceSpans\":[{\"resource\":{\"attributes\":");
    trace_record_attributes(&tracer->before, attributes, sizeof attributes / sizeof attributes[0]);
    buffer_text(&tracer->before,
                "},\"scopeSpans\":[{\"scope\":{\"name\":\"sluice\",\"version\":\"" SLUICE_VERSION "\"},\"spans\":[");
    buffer_text(&tracer->after, "]}]}]}");
}

/* The next request of what is left of the lines; how many spans it has. */
static int64_t compose(struct tracer *tracer, struct span *lines)
{
    int64_t count = 0;
    buffer_clear(&tracer->request);
    buffer_span(&tracer->request, buffer_view(&tracer->before));
    for (; lines->length > 0 && count < TRACER_POST_SPANS; count++) {
        const char *end = memchr(lines->at, '\n', lines->length);
        struct span line = {lines->at, (size_t)(end - lines->at)};
        if (count > 0)
            buffer_byte(&tracer->request, ',');
        buffer_span(&tracer->request, line);
        *lines = (struct span){end + 1, lines->length - line.length - 1};
    }
    buffer_span(&tracer->request, buffer_view(&tracer->after));
    return count;
}

static int64_t count_lines(struct span lines)
{
    int64_t count = 0;
    for (size_t i = 0; i < lines.length; i++)
        count += lines.at[i] == '\n';
    return count;
}

/* ------------------------------------------------------------------------------------------------------- the thread */

static bool is_stopping(struct tracer *tracer)
{
    return atomic_load(&tracer->until_ms) != 0;
}

static bool time_is_over(struct tracer *tracer)
{
    int64_t until = atomic_load(&tracer->until_ms);
    return until != 0 && clock_monotonic_ms() >= until;
}

/* Until then, or until the process stops. */
static void wait_until(struct tracer *tracer, int64_t until_ms)
{
    pthread_mutex_lock(&tracer->lock);
    while (!tracer->stop && cond_timedwait_ms(&tracer->changed, &tracer->lock, until_ms) == 0)
        continue;
    pthread_mutex_unlock(&tracer->lock);
}

static void outage_begins(struct tracer *tracer, const struct sender_answer *answer)
{
    if (tracer->down_since_ms != 0)
        return;
    tracer->down_since_ms = clock_monotonic_ms();
    tracer->dropped_before = series_value(tracer->dropped);
    log_warn("trace", "the collector at %s takes no spans: %s; they wait, and those that find no room are dropped",
             sender_url(tracer->sender), answer->why);
}

static void outage_ends(struct tracer *tracer)
{
    if (tracer->down_since_ms == 0)
        return;
    log_info("trace", "the collector at %s takes spans again after %lld s; %lld were dropped",
             sender_url(tracer->sender), (long long)(clock_monotonic_ms() - tracer->down_since_ms) / 1000,
             (long long)(series_value(tracer->dropped) - tracer->dropped_before));
    tracer->down_since_ms = 0;
}

static void pause_after(struct tracer *tracer, const struct sender_answer *answer)
{
    tracer->pause_ms = tracer->pause_ms == 0 ? PAUSE_MS : tracer->pause_ms * 2;
    if (tracer->pause_ms > PAUSE_MAX_MS)
        tracer->pause_ms = PAUSE_MAX_MS;
    int64_t pause = tracer->pause_ms + (int64_t)((double)tracer->pause_ms * 0.2 * random_unit(&tracer->random));
    if (answer->retry_after_ms > 0) /* the collector knows better */
        pause = answer->retry_after_ms > PAUSE_ASKED_MAX_MS ? PAUSE_ASKED_MAX_MS : answer->retry_after_ms;
    wait_until(tracer, clock_monotonic_ms() + pause);
}

/* Sends one request until it is answered; false: there was no time for it. */
static bool send_request(struct tracer *tracer, int64_t count)
{
    struct sender_answer answer;
    for (bool last = false; !last;) {
        last = is_stopping(tracer);
        sender_post(tracer->sender, buffer_view(&tracer->request), &answer);
        if (answer.result != SENDER_AGAIN)
            break;
        outage_begins(tracer, &answer);
        if (!is_stopping(tracer))
            pause_after(tracer, &answer);
    }
    if (answer.result == SENDER_AGAIN)
        return false;
    outage_ends(tracer);
    tracer->pause_ms = 0;
    int64_t rejected = answer.result == SENDER_REFUSED || answer.rejected > count ? count : answer.rejected;
    series_add(tracer->sent, count - rejected);
    series_add(tracer->refused, rejected);
    if (rejected > 0)
        log_rarely(REFUSED_LOG_MS, LOG_WARN, "trace", "the collector at %s refused %lld of %lld spans: %s",
                   sender_url(tracer->sender), (long long)rejected, (long long)count, answer.why);
    return true;
}

static void send_all(struct tracer *tracer)
{
    struct span lines = buffer_view(&tracer->sending);
    while (lines.length > 0) {
        int64_t count = time_is_over(tracer) ? 0 : compose(tracer, &lines);
        if (count > 0 && send_request(tracer, count))
            continue;
        series_add(tracer->dropped, count + count_lines(lines));
        break;
    }
    buffer_clear(&tracer->sending);
}

/* Waits for spans, and for more of them for a moment; then `sending` has them. False: there are none, and there will be
 * none. */
static bool take(struct tracer *tracer)
{
    pthread_mutex_lock(&tracer->lock);
    while (tracer->filling.length == 0 && !tracer->stop)
        pthread_cond_wait(&tracer->changed, &tracer->lock);
    int64_t until = clock_monotonic_ms() + TRACER_WAIT_MS;
    while (tracer->filling.length < SEND_EARLY && !tracer->stop &&
           cond_timedwait_ms(&tracer->changed, &tracer->lock, until) == 0)
        continue;
    struct buffer filled = tracer->filling;
    tracer->filling = tracer->sending;
    tracer->sending = filled;
    pthread_mutex_unlock(&tracer->lock);
    return tracer->sending.length > 0;
}

static void *tracer_main(void *context)
{
    struct tracer *tracer = context;
    while (take(tracer))
        send_all(tracer);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------------- the tracer */

static void tracer_free(struct tracer *tracer)
{
    sender_destroy(tracer->sender);
    buffer_free(&tracer->before);
    buffer_free(&tracer->after);
    buffer_free(&tracer->filling);
    buffer_free(&tracer->sending);
    buffer_free(&tracer->request);
    pthread_cond_destroy(&tracer->changed);
    pthread_mutex_destroy(&tracer->lock);
    free(tracer);
}

/* It inherits a mask that leaves every signal to the others. */
static int thread_start(struct tracer *tracer)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&tracer->thread, NULL, tracer_main, tracer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static int collector_create(const struct tracer_options *options, struct sender **ret, struct error *error)
{
    int code = sender_create(options->url, options->headers, options->header_count, ret, error);
    return code == 0 ? 0 : error_prefix(error, "tracing.otlp");
}

int tracer_create(const struct tracer_options *options, struct tracer **ret, struct error *error)
{
    struct tracer *tracer = calloc(1, sizeof *tracer);
    if (tracer == NULL)
        return error_set(error, ENOMEM, "tracing: there is no memory");
    pthread_mutex_init(&tracer->lock, NULL);
    cond_init_monotonic(&tracer->changed);
    tracer->sample = options->sample;
    tracer->messaging = options->messaging;
    tracer->random = (uint64_t)clock_monotonic_ns() | 1;
    tracer->sent = metrics_series(options->metrics, METRIC_TRACE_SPANS, "sent", NULL);
    tracer->dropped = metrics_series(options->metrics, METRIC_TRACE_SPANS, "dropped", NULL);
    tracer->refused = metrics_series(options->metrics, METRIC_TRACE_SPANS, "refused", NULL);
    buffer_init(&tracer->before, FRAME_MAX);
    buffer_init(&tracer->after, FRAME_MAX);
    buffer_init(&tracer->filling, TRACER_QUEUE_MAX);
    buffer_init(&tracer->sending, TRACER_QUEUE_MAX);
    buffer_init(&tracer->request, TRACER_QUEUE_MAX + 2 * FRAME_MAX + TRACER_POST_SPANS);
    frame(tracer, options);
    int code = 0;
    /* All that they will ever hold: nothing is allocated while a lane holds the lock. */
    if (buffer_reserve(&tracer->filling, TRACER_QUEUE_MAX) == NULL ||
        buffer_reserve(&tracer->sending, TRACER_QUEUE_MAX) == NULL || tracer->before.failed || tracer->after.failed)
        code = error_set(error, ENOMEM, "tracing: there is no memory");
    if (code == 0)
        code = collector_create(options, &tracer->sender, error);
    if (code == 0 && (code = thread_start(tracer)) != 0)
        code = error_set(error, code, "tracing: no thread to send spans");
    if (code != 0) {
        tracer_free(tracer);
        return code;
    }
    *ret = tracer;
    return 0;
}

void tracer_destroy(struct tracer *tracer)
{
    if (tracer == NULL)
        return;
    int64_t until = clock_monotonic_ms() + TRACER_FLUSH_MS, dropped = series_value(tracer->dropped);
    pthread_mutex_lock(&tracer->lock);
    tracer->stop = true;
    atomic_store(&tracer->until_ms, until);
    pthread_cond_broadcast(&tracer->changed);
    pthread_mutex_unlock(&tracer->lock);
    sender_hurry(tracer->sender, until);
    pthread_join(tracer->thread, NULL);
    if (series_value(tracer->dropped) > dropped)
        log_warn("trace", "%lld spans were not sent: the collector at %s had not taken them when the process ended",
                 (long long)(series_value(tracer->dropped) - dropped), sender_url(tracer->sender));
    tracer_free(tracer);
}

int tracer_probe(const struct tracer_options *options, struct error *error)
{
    struct sender *sender = NULL;
    struct sender_answer answer;
    int code = collector_create(options, &sender, error);
    if (code != 0)
        return code;
    sender_post(sender, SPAN("{\"resourceSpans\":[]}"), &answer);
    if (answer.result != SENDER_TAKEN)
        code = error_set(error, ECONNREFUSED, "the collector at %s takes no spans: %s", sender_url(sender), answer.why);
    sender_destroy(sender);
    return code;
}

double tracer_sample(const struct tracer *tracer)
{
    return tracer->sample;
}

const char *tracer_messaging(const struct tracer *tracer)
{
    return tracer->messaging;
}

void tracer_add(struct tracer *tracer, const struct buffer *spans, size_t count)
{
    bool room = !spans->failed;
    pthread_mutex_lock(&tracer->lock);
    bool empty = tracer->filling.length == 0;
    room = room && tracer->filling.length + spans->length <= TRACER_QUEUE_MAX;
    if (room)
        buffer_span(&tracer->filling, buffer_view(spans));
    bool wake = room && (empty || tracer->filling.length >= SEND_EARLY);
    pthread_mutex_unlock(&tracer->lock);
    if (wake)
        pthread_cond_signal(&tracer->changed);
    if (!room)
        series_add(tracer->dropped, (int64_t)count);
}
