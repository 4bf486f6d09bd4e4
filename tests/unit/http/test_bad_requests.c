/*
 * test_bad_requests.c - requests that are wrong: what each gets, and that the listener goes on.
 *
 * A row without a word is answered by libmicrohttpd before the listener sees it.
 */
#include "fake_engine.h"

#define HOST "Host: t\r\n"
#define JSON "Content-Type: application/json\r\n"
#define HEADERS_10 "A: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\nA: 6\r\nA: 7\r\nA: 8\r\nA: 9\r\nA: 10\r\n"
#define HEADERS_60 HEADERS_10 HEADERS_10 HEADERS_10 HEADERS_10 HEADERS_10 HEADERS_10

struct row {
    const char *name, *request;
    size_t length; /* 0: up to the first NUL */
    int status;
    const char *word; /* of the body; NULL: the answer is libmicrohttpd's own */
    bool closes;      /* the connection, whatever the client wants */
};

#define ROW_BYTES(text) (text), sizeof text - 1

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_rows_in_pieces, stage_setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
