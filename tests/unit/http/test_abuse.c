/*
 * test_abuse.c - what clients must not be able to do: every row costs an answer or a hang-up, bounded memory, bounded time.
 *
 * After each row the listener still answers on a new connection.
 */
#include "fake_engine.h"

#include <dirent.h>
#include <sys/resource.h>

enum { TIMEOUT_MS = 1500, SLACK_MS = 4000 /* on a machine that is busy */ };

static int setup(void **state)
{
    static struct stage stage;
    stage_start(&stage, TIMEOUT_MS);
    *state = &stage;
    return 0;
}

static int teardown(void **state)
{
    stage_stop(*state);
    return 0;
}

#define HOST "Host: t\r\n"
#define JSON "Content-Type: application/json\r\n"
#define HEADERS_10 "A: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\nA: 6\r\nA: 7\r\nA: 8\r\nA: 9\r\nA: 10\r\n"
#define HEADERS_60 HEADERS_10 HEADERS_10 HEADERS_10 HEADERS_10 HEADERS_10 HEADERS_10

struct row {
    const char *name, *request;
    size_t length; /* 0: up to the first NUL */
    int status;
    const char *word; /* of the body; NULL: the answer is libmicrohttpd's own */
    bool closes; /* the connection, whatever the client wants */
};

#define ROW_BYTES(text) (text), sizeof(text) - 1

static const struct row rows[] = {
    /* what is not HTTP */
    {"HTTP/0.9", "GET /healthz\r\n\r\n", 0, 400, NULL, true},
    {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, 505, NULL, true},
    {"HTTP/0.9 with a version", "GET /healthz HTTP/0.9\r\n\r\n", 0, 505, NULL, true},
    {"a version that is none", "GET /healthz HTTP/1.1x\r\n" HOST "\r\n", 0, 400, NULL, true},
    {"TLS", ROW_BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 x\r\n\r\n"), 400, NULL, true},
    {"a field without a colon", "GET /healthz HTTP/1.1\r\n" HOST "nonsense\r\n\r\n", 0, 400, NULL, true},
    /* Host */
    {"no Host", "GET /healthz HTTP/1.1\r\n\r\n", 0, 400, "bad_host", true},
    {"no Host in HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", 0, 200, "ok", true},
    {"two Hosts", "GET /healthz HTTP/1.1\r\n" HOST HOST "\r\n", 0, 400, "bad_host", true},
    /* the length of a body */
    {"a body on GET", "GET /healthz HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n\r\n{}", 0, 400, "unexpected_body",
     true},
    {"a chunked body on GET", "GET /payments/1 HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0,
     400, "unexpected_body", true},
    {"a body of no bytes on GET", "GET /healthz HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 0, 200, "ok", false},
    {"a negative Content-Length", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: -2\r\n\r\n{}", 0, 400, NULL,
     true},
    {"a Content-Length with a plus", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: +2\r\n\r\n{}", 0, 400,
     NULL, true},
    {"a Content-Length in hexadecimal", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 0x2\r\n\r\n{}", 0, 400,
     NULL, true},
    {"a Content-Length of two numbers", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 2, 2\r\n\r\n{}", 0,
     400, NULL, true},
    {"no number at all", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length:\r\n\r\n{}", 0, 400, NULL, true},
    {"a Content-Length over 2^64",
     "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 99999999999999999999\r\n\r\n{}", 0, 413, NULL, true},
    {"two Content-Lengths, different",
     "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}", 0, 400,
     "bad_content_length", true},
    {"two Content-Lengths, equal",
     "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 0, 400,
     "bad_content_length", true},
    {"chunked and a length",
     "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400,
     "bad_transfer_encoding", true},
    {"a length and chunked",
     "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", 0, 400,
     "bad_transfer_encoding", true},
    {"gzip, chunked", "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0,
     400, "bad_transfer_encoding", true},
    {"chunked twice",
     "POST /payments HTTP/1.1\r\n" HOST JSON
     "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     0, 400, "bad_transfer_encoding", true},
    {"chunked in HTTP/1.0", "POST /payments HTTP/1.0\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400,
     "bad_transfer_encoding", true},
    {"a space before the colon", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length : 2\r\n\r\n{}", 0, 400,
     "bad_header", true},
    {"a field that goes on", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 2\r\n chunked\r\n\r\n{}", 0, 400,
     "bad_header", true},
    {"a chunk with a bad size",
     "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 0, 400, NULL,
     true},
    {"a chunk longer than it says",
     "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", 0, 400, NULL,
     true},
    {"a chunk of 2^64 bytes",
     "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{}", 0, 413, NULL,
     true},
    {"a length of far too much", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 999999999\r\n\r\n{}", 0, 413,
     "body_too_large", true},
    {"asking first with a length of too much",
     "POST /payments HTTP/1.1\r\n" HOST JSON "Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n", 0, 413,
     "body_too_large", true},
    /* the type of a body */
    {"a body without a type", "POST /payments HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}", 0, 415,
     "unsupported_media_type", false},
    {"a form",
     "POST /payments HTTP/1.1\r\n" HOST
     "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b",
     0, 415, "unsupported_media_type", false},
    {"a type that only begins like JSON",
     "POST /payments HTTP/1.1\r\n" HOST "Content-Type: application/jsonx\r\nContent-Length: 2\r\n\r\n{}", 0, 415,
     "unsupported_media_type", false},
    {"gzip", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 0, 415,
     "unsupported_encoding", false},
    {"two types", "POST /payments HTTP/1.1\r\n" HOST JSON JSON "Content-Length: 2\r\n\r\n{}", 0, 400, "bad_header",
     false},
    /* fields */
    {"64 fields", "GET /healthz HTTP/1.1\r\n" HOST HEADERS_60 "B: 1\r\nB: 2\r\nB: 3\r\n\r\n", 0, 200, "ok", false},
    {"65 fields", "GET /healthz HTTP/1.1\r\n" HOST HEADERS_60 "B: 1\r\nB: 2\r\nB: 3\r\nB: 4\r\n\r\n", 0, 431,
     "header_too_large", true},
    {"a carriage return in a value", "GET /healthz HTTP/1.1\r\n" HOST "X: a\rSet-Cookie: b\r\n\r\n", 0, 400,
     "bad_header", true},
    {"a control character in a value", "GET /healthz HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", 0, 400, "bad_header", true},
    {"a name with a slash", "GET /healthz HTTP/1.1\r\n" HOST "a/b: 1\r\n\r\n", 0, 400, "bad_header", true},
    {"no name", "GET /healthz HTTP/1.1\r\n" HOST ": 1\r\nContent-Length: 2\r\n\r\n{}", 0, 400, "bad_header", true},
    {"only a colon", "GET /healthz HTTP/1.1\r\n" HOST ":\r\nX: 1\r\n\r\n", 0, 400, "bad_header", true},
    {"no name, first", "GET /healthz HTTP/1.1\r\n:\r\n" HOST "\r\n", 0, 400, NULL, true},
    {"a NUL byte in a value", ROW_BYTES("GET /healthz HTTP/1.1\r\nX: a\0b\r\n" HOST "\r\n"), 400, "bad_header", true},
    {"a NUL byte in the last value", ROW_BYTES("GET /healthz HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n"), 400, "bad_header",
     true},
    {"lines that end in LF", "GET /healthz HTTP/1.1\n" HOST "\n\n", 0, 400, "bad_header", true},
    {"one line that ends in LF", "GET /healthz HTTP/1.1\r\nX: 1\n" HOST "\r\n", 0, 400, "bad_header", true},
    {"empty fields", "GET /healthz HTTP/1.1\r\n" HOST "X:\r\nY:   \r\nZ: 1 \r\n\r\n", 0, 200, "ok", false},
    {"a field that goes on, first", "GET /healthz HTTP/1.1\r\n X: 1\r\n" HOST "\r\n", 0, 400, "bad_header", true},
    {"an empty Idempotency-Key", "POST /payments HTTP/1.1\r\n" HOST "Idempotency-Key:\r\n\r\n", 0, 400,
     "bad_idempotency_key", false},
    {"two Idempotency-Keys", "POST /payments HTTP/1.1\r\n" HOST "Idempotency-Key: a\r\nIdempotency-Key: a\r\n\r\n", 0,
     400, "bad_idempotency_key", false},
    {"an Idempotency-Key that is not ASCII", "POST /payments HTTP/1.1\r\n" HOST "Idempotency-Key: \xc3\xa9\r\n\r\n", 0,
     400, "bad_idempotency_key", false},
    {"a traceparent that is none", "POST /payments HTTP/1.1\r\n" HOST "traceparent: 00-zz-01\r\n\r\n", 0, 202,
     "\"trace\":null", false},
    /* targets */
    {"%00", "GET /payments/a%00b HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"%00 in the query", "GET /payments/1?a=%00 HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"a NUL byte", ROW_BYTES("GET /healthz\0/../x HTTP/1.1\r\n" HOST "\r\n"), 400, "bad_header", true},
    {"a NUL byte in the query", ROW_BYTES("GET /healthz?a=\0b HTTP/1.1\r\n" HOST "\r\n"), 400, "bad_header", true},
    {"..", "GET /payments/../healthz HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {".. escaped", "GET /payments/%2e%2E HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {".", "GET /./healthz HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"an escape cut short", "GET /payments/a%2 HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"an escape that is none", "GET /payments/a%zz HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"CR and LF escaped", "GET /payments/a%0d%0aSet-Cookie:%20b HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"overlong UTF-8", "GET /payments/%c0%ae%c0%ae HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"a surrogate", "GET /payments/%ed%a0%80 HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"bytes that are not escaped", "GET /payments/\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"a space", "GET /payments/a b HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"a fragment", "GET /payments/a#b HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"a whole URL", "GET http://t/healthz HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"a tunnel", "CONNECT t:80 HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_target", false},
    {"33 segments", "GET /1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3 HTTP/1.1\r\n" HOST "\r\n",
     0, 400, "bad_target", false},
    {"a parameter without a name", "GET /payments/1?=2 HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_query", false},
    {"a parameter twice", "GET /payments/1?a=1&%61=2 HTTP/1.1\r\n" HOST "\r\n", 0, 400, "bad_query", false},
    {"a method of one's own", "BREW /payments HTTP/1.1\r\n" HOST "\r\n", 0, 405, "method_not_allowed", false},
};

static void check_row(struct stage *stage, const struct row *row)
{
    struct client client;
    client_open(&client, stage->port);
    client_send(&client, row->request, row->length == 0 ? strlen(row->request) : row->length);
    struct answer answer = client_answer(&client, false);
    if (answer.status != row->status)
        fail_msg("%s: wanted %d, got %d: %s", row->name, row->status, answer.status, answer.body);
    if (row->word != NULL && strstr(answer.body, row->word) == NULL)
        fail_msg("%s: wanted \"%s\" in: %s", row->name, row->word, answer.body);
    if (row->word != NULL && strstr(answer.head, "Content-Type: application/json\r\n") == NULL)
        fail_msg("%s: the answer is not JSON: %s", row->name, answer.head);
    if (row->closes) {
        if (!client_ended(&client))
            fail_msg("%s: the connection stayed open", row->name);
    } else { /* the next request on the same connection is not mistaken */
        client_say(&client, "GET /healthz HTTP/1.1\r\n" HOST "\r\n");
        answer = client_answer(&client, false);
        if (answer.status != 200)
            fail_msg("%s: the next request on the connection got %d", row->name, answer.status);
    }
    client_close(&client);
    if (get(stage->port, "/healthz").status != 200)
        fail_msg("%s: the listener does not answer any more", row->name);
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_row(*state, &rows[i]);
}

/* The same bytes, one at a time: no row may depend on how a request is cut. */
static void test_rows_in_pieces(void **state)
{
    struct stage *stage = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t length = rows[i].length == 0 ? strlen(rows[i].request) : rows[i].length;
        struct client client;
        client_open(&client, stage->port);
        for (size_t at = 0; at < length && client_send(&client, rows[i].request + at, 1); at++)
            if (at % 16 == 0)
                poll(NULL, 0, 1);
        struct answer answer = client_answer(&client, false);
        if (answer.status != rows[i].status && !(answer.status == 0 && rows[i].closes)) /* reset before it was read */
            fail_msg("%s, in pieces: wanted %d, got %d: %s", rows[i].name, rows[i].status, answer.status, answer.body);
        client_close(&client);
    }
}

/* ------------------------------------------------------------------ sizes */

static void test_header_sizes(void **state)
{
    struct stage *stage = *state;
    static char request[20000];
    const struct {
        size_t size;
        int status;
    } cases[] = {{8192, 200}, {8193, 431}, {14000, 431}};
    for (size_t i = 0; i < 3; i++) {
        int length = snprintf(request, sizeof request, "GET /healthz HTTP/1.1\r\n" HOST "X: ");
        memset(request + length, 'x', cases[i].size);
        memcpy(request + cases[i].size - 4, "\r\n\r\n", 5);
        struct answer answer = ask(stage->port, request);
        if (answer.status != cases[i].status)
            fail_msg("a header of %zu bytes: wanted %d, got %d", cases[i].size, cases[i].status, answer.status);
        if (answer.status != 200)
            assert_has(answer.body, "\"error\":\"header_too_large\"");
    }
    memset(request, 'x', sizeof request); /* a target too long, without an end */
    memcpy(request, "GET /", 5);
    memcpy(request + 12000, " HTTP/1.1\r\n" HOST "\r\n", 23);
    assert_int_equal(ask(stage->port, request).status, 431);
}

static void test_key_sizes(void **state)
{
    struct stage *stage = *state;
    char request[512];
    for (int size = 127; size <= 129; size++) {
        snprintf(request, sizeof request, "POST /payments HTTP/1.1\r\n" HOST "Idempotency-Key: %0*d\r\n\r\n", size, 7);
        struct answer answer = ask(stage->port, request);
        if (answer.status != (size <= 128 ? 202 : 400))
            fail_msg("a key of %d characters: got %d", size, answer.status);
    }
}

static struct answer post_of(struct stage *stage, size_t size, bool chunked)
{
    struct client client;
    char head[256];
    char *body = malloc(size + 1);
    assert_non_null(body);
    memset(body, ' ', size);
    client_open(&client, stage->port);
    int length = chunked ? snprintf(head, sizeof head,
                                    "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
                                    size)
                         : snprintf(head, sizeof head,
                                    "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: %zu\r\n\r\n", size);
    if (client_send(&client, head, (size_t)length) && client_send(&client, body, size) && chunked)
        client_say(&client, "\r\n0\r\n\r\n");
    struct answer answer = client_answer(&client, false);
    client_close(&client);
    free(body);
    return answer;
}

static void test_body_sizes(void **state)
{
    struct stage *stage = *state;
    const size_t max = stage->engine->pipeline.http.max_body;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct answer answer = post_of(stage, 50000, chunked);
        assert_int_equal(answer.status, 202);
        answer = post_of(stage, max + 1, chunked);
        if (answer.status != 413)
            fail_msg("one byte too much, chunked %d: got %d", chunked, answer.status);
        assert_has(answer.body, "{\"error\":\"body_too_large\",");
        answer = post_of(stage, 10 * 1024 * 1024, chunked); /* may be hung up on before the answer can be read */
        assert_true(answer.status == 413 || answer.status == 0);
    }
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

/* A body in chunks says nowhere how long it is: it is read for a while, then the connection ends. */
static void test_endless_body(void **state)
{
    struct stage *stage = *state;
    static char chunk[7 + 65536 + 2];
    memset(chunk, ' ', sizeof chunk);
    memcpy(chunk, "10000\r\n", 7);
    memcpy(chunk + sizeof chunk - 2, "\r\n", 2);
    struct client client;
    client_open(&client, stage->port);
    client_say(&client, "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n");
    size_t sent = 0;
    while (sent < 32 * 1024 * 1024 && client_send(&client, chunk, sizeof chunk))
        sent += sizeof chunk;
    assert_true(sent < 32 * 1024 * 1024);
    client_close(&client);
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

static long memory_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void test_endless_header(void **state)
{
    struct stage *stage = *state;
    static char chunk[64 * 1024];
    memset(chunk, 'x', sizeof chunk);
    long before = memory_kib();
    struct client client;
    client_open(&client, stage->port);
    client_say(&client, "GET /healthz HTTP/1.1\r\n" HOST "X: ");
    size_t sent = 0;
    while (sent < 100 * 1024 * 1024 && client_send(&client, chunk, sizeof chunk))
        sent += sizeof chunk;
    if (sent >= 100 * 1024 * 1024)
        fail_msg("a header of 100 MiB was read to its end");
    struct answer answer = client_answer(&client, false);
    assert_true(answer.status == 431 || answer.status == 0);
    client_close(&client);
    if (!SANITIZED)
        assert_true(memory_kib() - before < 8 * 1024);
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

/* Bodies that never end, on many connections at once: what they hold together is bounded. */
static void test_many_bodies(void **state)
{
    enum { MANY = 200, EACH = 60000 };
    struct stage *stage = *state;
    static char body[EACH];
    int fds[MANY];
    struct client client = {0};
    long before = memory_kib();
    for (size_t i = 0; i < MANY; i++) {
        client.fd = fds[i] = client_connect(stage->port);
        client_say(&client, "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 65536\r\n\r\n");
        client_send(&client, body, EACH);
    }
    assert_int_equal(get(stage->port, "/healthz").status, 200);
    if (!SANITIZED)
        assert_true(memory_kib() - before < 64 * 1024);
    for (size_t i = 0; i < MANY; i++)
        close(fds[i]);
}

/* ------------------------------------------------------------------ time */

/* Sends `drip` again and again, a little at a time, and measures how long that is suffered. */
static int64_t drip(struct stage *stage, const char *begin, const char *drop)
{
    struct client client;
    client_open(&client, stage->port);
    int64_t before_ms = clock_monotonic_ms();
    client_say(&client, begin);
    while (clock_monotonic_ms() - before_ms < PATIENCE_MS) {
        struct pollfd ended = {.fd = client.fd, .events = POLLIN};
        if (poll(&ended, 1, 100) > 0 || !client_say(&client, drop))
            break;
    }
    client_close(&client);
    return clock_monotonic_ms() - before_ms;
}

static void test_slow_senders(void **state)
{
    struct stage *stage = *state;
    const struct {
        const char *name, *begin, *drop;
    } cases[] = {
        {"a request line", "G", "E"},
        {"a header", "GET /healthz HTTP/1.1\r\n" HOST, "X: y\r\n"},
        {"a body", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 60000\r\n\r\n", " "},
        {"a chunked body", "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"},
        {"empty lines", "\r\n", "\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t took_ms = drip(stage, cases[i].begin, cases[i].drop);
        if (took_ms > TIMEOUT_MS + SLACK_MS)
            fail_msg("%s, a piece at a time, was read for %lld ms", cases[i].name, (long long)took_ms);
    }
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

/* A second request on a connection has all its time again. */
static void test_time_is_per_request(void **state)
{
    struct stage *stage = *state;
    struct client client;
    client_open(&client, stage->port);
    for (int i = 0; i < 4; i++) {
        client_say(&client, "GET /healthz HTTP/1.1\r\n");
        poll(NULL, 0, TIMEOUT_MS / 2);
        client_say(&client, HOST "\r\n");
        assert_int_equal(client_answer(&client, false).status, 200);
    }
    client_close(&client);
}

static size_t open_files(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* Reads steadily, but so slowly that 16 MiB take 20 s. The listener, in this process, closes its end in time. */
static void test_slow_reader(void **state)
{
    struct stage *stage = *state;
    struct client client;
    int small = 64 * 1024;
    char bytes[16 * 1024];
    size_t before = open_files();
    client_open(&client, stage->port);
    setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_say(&client, "GET /large HTTP/1.1\r\n" HOST "\r\n");
    assert_true(recv(client.fd, bytes, sizeof bytes, 0) > 0);
    assert_int_equal(open_files(), before + 2);
    int64_t before_ms = clock_monotonic_ms();
    while (open_files() == before + 2 && clock_monotonic_ms() - before_ms < PATIENCE_MS) {
        poll(NULL, 0, 20);
        assert_true(recv(client.fd, bytes, sizeof bytes, 0) > 0);
    }
    assert_true(clock_monotonic_ms() - before_ms < TIMEOUT_MS + SLACK_MS);
    client_close(&client);

    client_open(&client, stage->port); /* one that reads gets all of it */
    client_say(&client, "GET /large HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    size_t got = 0;
    for (; client_more(&client); client.length = 0)
        got += client.length;
    assert_true(got > LARGE);
    client_close(&client);
}

/* More silent connections than the listener has room for: the first ones are ended, and the others are served. */
static void test_idle_connections(void **state)
{
    enum { IDLE = 300 };
    struct stage *stage = *state;
    int fds[IDLE];
    for (size_t i = 0; i < IDLE; i++)
        assert_true((fds[i] = client_connect(stage->port)) >= 0);
    int64_t before_ms = clock_monotonic_ms();
    assert_int_equal(get(stage->port, "/healthz").status, 200);
    assert_true(clock_monotonic_ms() - before_ms < 5000 + TIMEOUT_MS + SLACK_MS);
    for (size_t i = 0; i < IDLE; i++)
        close(fds[i]);
}

static void test_half_requests(void **state)
{
    struct stage *stage = *state;
    const char *halves[] = {"",
                            "G",
                            "GET /healthz HTTP/1.1\r\n",
                            "GET /healthz HTTP/1.1\r\n" HOST "\r",
                            "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 100\r\n\r\n{",
                            "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n5\r\n{"};
    struct linger reset = {1, 0};
    for (size_t i = 0; i < 2 * sizeof halves / sizeof halves[0]; i++) {
        struct client client;
        client_open(&client, stage->port);
        client_say(&client, halves[i / 2]);
        if (i % 2 == 1)
            setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        client_close(&client);
    }
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

static void test_pipelined(void **state)
{
    enum { MANY = 500 };
    struct stage *stage = *state;
    struct client client;
    client_open(&client, stage->port);
    for (int i = 0; i < MANY; i++)
        assert_true(client_say(&client, "GET /payments/1 HTTP/1.1\r\n" HOST "\r\n"));
    for (int i = 0; i < MANY; i++) {
        struct answer answer = client_answer(&client, false);
        if (answer.status != 200)
            fail_msg("pipelined request %d got %d", i, answer.status);
    }
    client_close(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_header_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_body_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endless_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endless_header, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_senders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_is_per_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pipelined, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
