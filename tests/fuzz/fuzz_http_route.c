/*
 * fuzz_http_route.c - the target and the header fields of a request. Lines: the target, then "name:value" fields.
 *
 * Built with engine/http/route.c and head.c, engine/base and engine/pipeline/scalar.c and problem.c beside what
 * fuzz.h says.
 */
#include "fuzz.h"

#include "http/route.h"

static bool printable(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f)
            return false;
    return true;
}

static struct span next_line(struct span *rest)
{
    const char *end = rest->length == 0 ? NULL : memchr(rest->at, '\n', rest->length);
    struct span line = {rest->at, end == NULL ? rest->length : (size_t)(end - rest->at)};
    size_t step = line.length + (end == NULL ? 0 : 1);
    *rest = (struct span){rest->at + step, rest->length - step};
    return line;
}

static void try_target(struct span line, struct arena *arena)
{
    static const char *const by_id[] = {"payments", "{id}"}, *const any[] = {"{a}", "{b}"};
    static const struct request requests[] = {
        {.method = "GET", .path = "", .segments = (const char **)by_id, .segment_count = 2},
        {.method = "POST", .path = "", .segments = (const char **)any, .segment_count = 2}};
    const struct pipeline pipeline = {.requests = (struct request *)requests, .request_count = 2};
    struct refusal refusal = {0};
    struct target target;
    struct match match;
    const char *allow = NULL;
    if (!target_parse(line, arena, &target, &refusal)) {
        must(refusal.status == 400);
        return;
    }
    must(target.segment_count <= TARGET_SEGMENTS_MAX && target.query_count <= TARGET_PARAMS_MAX);
    must(target.wait_ms >= 0 && target.wait_ms <= WAIT_MAX_MS);
    for (size_t i = 0; i < target.segment_count; i++)
        must(text_is_utf8(target.segments[i]) && printable(target.segments[i]) && !span_is(target.segments[i], ".."));
    if (!match_request(pipeline.requests, pipeline.request_count, SPAN("POST"), &target, arena, &match, &allow,
                       &refusal)) {
        must(refusal.status == 404 || refusal.status == 405 || refusal.status == 400);
        return;
    }
    must(target.segment_count == 2 && match.index == 1 && match.param_count == 2 + target.query_count);
    for (size_t i = 0; i < match.param_count; i++)
        must(text_is_utf8(match.params[i].value) && printable(match.params[i].value));
}

static void try_head(struct span rest, size_t size)
{
    struct head head = {0};
    while (rest.length > 0) {
        struct span line = next_line(&rest);
        const char *colon = line.length == 0 ? NULL : memchr(line.at, ':', line.length);
        size_t name = colon == NULL ? line.length : (size_t)(colon - line.at);
        head_add(&head, (struct span){line.at, name},
                 colon == NULL ? SPAN("") : (struct span){colon + 1, line.length - name - 1});
    }
    head_finish(&head, true, true, size, true);
    if (head.refusal.status != 0)
        return;
    must(head.host.at != NULL && head.field_count <= HEAD_FIELDS_MAX && !(head.chunked && head.has_length));
    must(head.idempotency_key.length <= IDEMPOTENCY_KEY_MAX && printable(head.idempotency_key));
    must(head.traceparent.length == 0 || head.traceparent.length == 55);
    must(!head_has_body(&head) || head.content_type.length >= strlen("application/json"));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct arena *arena = arena_create(4096, 16 * 1024 * 1024);
    struct span rest = {(const char *)bytes, size};
    must(arena != NULL);
    if (size > 0) {
        try_target(next_line(&rest), arena);
        try_head(rest, size);
    }
    arena_destroy(arena);
    return 0;
}
