/*
 * test_tracer.c - the queue and its thread, against a collector that this program is: taken, refused in part and whole,
 * away for a moment, silent; what is dropped is counted, and the end is bounded.
 */
#include "check.h"

#include "base/clock.h"
#include "trace/tracer.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVED_MAX = 64 * 1024, WAIT_MS = 60000 };

struct collector {
    int fd, port;
    pthread_t thread;
    atomic_bool stop, silent;
    const char *answers[8]; /* whole answers, one for each of the first requests; afterwards 200 */
    atomic_int requests, spans;
    char head[4096]; /* of the last request */
};

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/* Reads one request; its spans, or -1 when the connection ended. */
static int receive(struct collector *collector, int fd)
{
    static char bytes[RECEIVED_MAX * 32];
    size_t length = 0, whole = 0;
    while (whole == 0 || length < whole) {
        struct pollfd poll_fd = {fd, POLLIN, 0};
        if (poll(&poll_fd, 1, 100) == 0) {
            if (atomic_load(&collector->stop))
                return -1;
            continue;
        }
        ssize_t got = read(fd, bytes + length, sizeof bytes - length - 1);
        if (got <= 0)
            return -1;
        length += (size_t)got;
        bytes[length] = '\0';
        const char *end = strstr(bytes, "\r\n\r\n"), *size = strcasestr(bytes, "content-length:");
        if (end != NULL && size != NULL)
            whole = (size_t)(end + 4 - bytes) + strtoul(size + 15, NULL, 10);
    }
    snprintf(collector->head, sizeof collector->head, "%.*s", 2000, bytes);
    int spans = 0;
    for (const char *at = bytes; (at = strstr(at, "\"spanId\"")) != NULL; at++)
        spans++;
    return spans;
}

static void serve(struct collector *collector, int fd)
{
    for (int spans; (spans = receive(collector, fd)) >= 0;) {
        while (atomic_load(&collector->silent) && !atomic_load(&collector->stop))
            usleep(10000);
        int nth = atomic_fetch_add(&collector->requests, 1);
        const char *answer = nth < 8 && collector->answers[nth] != NULL ? collector->answers[nth] : ok;
        if (strstr(answer, " 200 ") != NULL)
            atomic_fetch_add(&collector->spans, spans);
        if (write(fd, answer, strlen(answer)) < 0)
            break;
    }
    close(fd);
}

static void *collector_main(void *context)
{
    struct collector *collector = context;
    while (!atomic_load(&collector->stop)) {
        struct pollfd poll_fd = {collector->fd, POLLIN, 0};
        if (poll(&poll_fd, 1, 50) == 1)
            serve(collector, accept(collector->fd, NULL, NULL));
    }
    return NULL;
}

static void collector_start(struct collector *collector)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    collector->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(collector->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(collector->fd, 16), 0);
    assert_int_equal(getsockname(collector->fd, (struct sockaddr *)&address, &length), 0);
    collector->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&collector->thread, NULL, collector_main, collector), 0);
}

static void collector_stop(struct collector *collector)
{
    atomic_store(&collector->stop, true);
    pthread_join(collector->thread, NULL);
    close(collector->fd);
}

struct fixture {
    struct collector collector;
    struct metrics *metrics;
    struct tracer *tracer;
};

static struct tracer *tracer_to(struct fixture *fixture)
{
    char url[100];
    struct error error = {0};
    struct trace_header header = {"authorization", "Bearer secret"};
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/traces", fixture->collector.port);
    struct tracer_options options = {.url = url,
                                     .headers = &header,
                                     .header_count = 1,
                                     .sample = 0.5,
                                     .service = "test",
                                     .instance = "one",
                                     .messaging = "memory",
                                     .metrics = fixture->metrics};
    if (tracer_create(&options, &fixture->tracer, &error) != 0)
        fail_msg("%s", error.text);
    return fixture->tracer;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->metrics = metrics_create();
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    metrics_destroy(fixture->metrics);
    free(fixture);
    return 0;
}

static int64_t count(struct fixture *fixture, const char *outcome)
{
    return series_value(metrics_series(fixture->metrics, METRIC_TRACE_SPANS, outcome, NULL));
}

static void await(struct fixture *fixture, const char *outcome, int64_t wanted)
{
    int64_t until = clock_monotonic_ms() + WAIT_MS;
    while (count(fixture, outcome) < wanted && clock_monotonic_ms() < until)
        usleep(5000);
    assert_int_equal(count(fixture, outcome), wanted);
}

/* So many spans, in one batch; their bytes. */
static size_t add(struct fixture *fixture, size_t spans)
{
    struct buffer out;
    struct trace_span span = {.kind = TRACE_INTERNAL, .name = SPAN("x"), .context.span = 1};
    buffer_init(&out, 64 * 1024 * 1024);
    for (size_t i = 0; i < spans; i++)
        trace_record(&out, &span);
    tracer_add(fixture->tracer, &out, spans);
    size_t length = out.length;
    buffer_free(&out);
    return length;
}

static void taken_in_requests_of_a_size(void **state)
{
    struct fixture *fixture = *state;
    collector_start(&fixture->collector);
    tracer_to(fixture);
    add(fixture, 2 * TRACER_POST_SPANS + 1);
    await(fixture, "sent", 2 * TRACER_POST_SPANS + 1);
    assert_int_equal(fixture->collector.requests, 3);
    add(fixture, 3); /* the end flushes */
    tracer_destroy(fixture->tracer);
    assert_int_equal(count(fixture, "sent"), 2 * TRACER_POST_SPANS + 4);
    assert_int_equal(fixture->collector.spans, 2 * TRACER_POST_SPANS + 4);
    assert_int_equal(count(fixture, "dropped"), 0);
    collector_stop(&fixture->collector);
    assert_non_null(strstr(fixture->collector.head, "POST /v1/traces HTTP/1.1\r\n"));
    assert_non_null(strstr(fixture->collector.head, "authorization: Bearer secret\r\n"));
    assert_non_null(strstr(fixture->collector.head, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(fixture->collector.head, "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"test\"}}"));
}

static void refused_whole_and_in_part(void **state)
{
    static const char part[] = "HTTP/1.1 200 OK\r\nContent-Length: 72\r\n\r\n"
                               "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"too many spans\"}}";
    struct fixture *fixture = *state;
    fixture->collector.answers[0] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    fixture->collector.answers[1] = part;
    assert_int_equal(strlen(strstr(part, "\r\n\r\n") + 4), 72);
    collector_start(&fixture->collector);
    tracer_to(fixture);
    add(fixture, 4);
    await(fixture, "refused", 4);
    add(fixture, 5);
    await(fixture, "sent", 3);
    assert_int_equal(count(fixture, "refused"), 6);
    tracer_destroy(fixture->tracer);
    assert_int_equal(count(fixture, "dropped"), 0);
    collector_stop(&fixture->collector);
}

static void sent_again_when_asked_to(void **state)
{
    struct fixture *fixture = *state;
    fixture->collector.answers[0] = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    fixture->collector.answers[1] = "HTTP/1.1 429 Slower\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    collector_start(&fixture->collector);
    tracer_to(fixture);
    int64_t began = clock_monotonic_ms();
    add(fixture, 4);
    await(fixture, "sent", 4);
    assert_int_equal(fixture->collector.requests, 3);
    assert_true(clock_monotonic_ms() - began >= 2000);
    assert_int_equal(count(fixture, "refused") + count(fixture, "dropped"), 0);
    tracer_destroy(fixture->tracer);
    collector_stop(&fixture->collector);
}

/* Nobody is there: what there is room for waits, the rest is dropped; the end is quick. */
static void nobody_there(void **state)
{
    struct fixture *fixture = *state;
    collector_start(&fixture->collector);
    collector_stop(&fixture->collector); /* the port is free */
    tracer_to(fixture);
    size_t added = 0, bytes = 0;
    for (int64_t until = clock_monotonic_ms() + WAIT_MS; count(fixture, "dropped") == 0 && clock_monotonic_ms() < until;
         added += 1000)
        bytes += add(fixture, 1000);
    assert_true(count(fixture, "dropped") > 0);
    assert_true(bytes > TRACER_QUEUE_MAX);
    int64_t began = clock_monotonic_ms();
    tracer_destroy(fixture->tracer);
    assert_true(clock_monotonic_ms() - began < TRACER_FLUSH_MS + 20000);
    assert_int_equal(count(fixture, "dropped"), added);
}

/* It took the connection and says nothing: the end does not wait for its answer. */
static void silent(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->collector.silent, true);
    collector_start(&fixture->collector);
    tracer_to(fixture);
    add(fixture, 10);
    usleep((TRACER_WAIT_MS + 200) * 1000);
    add(fixture, 10);
    int64_t began = clock_monotonic_ms();
    tracer_destroy(fixture->tracer);
    int64_t took = clock_monotonic_ms() - began;
    assert_true(took < SENDER_TIMEOUT_MS - 1000); /* not until the post itself gives up */
    assert_int_equal(count(fixture, "dropped"), 20);
    collector_stop(&fixture->collector);
}

/* More threads than lanes add, while it is sent. */
static void *add_many(void *context)
{
    for (int i = 0; i < 200; i++)
        add(context, 7);
    return NULL;
}

static void many_threads(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[4];
    collector_start(&fixture->collector);
    tracer_to(fixture);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, fixture), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    await(fixture, "sent", 4 * 200 * 7);
    assert_int_equal(fixture->collector.spans, 4 * 200 * 7);
    tracer_destroy(fixture->tracer);
    collector_stop(&fixture->collector);
}

static void a_probe(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    char url[100];
    fixture->collector.answers[0] = ok;
    fixture->collector.answers[1] = "HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    collector_start(&fixture->collector);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/traces?key=secret", fixture->collector.port);
    struct tracer_options options = {.url = url};
    assert_int_equal(tracer_probe(&options, &error), 0);
    assert_int_not_equal(tracer_probe(&options, &error), 0);
    snprintf(url, sizeof url, "the collector at http://127.0.0.1:%d/v1/traces takes no spans: it answers 401",
             fixture->collector.port);
    assert_string_equal(error.text, url);
    collector_stop(&fixture->collector);
    assert_int_not_equal(tracer_probe(&options, &error), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(taken_in_requests_of_a_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_whole_and_in_part, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sent_again_when_asked_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_probe, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
