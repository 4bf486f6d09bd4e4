/*
 * sender.c - see sender.h.
 *
 * The multi interface, because its wait can be woken: the end of the process waits for no collector.
 */
#include "trace/sender.h"

#include "base/clock.h"
#include "event/json.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MAX = 128 * 1024, URL_MAX = 2048, BEARER_MAX = 64 * 1024, WAIT_MS = 1000 };

struct sender {
    CURL *curl;
    CURLM *multi;
    struct curl_slist *headers;
    struct buffer answer;
    char shown[URL_MAX];
    char error[CURL_ERROR_SIZE];
    atomic_llong until_ms; /* 0: nobody hurries */
};

static size_t take_answer(char *bytes, size_t size, size_t count, void *context)
{
    struct sender *sender = context;
    if (sender->answer.length + size * count <= sender->answer.max)
        buffer_append(&sender->answer, bytes, size * count); /* more than that is nothing that we read */
    return size * count;
}

/* Without what may be secret. */
static int url_shown(const char *url, char *ret, size_t size)
{
    static const CURLUPart secret[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_QUERY,
                                       CURLUPART_FRAGMENT};
    char *text = NULL;
    CURLU *parsed = curl_url();
    CURLUcode code = parsed == NULL ? CURLUE_OUT_OF_MEMORY : curl_url_set(parsed, CURLUPART_URL, url, 0);
    for (size_t i = 0; i < sizeof secret / sizeof secret[0] && code == CURLUE_OK; i++)
        code = curl_url_set(parsed, secret[i], NULL, 0);
    if (code == CURLUE_OK)
        code = curl_url_get(parsed, CURLUPART_URL, &text, 0);
    if (code == CURLUE_OK)
        snprintf(ret, size, "%s", text);
    curl_free(text);
    curl_url_cleanup(parsed);
    return code == CURLUE_OK ? 0 : code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}

static bool header_add(struct sender *sender, const char *line)
{
    struct curl_slist *longer = curl_slist_append(sender->headers, line);
    if (longer == NULL)
        return false;
    sender->headers = longer;
    return true;
}

static bool headers_set(struct sender *sender, const struct trace_header *headers, size_t count)
{
    bool good = header_add(sender, "Content-Type: application/json") && header_add(sender, "Expect:");
    for (size_t i = 0; i < count && good; i++) {
        size_t size = strlen(headers[i].name) + strlen(headers[i].value) + 3;
        char *line = malloc(size);
        good = line != NULL;
        if (good)
            snprintf(line, size, "%s: %s", headers[i].name, headers[i].value);
        good = good && header_add(sender, line);
        if (line != NULL)
            explicit_bzero(line, size);
        free(line);
    }
    return good && curl_easy_setopt(sender->curl, CURLOPT_HTTPHEADER, sender->headers) == CURLE_OK;
}

static bool options_set(struct sender *sender, const char *url)
{
    CURL *curl = sender->curl;
#if LIBCURL_VERSION_NUM >= 0x075500
    bool good = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
    bool good = curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)) == CURLE_OK;
#endif
    return good && curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)SENDER_CONNECT_MS) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)SENDER_TIMEOUT_MS) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, sender->error) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, sender) == CURLE_OK;
}

int sender_create(const char *url, const struct trace_header *headers, size_t header_count, struct sender **ret,
                  struct error *error)
{
    struct sender *sender = calloc(1, sizeof *sender);
    if (sender == NULL)
        return error_set(error, ENOMEM, "there is no memory for a client");
    buffer_init(&sender->answer, ANSWER_MAX);
    sender->curl = curl_easy_init();
    sender->multi = curl_multi_init();
    bool good = sender->curl != NULL && sender->multi != NULL;
    int code = good ? url_shown(url, sender->shown, sizeof sender->shown) : -ENOMEM;
    if (code == 0 && (!options_set(sender, url) || !headers_set(sender, headers, header_count)))
        code = -ENOMEM;
    if (code != 0) {
        sender_destroy(sender);
        return error_set(error, -code, "libcurl cannot send to that URL: %s",
                         code == -EINVAL ? "it is no URL" : "there is no memory");
    }
    *ret = sender;
    return 0;
}

void sender_destroy(struct sender *sender)
{
    if (sender == NULL)
        return;
    curl_easy_cleanup(sender->curl);
    curl_multi_cleanup(sender->multi);
    curl_slist_free_all(sender->headers);
    buffer_free(&sender->answer);
    free(sender);
}

int sender_create_engine(const char *url, const char *token, int64_t timeout_ms, struct sender **ret,
                         struct error *error)
{
    struct buffer bearer;
    buffer_init(&bearer, BEARER_MAX);
    buffer_format(&bearer, "Bearer %s", token == NULL ? "" : token);
    buffer_byte(&bearer, '\0');
    struct trace_header header = {"Authorization", bearer.at};
    int r = bearer.failed ? error_set(error, E2BIG, "http.token is longer than %d bytes", BEARER_MAX)
                          : sender_create(url, &header, token != NULL, ret, error);
    if (!bearer.failed)
        explicit_bzero(bearer.at, bearer.length);
    buffer_free(&bearer);
    if (r != 0)
        return r;
    curl_easy_setopt((*ret)->curl, CURLOPT_PROXY, "");
    curl_easy_setopt((*ret)->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    return 0;
}

struct span sender_body(const struct sender *sender)
{
    return buffer_view(&sender->answer);
}

const char *sender_url(const struct sender *sender)
{
    return sender->shown;
}

void sender_hurry(struct sender *sender, int64_t until_ms)
{
    atomic_store(&sender->until_ms, until_ms);
    curl_multi_wakeup(sender->multi);
}

/* How long the transfer may wait now; 0: no longer. */
static int wait_ms(struct sender *sender)
{
    int64_t until = atomic_load(&sender->until_ms), left = WAIT_MS;
    if (until != 0)
        left = until - clock_monotonic_ms();
    return left < 0 ? 0 : left > WAIT_MS ? WAIT_MS : (int)left;
}

/* The transfer, until its end or until there is no time. */
static CURLcode transfer(struct sender *sender)
{
    CURLcode code = CURLE_OPERATION_TIMEDOUT;
    int running = 1, left;
    snprintf(sender->error, sizeof sender->error, "it had no time to answer");
    if (curl_multi_add_handle(sender->multi, sender->curl) != CURLM_OK)
        return CURLE_OUT_OF_MEMORY;
    while (curl_multi_perform(sender->multi, &running) == CURLM_OK && running > 0) {
        int most = wait_ms(sender);
        if (most == 0 || curl_multi_poll(sender->multi, NULL, 0, most, NULL) != CURLM_OK)
            break;
    }
    for (CURLMsg *message; (message = curl_multi_info_read(sender->multi, &left)) != NULL;)
        if (message->msg == CURLMSG_DONE)
            code = message->data.result;
    curl_multi_remove_handle(sender->multi, sender->curl);
    return code;
}

/* {"partialSuccess":{"rejectedSpans":"5","errorMessage":"…"}} */
static void read_partial(const struct sender *sender, struct sender_answer *ret)
{
    struct json_object object, partial = {0};
    struct arena *arena = arena_create(4096, 4 * 1024 * 1024);
    if (arena == NULL)
        return;
    if (sender->answer.length > 2 && json_scan_nested(buffer_view(&sender->answer), SPAN("partialSuccess"), arena,
                                                      &object, &partial, NULL, NULL) == 0) {
        const struct json_member *rejected = json_find(&partial, SPAN("rejectedSpans"));
        const struct json_member *message = json_find(&partial, SPAN("errorMessage"));
        struct span number = rejected == NULL ? SPAN("0") : rejected->value;
        if (rejected != NULL && rejected->kind == JSON_KIND_STRING)
            number = json_unescape(number, rejected->value_escaped, arena);
        for (size_t i = 0; i < number.length && i < 18 && number.at[i] >= '0' && number.at[i] <= '9'; i++)
            ret->rejected = ret->rejected * 10 + (number.at[i] - '0');
        if (message != NULL && message->kind == JSON_KIND_STRING) {
            struct span text = json_unescape(message->value, message->value_escaped, arena);
            snprintf(ret->why, sizeof ret->why, "%.*s", (int)text.length, text.at);
        }
    }
    arena_destroy(arena);
}

/* What the handle's options say. */
static void ask(struct sender *sender, struct sender_answer *ret)
{
    long status = 0;
    curl_off_t after_s = 0;
    *ret = (struct sender_answer){.result = SENDER_AGAIN};
    buffer_clear(&sender->answer);
    CURLcode code = transfer(sender);
    if (code != CURLE_OK) {
        snprintf(ret->why, sizeof ret->why, "%s", sender->error[0] != '\0' ? sender->error : curl_easy_strerror(code));
        return;
    }
    curl_easy_getinfo(sender->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(sender->curl, CURLINFO_RETRY_AFTER, &after_s);
    ret->status = (int)status;
    if (status >= 200 && status < 300) {
        ret->result = SENDER_TAKEN;
        return;
    }
    bool again = status == 429 || status == 502 || status == 503 || status == 504;
    ret->result = again ? SENDER_AGAIN : SENDER_REFUSED;
    ret->retry_after_ms = after_s > 0 && after_s < 86400 ? (int64_t)after_s * 1000 : 0;
    snprintf(ret->why, sizeof ret->why, "it answers %ld", status);
}

void sender_post(struct sender *sender, struct span body, struct sender_answer *ret)
{
    curl_easy_setopt(sender->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(sender->curl, CURLOPT_POSTFIELDS, body.at);
    curl_easy_setopt(sender->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.length);
    ask(sender, ret);
    if (ret->result == SENDER_TAKEN)
        read_partial(sender, ret);
}

void sender_get(struct sender *sender, struct sender_answer *ret)
{
    curl_easy_setopt(sender->curl, CURLOPT_HTTPGET, 1L);
    ask(sender, ret);
}
