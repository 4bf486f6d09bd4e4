/*
 * route.h - a request's target: decoded, checked, and found among paths: the pipeline's, or the operators'. Pure.
 *
 * Paths are split before they are decoded, so an escaped slash is part of a value and never makes a segment. Refused
 * with a sentence: an escape that is none, control characters and %00, bytes that are not UTF-8, "." and ".." in any
 * spelling.
 */
#ifndef SLUICE_HTTP_ROUTE_H
#define SLUICE_HTTP_ROUTE_H

#include "base/arena.h"
#include "http/head.h"
#include "pipeline/pipeline.h"
#include "run/gateway.h"

enum { TARGET_SEGMENTS_MAX = 32, TARGET_PARAMS_MAX = 32, WAIT_MAX_MS = 30000 };

struct target {
    struct span segments[TARGET_SEGMENTS_MAX]; /* of "/a/b": "a", "b"; of "/": none */
    size_t segment_count;
    struct gateway_param query[TARGET_PARAMS_MAX]; /* without `wait` */
    size_t query_count;
    int64_t wait_ms;
};

/* Decodes "/path?query". Spans live in the arena or in `raw`. False with a refusal. */
bool target_parse(struct span raw, struct arena *arena, struct target *ret, struct refusal *ret_refusal);

struct match {
    uint32_t index;               /* in the list */
    struct gateway_param *params; /* of the path, then of the query; in the arena */
    size_t param_count;
};
/* HEAD finds GET. False with a refusal: 404, 405 (then *ret_allow, in the arena, lists the methods), or 400 when the
 * query names a parameter of the path again. */
bool match_request(const struct request *list, size_t count, struct span method, const struct target *target,
                   struct arena *arena, struct match *ret, const char **ret_allow, struct refusal *ret_refusal);

bool text_is_utf8(struct span text);

#endif
