/*
 * data_platform.c - hands every event to a data platform over HTTP, many in one request.
 *
 * Sends    POST to the setting `url`: a JSON array of the events as they came, whole and unchanged, in the order of
 * the call Promises at least once: an event is `sent` only when a 2xx came back for the request that carried it. The
 * header Idempotency-Key is
 *          derived from the ids of the request's events, so the same request again has the same key; events that
 *          come again in
 *          other company carry the same `eventId`, by which the platform can tell.
 *          A request that the platform refuses (4xx) is halved until the events that it does not like are alone:
 *          they are
 *          rejected, all others sent. A platform that is away, too busy (408, 425, 429), broken (5xx), or that knows
 *          neither us
 *          nor the address (401, 403, 404, 405, 407) rejects nothing: the whole call comes again later, for as long
 *          as it takes,
 *          and only this tap waits.
 * Does not follow redirects, does not read the answer beyond the words for a person, does not use proxies of the
 * environment. Threads  one state for each lane, one call at a time; no globals. The connection is kept between
 * calls.
 */
#include "sluice/plugin.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORDS_MAX = 320,        /* bytes of a sentence about a failure */
    ANSWER_MAX = 120,       /* bytes of an answer that the sentence quotes */
    HEADER_MAX = 4096 + 64, /* bytes of a header line */
    SPARE_MS = 50,          /* of the call's time, kept for what comes after the request */
};

struct data_platform {
    /* settings */
    struct sluice_text url, api_key, proxy;
    int64_t timeout_ms, max_body;
    /* ours */
    CURL *curl;
    char *body;
    size_t body_length, body_size;
    char answer[ANSWER_MAX + 1];
    size_t answer_length;
    char words[WORDS_MAX];
};

static const struct sluice_field settings[] = {
    SLUICE_TEXT(struct data_platform, url, .min = 8, .max = 2048,
                .help = "where the events are posted to; http:// or https://"),
    {.name = "timeout",
     .type = SLUICE_TYPE_DURATION,
     .offset = SLUICE_OFFSET(struct data_platform, timeout_ms, int64_t),
     .min = 10,
     .max = 600000,
     .flags = SLUICE_OPTIONAL,
     .fallback = "5s",
     .help = "longest that one request may take; the `timeout:` of the tap bounds them all"},
    SLUICE_TEXT(struct data_platform, api_key, .min = 1, .max = 4096, .flags = SLUICE_OPTIONAL | SLUICE_SECRET,
                .help = "sent as `Authorization: Bearer …`; no such header without it"),
    SLUICE_SIZE(struct data_platform, max_body, .min = 1024, .max = 1LL << 30, .flags = SLUICE_OPTIONAL,
                .fallback = "8MiB", .help = "most bytes of one request; a single event that is larger goes alone"),
    SLUICE_TEXT(struct data_platform, proxy, .min = 1, .max = 2048, .flags = SLUICE_OPTIONAL,
                .help = "a proxy for these requests; proxies named by the environment are not used"),
    {0},
};

/* --------------------------------------------------------------------------------------------------------- request */

/* Two 64-bit hashes (FNV-1a from two starts, a length before each id): far more than the few requests that a key
 * must tell apart. */
static void request_key(const struct sluice_event *events, size_t count, char *ret, size_t size)
{
    uint64_t hash[2] = {0xcbf29ce484222325u, 0x9ae16a3b2f90404fu};
    if (count == 1) {
        snprintf(ret, size, "Idempotency-Key: %.*s", (int)events[0].id.length, events[0].id.at);
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (int h = 0; h < 2; h++) {
            hash[h] = (hash[h] ^ (uint64_t)events[i].id.length) * 0x100000001b3u;
            for (size_t at = 0; at < events[i].id.length; at++)
                hash[h] = (hash[h] ^ (unsigned char)events[i].id.at[at]) * 0x100000001b3u;
            hash[h] ^= hash[h] >> 29;
        }
    snprintf(ret, size, "Idempotency-Key: batch-%016" PRIx64 "%016" PRIx64, hash[0], hash[1]);
}

/* "[value,value]". false: out of memory. */
static bool request_body(struct data_platform *self, const struct sluice_event *events, size_t count)
{
    size_t length = 1;
    for (size_t i = 0; i < count; i++)
        length += events[i].value.length + 1;
    if (length > self->body_size) {
        char *grown = realloc(self->body, length);
        if (grown == NULL)
            return false;
        self->body = grown;
        self->body_size = length;
    }
    char *to = self->body;
    for (size_t i = 0; i < count; i++) {
        *to++ = i == 0 ? '[' : ',';
        memcpy(to, events[i].value.at, events[i].value.length);
        to += events[i].value.length;
    }
    *to = ']';
    self->body_length = length;
    return true;
}

static size_t request_answer(char *bytes, size_t size, size_t count, void *context)
{
    struct data_platform *self = context;
    for (size_t i = 0; i < size * count && self->answer_length < ANSWER_MAX; i++)
        self->answer[self->answer_length++] = bytes[i] >= ' ' && bytes[i] < 127 ? bytes[i] : ' ';
    return size * count;
}

/* The headers of one request; NULL: out of memory. */
static struct curl_slist *request_headers(const struct data_platform *self, const struct sluice_event *events,
                                          size_t count)
{
    char line[HEADER_MAX];
    struct curl_slist *headers = NULL;
    const char *fixed[] = {"Content-Type: application/json", "Accept:", "Expect:", NULL};
    for (int i = 0; fixed[i] != NULL; i++) {
        struct curl_slist *longer = curl_slist_append(headers, fixed[i]);
        if (longer == NULL)
            goto failed;
        headers = longer;
    }
    for (int i = 0; i < (self->api_key.at != NULL && self->api_key.length > 0 ? 2 : 1); i++) {
        if (i == 0)
            request_key(events, count, line, sizeof line);
        else
            snprintf(line, sizeof line, "Authorization: Bearer %.*s", (int)self->api_key.length, self->api_key.at);
        struct curl_slist *longer = curl_slist_append(headers, line);
        if (longer == NULL)
            goto failed;
        headers = longer;
    }
    return headers;
failed:
    curl_slist_free_all(headers);
    return NULL;
}

enum answer {
    ANSWER_TAKEN,   /* 2xx */
    ANSWER_REFUSED, /* the platform will never take this request; words say why */
    ANSWER_AWAY,    /* nobody there, or not now; words say why */
};

/* 4xx that are not about the events: a key that expired, an address that moved, a platform that is too busy. */
static bool status_is_about_us(long status)
{
    static const long ours[] = {401, 403, 404, 405, 407, 408, 425, 429};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (status == ours[i])
            return true;
    return false;
}

static enum answer answer_of_status(struct data_platform *self, long status)
{
    if (status >= 200 && status < 300)
        return ANSWER_TAKEN;
    self->answer[self->answer_length] = '\0';
    snprintf(self->words, sizeof self->words, "the data platform answered %ld%s%s", status,
             self->answer_length > 0 ? ": " : "", self->answer);
    return status >= 400 && status < 500 && !status_is_about_us(status) ? ANSWER_REFUSED : ANSWER_AWAY;
}

/* One request, within what is left of the call's time. */
static enum answer request_send(struct data_platform *self, struct sluice_call *call, const struct sluice_event *events,
                                size_t count)
{
    int64_t left = call->host->time_left_ms(call) - SPARE_MS;
    if (left <= 0) {
        snprintf(self->words, sizeof self->words,
                 "the time of the call was over before the data platform had taken everything");
        return ANSWER_AWAY;
    }
    struct curl_slist *headers = request_headers(self, events, count);
    if (headers == NULL || !request_body(self, events, count)) {
        curl_slist_free_all(headers);
        snprintf(self->words, sizeof self->words, "out of memory for a request to the data platform");
        return ANSWER_AWAY;
    }
    char error[CURL_ERROR_SIZE] = "";
    long status = 0;
    self->answer_length = 0;
    curl_easy_setopt(self->curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(self->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(self->curl, CURLOPT_POSTFIELDS, self->body);
    curl_easy_setopt(self->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)self->body_length);
    curl_easy_setopt(self->curl, CURLOPT_TIMEOUT_MS, (long)(left < self->timeout_ms ? left : self->timeout_ms));
    CURLcode code = curl_easy_perform(self->curl);
    curl_easy_getinfo(self->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_setopt(self->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(self->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        snprintf(self->words, sizeof self->words, "the data platform cannot be reached: %s",
                 error[0] != '\0' ? error : curl_easy_strerror(code));
        return ANSWER_AWAY;
    }
    return answer_of_status(self, status);
}

/* ------------------------------------------------------------------------------------------------------------ send */

enum { SENT };

static const struct sluice_outcome send_outcomes[] = {
    [SENT] = {"sent", "the data platform took it"},
    {0},
};

/* Events from `at` on that one request may carry. */
static size_t send_fitting(const struct data_platform *self, const struct sluice_event *events, size_t at, size_t end)
{
    size_t length = 2, n = at;
    while (n < end && (n == at || length + events[n].value.length + 1 <= (size_t)self->max_body))
        length += events[n++].value.length + 1;
    return n - at;
}

/* Sends [from, to) and gives each event its verdict; false: the platform is away. A refused request is tried again
 * in halves. */
static bool send_range(struct data_platform *self, struct sluice_call *call, size_t from, size_t to)
{
    enum answer answer = request_send(self, call, call->events + from, to - from);
    if (answer == ANSWER_AWAY)
        return false;
    if (answer == ANSWER_REFUSED && to - from > 1) {
        size_t middle = from + (to - from) / 2;
        return send_range(self, call, from, middle) && send_range(self, call, middle, to);
    }
    for (size_t n = from; n < to; n++) {
        if (answer == ANSWER_TAKEN)
            call->host->outcome(call, n, SENT);
        else
            call->host->reject(call, n, self->words);
    }
    return true;
}

static void send_events(void *state, struct sluice_call *call)
{
    struct data_platform *self = state;
    for (size_t at = 0; at < call->count;) {
        size_t count = send_fitting(self, call->events, at, call->count);
        if (!send_range(self, call, at, at + count)) {
            call->host->unavailable(call, self->words);
            return;
        }
        at += count;
    }
}

/* ----------------------------------------------------------------------------------------------------------- state */

static bool text_is_printable(struct sluice_text text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.at[i] <= ' ' || text.at[i] >= 127)
            return false;
    return true;
}

static bool text_begins(struct sluice_text text, const char *with)
{
    size_t length = strlen(with);
    return text.length > length && memcmp(text.at, with, length) == 0;
}

/* Sets an option to a text; false when it is not taken. */
static bool curl_set_text(CURL *curl, CURLoption option, struct sluice_text text)
{
    char *copy = strndup(text.at == NULL ? "" : text.at, text.length);
    bool taken = copy != NULL && curl_easy_setopt(curl, option, copy) == CURLE_OK; /* libcurl keeps a copy of its own */
    free(copy);
    return taken;
}

static bool curl_prepare(struct data_platform *self)
{
    CURL *curl = self->curl;
    bool good = curl_set_text(curl, CURLOPT_URL, self->url) && curl_set_text(curl, CURLOPT_PROXY, self->proxy);
#if LIBCURL_VERSION_NUM >= 0x075500
    good = good && curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
    good = good && curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)) == CURLE_OK;
#endif
    return good && curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "sluice-data-platform/1.0.0") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, request_answer) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, self) == CURLE_OK;
}

static int data_platform_open(void *state, struct sluice_opening *opening)
{
    struct data_platform *self = state;
    if ((!text_begins(self->url, "http://") && !text_begins(self->url, "https://")) || !text_is_printable(self->url)) {
        opening->fail(opening, "the setting 'url' must begin with http:// or https:// and contain no spaces");
        return -1;
    }
    if (!text_is_printable(self->api_key)) {
        opening->fail(opening,
                      "the setting 'api_key' must be printable ASCII without spaces: it goes into a header line");
        return -1;
    }
    self->curl = curl_easy_init();
    if (self->curl == NULL || !curl_prepare(self)) {
        opening->fail(opening, "libcurl cannot be set up for the setting 'url' or 'proxy'");
        return -1;
    }
    return 0;
}

static void data_platform_close(void *state)
{
    struct data_platform *self = state;
    curl_easy_cleanup(self->curl);
    free(self->body);
}

static const struct sluice_handler handlers[] = {
    {.name = "send",
     .help = "post events to the data platform, many in one request",
     .outcomes = send_outcomes,
     .max_events = 500,
     .handle = send_events},
    {0},
};

SLUICE_PLUGIN(.name = "data_platform", .version = "1.0.0", .help = "hands events to a data platform over HTTP",
              .settings = settings, .state_size = sizeof(struct data_platform), .open = data_platform_open,
              .close = data_platform_close, .handlers = handlers)
