/*
 * load_tracing.c - `tracing: {otlp: URL, sample: 0.01, headers: {…}}`.
 *
 * A URL holds no user or password: it is shown in the log, and headers are not.
 */
#include "pipeline/load.h"

#include <ctype.h>
#include <strings.h>

enum { TRACING_URL_MAX = 1000, TRACING_HEADERS_MAX = 16, TRACING_HEADER_MAX = 4096 };

/* "/v1/traces" of "http://host:4318/v1/traces"; NULL: it is no such URL. */
static const char *url_path(struct span url)
{
    size_t scheme = strncmp(url.at, "http://", 7) == 0 ? 7 : strncmp(url.at, "https://", 8) == 0 ? 8 : 0;
    if (scheme == 0 || url.length > TRACING_URL_MAX)
        return NULL;
    for (size_t i = 0; i < url.length; i++)
        if (url.at[i] <= ' ' || url.at[i] > '~' || strchr("\"<>\\^`{|}#", url.at[i]) != NULL)
            return NULL;
    size_t host = strcspn(url.at + scheme, "/?");
    return host == 0 || url.at[scheme] == ':' ? NULL : url.at + scheme + host;
}

static void load_url(struct load *load, struct node *node)
{
    struct pipeline *pipeline = load->pipeline;
    if (node == NULL || node->kind != NODE_SCALAR || node_broken(node) || node->text.length == 0)
        return;
    const char *path = url_path(node->text);
    const char *at = path == NULL ? NULL : memchr(node->text.at, '@', (size_t)(path - node->text.at));
    if (at != NULL)
        problem_add(load->problems, node->place, "bad_value",
                    "tracing.otlp: a URL with a user or password would be shown in the log; say who you are in "
                    "tracing.headers");
    else if (path == NULL)
        problem_add(load->problems, node->place, "bad_value",
                    "tracing.otlp: expected the URL of a collector, like http://127.0.0.1:4318, got %s",
                    node_shown(node, load->arena));
    else
        pipeline->tracing.url = path[0] == '\0' || strcmp(path, "/") == 0
                                    ? arena_format(load->arena, "%.*s/v1/traces", (int)(path - node->text.at),
                                                   node->text.at)
                                    : node->text.at;
}

/* What HTTP calls a token (RFC 9110). */
static bool is_token(struct span name)
{
    for (size_t i = 0; i < name.length; i++)
        if (!isalnum((unsigned char)name.at[i]) && strchr("!#$%&'*+-.^_`|~", name.at[i]) == NULL)
            return false;
    return name.length > 0 && name.length <= 100;
}

static bool is_ours(const char *name)
{
    static const char *const ours[] = {"content-type", "content-length", "content-encoding", "host",
                                       "connection",   "expect",         "transfer-encoding"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcasecmp(name, ours[i]) == 0)
            return true;
    return false;
}

static bool is_secret(const char *name)
{
    return strcasecmp(name, "authorization") == 0 || strcasestr(name, "key") != NULL ||
           strcasestr(name, "token") != NULL || strcasestr(name, "secret") != NULL;
}

static bool is_printable(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.at[i] < ' ' || text.at[i] > '~')
            return false;
    return text.length <= TRACING_HEADER_MAX;
}

static void load_header(struct load *load, const struct node *key, const struct node *value)
{
    struct pipeline *pipeline = load->pipeline;
    if (node_broken(value))
        return;
    if (!is_token(key->text) || is_ours(key->text.at))
        problem_add(load->problems, key->place, "bad_value", "tracing.headers: '%s' %s", key->text.at,
                    is_token(key->text) ? "is set by the engine" : "is no name of a header");
    else if (value->kind != NODE_SCALAR || !is_printable(value->text))
        problem_add(load->problems, value->place, "bad_value",
                    "tracing.headers.%s: expected a text of printable ASCII, at most %d bytes", key->text.at,
                    TRACING_HEADER_MAX);
    else if (value->text.length > 0) { /* "${OTLP_TOKEN:-}": there is none */
        if (!value->interpolated && is_secret(key->text.at))
            problem_warn(load->problems, value->place, "literal_secret",
                         "tracing.headers.%s is written out here; take it from the environment or a file",
                         key->text.at);
        pipeline->tracing.header_names[pipeline->tracing.header_count] = key->text.at;
        pipeline->tracing.header_values[pipeline->tracing.header_count++] = value->text.at;
    }
}

static void load_headers(struct load *load, const struct node *headers)
{
    struct pipeline *pipeline = load->pipeline;
    if (headers == NULL || headers->kind != NODE_MAPPING)
        return;
    if (headers->count > TRACING_HEADERS_MAX) {
        problem_add(load->problems, headers->place, "bad_value", "tracing.headers: at most %d", TRACING_HEADERS_MAX);
        return;
    }
    pipeline->tracing.header_names = arena_array(load->arena, const char *, headers->count + 1);
    pipeline->tracing.header_values = arena_array(load->arena, const char *, headers->count + 1);
    for (size_t i = 0; i < headers->count; i++)
        load_header(load, headers->keys[i], headers->items[i]);
}

void load_tracing(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *tracing = NULL;
    options_default(tracing_options, pipeline);
    if (!load_section(load, root, "tracing", &tracing))
        return;
    pipeline->tracing.place = tracing->place;
    options_apply(tracing_options, tracing, tracing->place, "tracing", pipeline, load->arena, load->problems);
    load_url(load, node_get(tracing, "otlp"));
    load_headers(load, node_get(tracing, "headers"));
}
