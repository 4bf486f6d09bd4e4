/*
 * json.h - one strict pass over an event's bytes.
 *
 * json_scan() checks a whole text against RFC 8259 and finds the members of the objects that the engine needs, as
 * spans into the text: nothing is copied, nothing is parsed twice, and an emitted event is its source's bytes with
 * fields laid over. Refused: bytes after the value, a BOM, comments, NaN, bad or overlong UTF-8, lone surrogates,
 * \u0000, control characters in strings, duplicate keys in any object, depth over max_depth, more than max_members
 * members in all. Threads: any; state is on the stack and in the caller's arena.
 */
#ifndef SLUICE_EVENT_JSON_H
#define SLUICE_EVENT_JSON_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

enum json_kind {
    JSON_KIND_OBJECT = 1,
    JSON_KIND_ARRAY,
    JSON_KIND_STRING,
    JSON_KIND_NUMBER,
    JSON_KIND_TRUE,
    JSON_KIND_FALSE,
    JSON_KIND_NULL
};

struct json_member {
    struct span name;  /* between the quotes, as written */
    struct span value; /* as written, a string with its quotes */
    enum json_kind kind;
    bool name_escaped;  /* name holds backslashes: compare with json_unescape() */
    bool value_escaped; /* a string that holds backslashes */
};

struct json_object {
    struct span text; /* from its { to its } */
    struct json_member *members;
    size_t count;
};

enum { JSON_DEPTH_MAX = 64, JSON_MEMBERS_MAX = 10000 };

/* Scans `text`, whose top level must be an object. ret gets its members; members live in the arena, spans point into
 * `text`. 0, or -EINVAL / -E2BIG (too deep, too many) with "… at byte N" in the error. */
int json_scan(struct span text, struct arena *arena, struct json_object *ret, struct error *error);

/* What a text is refused for; only json_scan_nested() and json_scan_inner() tell. */
enum json_fault { JSON_FAULT_TEXT = 1, JSON_FAULT_NOT_OBJECT, JSON_FAULT_TOO_DEEP, JSON_FAULT_TOO_MANY };

/* json_scan() which gets the members of one inner object in the same pass: *ret_inner is that of the top level's
 * member `inner`, all zero when there is none, or it is no object, or its name is written with escapes. */
int json_scan_nested(struct span text, struct span inner, struct arena *arena, struct json_object *ret,
                     struct json_object *ret_inner, enum json_fault *ret_fault, struct error *error);
/* json_scan() of an object that will stand inside another one: one level less deep. */
int json_scan_inner(struct span text, struct arena *arena, struct json_object *ret, enum json_fault *ret_fault,
                    struct error *error);
/* The members of a value that json_scan() accepted (kind JSON_KIND_OBJECT): no check is made again. */
void json_members(struct span object, struct arena *arena, struct json_object *ret);
/* The elements of an accepted array, as members without names. */
void json_elements(struct span array, struct arena *arena, struct json_object *ret);
/* The member called `name` (plain UTF-8), or NULL. */
const struct json_member *json_find(const struct json_object *object, struct span name);
/* The bytes of an accepted string value (quotes included in `string`); a span into `string` when nothing is escaped,
 * else in the arena. */
struct span json_unescape(struct span string, bool escaped, struct arena *arena);
/* An accepted number as an integer. -ERANGE outside int64, -EINVAL with a fraction or exponent (also 1.0 and 1e3). */
int json_int64(struct span number, int64_t *ret);
int json_double(struct span number, double *ret); /* -ERANGE beyond a double's range */

/* {"error":WORD,"message":MESSAGE, as each reply that says why begins: the caller may add members, and closes it. */
void json_error(struct buffer *out, const char *word, const char *message);

#endif
