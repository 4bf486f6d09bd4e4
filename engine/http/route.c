/*
 * route.c - see route.h.
 */
#include "http/route.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The length of the UTF-8 sequence at `at`, or 0: truncated, overlong, a surrogate, or beyond U+10FFFF. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80)
        return 1;
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || left < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool wrong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
                 (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f);
    return wrong ? 0 : length;
}

bool text_is_utf8(struct span text)
{
    const unsigned char *at = (const unsigned char *)text.at;
    for (size_t i = 0; i < text.length;) {
        size_t length = utf8_length(at + i, text.length - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

static bool text_is_printable(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f)
            return false;
    return true;
}

/* %XX, and '+' as a space in a query. */
static bool text_decode(struct span raw, bool query, struct arena *arena, struct span *ret, struct refusal *ret_refusal)
{
    char *out = arena_alloc(arena, raw.length + 1);
    size_t length = 0;
    for (size_t i = 0; i < raw.length; i++) {
        char c = raw.at[i];
        if (c == '%') {
            int high = i + 2 < raw.length ? hex_digit(raw.at[i + 1]) : -1,
                low = high < 0 ? -1 : hex_digit(raw.at[i + 2]);
            if (low < 0) {
                refusal_set(ret_refusal, 400, "bad_target",
                            "A % in the target must be followed by two hexadecimal digits.");
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && query) {
            c = ' ';
        }
        out[length++] = c;
    }
    struct span text = {out, length};
    if (!text_is_printable(text) || !text_is_utf8(text)) {
        refusal_set(ret_refusal, 400, "bad_target", "The target must be UTF-8 without control characters.");
        return false;
    }
    *ret = text;
    return true;
}

/* Cuts off what stands before `separator`; false at the end. */
static bool text_next(struct span *rest, char separator, struct span *ret)
{
    if (rest->at == NULL)
        return false;
    const char *end = rest->length == 0 ? NULL : memchr(rest->at, separator, rest->length);
    if (end == NULL) {
        *ret = *rest;
        *rest = (struct span){0};
    } else {
        *ret = (struct span){rest->at, (size_t)(end - rest->at)};
        *rest = (struct span){end + 1, rest->length - ret->length - 1};
    }
    return true;
}

static bool path_parse(struct span path, struct arena *arena, struct target *target, struct refusal *ret_refusal)
{
    struct span raw;
    while (text_next(&path, '/', &raw)) {
        struct span segment;
        if (target->segment_count == TARGET_SEGMENTS_MAX) {
            refusal_set(ret_refusal, 400, "bad_target", "A path may have at most 32 segments.");
            return false;
        }
        if (!text_decode(raw, false, arena, &segment, ret_refusal))
            return false;
        if (span_is(segment, ".") || span_is(segment, "..")) {
            refusal_set(ret_refusal, 400, "bad_target", "A path must not have the segments . and ..");
            return false;
        }
        target->segments[target->segment_count++] = segment;
    }
    return true;
}

static bool wait_parse(struct span value, int64_t *ret_ms, struct refusal *ret_refusal)
{
    if (duration_parse(value, ret_ms) != 0 || *ret_ms < 0 || *ret_ms > WAIT_MAX_MS) {
        refusal_set(ret_refusal, 400, "bad_wait", "wait must be a duration of at most 30s, such as 10s or 500ms.");
        return false;
    }
    return true;
}

static bool query_parse(struct span query, struct arena *arena, struct target *target, struct refusal *ret_refusal)
{
    struct span pair;
    bool waits = false;
    while (text_next(&query, '&', &pair)) {
        struct span raw_name = {0}, name, value;
        if (pair.length == 0)
            continue;
        text_next(&pair, '=', &raw_name);
        if (!text_decode(raw_name, true, arena, &name, ret_refusal) ||
            !text_decode(pair, true, arena, &value, ret_refusal))
            return false;
        bool again = waits && span_is(name, "wait");
        for (size_t i = 0; i < target->query_count; i++)
            again = again || span_equal(target->query[i].name, name);
        if (again || name.length == 0) {
            refusal_set(ret_refusal, 400, "bad_query",
                        "Each parameter of the query must have a name, and none may come twice.");
            return false;
        }
        if (span_is(name, "wait")) {
            waits = true;
            if (!wait_parse(value, &target->wait_ms, ret_refusal))
                return false;
        } else if (target->query_count == TARGET_PARAMS_MAX) {
            refusal_set(ret_refusal, 400, "bad_query", "A query may have at most 32 parameters.");
            return false;
        } else {
            target->query[target->query_count++] = (struct gateway_param){name, value};
        }
    }
    return true;
}

bool target_parse(struct span raw, struct arena *arena, struct target *ret, struct refusal *ret_refusal)
{
    memset(ret, 0, sizeof *ret);
    if (raw.length == 0 || raw.at[0] != '/') {
        refusal_set(ret_refusal, 400, "bad_target", "The target of a request must begin with a slash.");
        return false;
    }
    for (size_t i = 0; i < raw.length; i++) {
        unsigned char c = (unsigned char)raw.at[i];
        if (c <= ' ' || c >= 0x7f || c == '#') {
            refusal_set(ret_refusal, 400, "bad_target", "The target has characters that must be written as %XX.");
            return false;
        }
    }
    struct span query = {raw.at + 1, raw.length - 1}, path = {0};
    text_next(&query, '?', &path);
    return (path.length == 0 || path_parse(path, arena, ret, ret_refusal)) &&
           query_parse(query, arena, ret, ret_refusal);
}

static bool segment_is_param(const char *segment)
{
    return segment[0] == '{';
}

static struct span segment_param_name(const char *segment)
{
    return (struct span){segment + 1, strlen(segment) - 2};
}

static bool path_matches(const struct request *request, const struct target *target)
{
    if (request->segment_count != target->segment_count)
        return false;
    for (size_t i = 0; i < request->segment_count; i++) {
        const char *segment = request->segments[i];
        if (segment_is_param(segment) ? target->segments[i].length == 0 : !span_is(target->segments[i], segment))
            return false;
    }
    return true;
}

/* Of two paths that match, the one with a literal at the first difference: /payments/new before /payments/{id}. */
static bool path_is_closer(const struct request *a, const struct request *b)
{
    for (size_t i = 0; i < a->segment_count; i++)
        if (segment_is_param(a->segments[i]) != segment_is_param(b->segments[i]))
            return !segment_is_param(a->segments[i]);
    return false;
}

static const char *allow_list(const struct request *list, size_t count, const struct target *target,
                              struct arena *arena)
{
    const char *allow = "";
    for (size_t i = 0; i < count; i++)
        if (path_matches(&list[i], target))
            allow = arena_format(arena, "%s%s%s%s", allow, allow[0] == '\0' ? "" : ", ", list[i].method,
                                 strcmp(list[i].method, "GET") == 0 ? ", HEAD" : "");
    return arena_format(arena, "%s, OPTIONS", allow);
}

static bool params_collect(const struct request *request, const struct target *target, struct arena *arena,
                           struct match *match)
{
    match->params = arena_array(arena, struct gateway_param, request->segment_count + target->query_count + 1);
    for (size_t i = 0; i < request->segment_count; i++)
        if (segment_is_param(request->segments[i]))
            match->params[match->param_count++] = (struct gateway_param){segment_param_name(request->segments[i]),
                                                                         target->segments[i]};
    size_t of_path = match->param_count;
    for (size_t i = 0; i < target->query_count; i++) {
        for (size_t j = 0; j < of_path; j++)
            if (span_equal(match->params[j].name, target->query[i].name))
                return false;
        match->params[match->param_count++] = target->query[i];
    }
    return true;
}

bool match_request(const struct request *list, size_t count, struct span method, const struct target *target,
                   struct arena *arena, struct match *ret, const char **ret_allow, struct refusal *ret_refusal)
{
    const struct request *best = NULL;
    bool known = false;
    struct span wanted = span_is(method, "HEAD") ? SPAN("GET") : method;
    for (size_t i = 0; i < count; i++) {
        const struct request *request = &list[i];
        if (!path_matches(request, target))
            continue;
        known = true;
        if (span_is(wanted, request->method) && (best == NULL || path_is_closer(request, best)))
            best = request;
    }
    if (best == NULL && known) {
        *ret_allow = allow_list(list, count, target, arena);
        refusal_set(ret_refusal, 405, "method_not_allowed", "This path is served, but not with this method.");
        return false;
    }
    if (best == NULL) {
        refusal_set(ret_refusal, 404, "not_found", "Nothing is served at this path; /ui is the page for people.");
        return false;
    }
    struct match match = {.index = (uint32_t)(best - list)};
    if (!params_collect(best, target, arena, &match)) {
        refusal_set(ret_refusal, 400, "bad_query", "The query names a parameter that the path already has.");
        return false;
    }
    *ret = match;
    return true;
}
