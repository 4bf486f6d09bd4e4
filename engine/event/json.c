/*
 * json.c - the scanner of json.h: one pass, no recursion.
 *
 * The members of the objects that are open lie on one stack, the innermost on top. When an object closes its names are
 * compared, the members that the caller wants are copied into the arena, and the stack shrinks. A string is read eight
 * bytes at a time until one of them needs a look. The arena gives at most a small multiple of the text's size, whatever
 * the text is: running out of an arena ends the process, so no event may cause that.
 */
#include "event/json.h"

#include "event/json_names.h"

#include <endian.h>
#include <errno.h>

enum { SCAN_LOCAL = 96 }; /* members on the C stack before the arena is asked */

struct scan {
    const char *begin, *end;
    struct arena *arena;
    struct span inner;
    struct json_object *ret, *ret_inner;

    struct json_member *members; /* the stack: those of all open objects */
    size_t count, size;
    size_t total; /* members seen so far, of closed objects as well */

    unsigned depth, depth_max;
    uint64_t objects;            /* bit n: what is open at depth n + 1 is an object, not an array */
    size_t base[JSON_DEPTH_MAX]; /* where the members of the object at depth n + 1 begin */

    enum json_kind top;
    const char *top_at;

    enum json_fault fault;
    const char *fault_at;
    const char *fault_text;
};

/* Notes what is wrong and where; NULL, so that it can be returned in place of the next position. */
static const char *scan_fail(struct scan *scan, const char *at, const char *what)
{
    scan->fault = JSON_FAULT_TEXT;
    scan->fault_at = at;
    scan->fault_text = what;
    return NULL;
}

static inline const char *scan_space(const struct scan *scan, const char *at)
{
    while (at < scan->end && (unsigned char)*at <= ' ' && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* ---------------------------------------------------------------- strings */

/* 0: an ordinary ASCII character; else what must be done about it. */
enum { BYTE_PLAIN, BYTE_QUOTE, BYTE_ESCAPE, BYTE_CONTROL, BYTE_TWO, BYTE_THREE, BYTE_FOUR, BYTE_BAD };

static const unsigned char byte_class[256] = {
    [0x00 ... 0x1f] = BYTE_CONTROL, ['"'] = BYTE_QUOTE,         ['\\'] = BYTE_ESCAPE,
    [0x80 ... 0xc1] = BYTE_BAD,     [0xc2 ... 0xdf] = BYTE_TWO, [0xe0 ... 0xef] = BYTE_THREE,
    [0xf0 ... 0xf4] = BYTE_FOUR,    [0xf5 ... 0xff] = BYTE_BAD,
};

/* How many of the next eight bytes are ordinary; 8 when all are. Bytes of 0x80 and more are hits of one subtraction or
 * another. */
static inline unsigned scan_plain_run(const char *at)
{
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t word;
    memcpy(&word, at, sizeof word);
    word = le64toh(word);
    uint64_t quote = word ^ ones * '"', escape = word ^ ones * '\\';
    /* A borrow can only come out of a byte that is a hit itself, so the lowest hit is always a true one. */
    uint64_t hits = ((word - ones * 0x20) | (quote - ones) | (escape - ones)) & ones * 0x80;
    return hits == 0 ? 8 : (unsigned)__builtin_ctzll(hits) / 8;
}

/* The length of the UTF-8 sequence at `at`, or 0 when it is overlong, a surrogate, out of range or torn. */
static size_t scan_utf8(const char *at, const char *end)
{
    const unsigned char *byte = (const unsigned char *)at;
    size_t length = (size_t)byte_class[byte[0]] - BYTE_TWO + 2;
    if ((size_t)(end - at) < length || (byte[1] & 0xc0) != 0x80)
        return 0;
    if ((byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xed && byte[1] > 0x9f) ||
        (byte[0] == 0xf0 && byte[1] < 0x90) || (byte[0] == 0xf4 && byte[1] > 0x8f))
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

static int scan_hex(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* `at` is the backslash; the position behind the escape, or NULL. */
static const char *scan_escape(struct scan *scan, const char *at)
{
    if (scan->end - at < 2)
        return scan_fail(scan, at, "the text ends inside a string");
    if (memchr("\"\\/bfnrt", at[1], 8) != NULL)
        return at + 2;
    if (at[1] != 'u')
        return scan_fail(scan, at, "a backslash is followed by something that is no escape");

    int code = scan_hex(at + 2, scan->end);
    if (code < 0)
        return scan_fail(scan, at, "\\u is not followed by four hexadecimal digits");
    if (code == 0)
        return scan_fail(scan, at, "\\u0000 is not accepted");
    if (code >= 0xdc00 && code <= 0xdfff)
        return scan_fail(scan, at, "a low surrogate stands without the high one before it");
    if (code < 0xd800 || code > 0xdbff)
        return at + 6;

    int low = scan->end - at >= 12 && at[6] == '\\' && at[7] == 'u' ? scan_hex(at + 8, scan->end) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return scan_fail(scan, at, "a high surrogate stands without the low one behind it");
    return at + 12;
}

/* `at` is behind the opening quote; the position behind the closing one, or NULL. Sets *escaped when there are escapes.
 * */
static const char *scan_string(struct scan *scan, const char *at, bool *escaped)
{
    const char *end = scan->end;
    for (;;) {
        while (end - at >= 8) {
            unsigned run = scan_plain_run(at);
            at += run;
            if (run < 8)
                break;
        }
        if (at == end)
            return scan_fail(scan, at, "the text ends inside a string");

        size_t length;
        switch (byte_class[(unsigned char)*at]) {
        case BYTE_PLAIN:
            at++;
            break;
        case BYTE_QUOTE:
            return at + 1;
        case BYTE_ESCAPE:
            *escaped = true;
            at = scan_escape(scan, at);
            if (at == NULL)
                return NULL;
            break;
        case BYTE_CONTROL:
            return scan_fail(scan, at, "a control character stands in a string without its escape");
        case BYTE_TWO:
        case BYTE_THREE:
        case BYTE_FOUR:
            length = scan_utf8(at, end);
            if (length == 0)
                return scan_fail(scan, at, "the bytes are not UTF-8");
            at += length;
            break;
        default:
            return scan_fail(scan, at, "the bytes are not UTF-8");
        }
    }
}

/* ---------------------------------------------------------------- numbers and words */

static inline const char *scan_digits(const struct scan *scan, const char *at)
{
    while (at < scan->end && (unsigned char)(*at - '0') <= 9)
        at++;
    return at;
}

static const char *scan_number(struct scan *scan, const char *at)
{
    const char *end = scan->end;
    if (*at == '-')
        at++;
    const char *digits = at;
    at = scan_digits(scan, at);
    if (at == digits)
        return scan_fail(scan, at, "a number has no digits");
    if (*digits == '0' && at - digits > 1)
        return scan_fail(scan, digits, "a number begins with a needless zero");
    if (at < end && *at == '.') {
        digits = ++at;
        at = scan_digits(scan, at);
        if (at == digits)
            return scan_fail(scan, at, "a number has no digits behind its point");
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        digits = at;
        at = scan_digits(scan, at);
        if (at == digits)
            return scan_fail(scan, at, "a number has no digits in its exponent");
    }
    return at;
}

static const char *scan_scalar(struct scan *scan, const char *at, enum json_kind *ret_kind, bool *ret_escaped)
{
    static const struct {
        struct span word;
        enum json_kind kind;
    } words[] = {{{"true", 4}, JSON_KIND_TRUE}, {{"false", 5}, JSON_KIND_FALSE}, {{"null", 4}, JSON_KIND_NULL}};

    if (*at == '"') {
        *ret_kind = JSON_KIND_STRING;
        return scan_string(scan, at + 1, ret_escaped);
    }
    if (*at == '-' || (unsigned char)(*at - '0') <= 9) {
        *ret_kind = JSON_KIND_NUMBER;
        return scan_number(scan, at);
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((size_t)(scan->end - at) >= words[i].word.length &&
            memcmp(at, words[i].word.at, words[i].word.length) == 0) {
            *ret_kind = words[i].kind;
            return at + words[i].word.length;
        }
    }
    return scan_fail(scan, at, "a value was expected");
}

/* ---------------------------------------------------------------- objects */

static void scan_grow(struct scan *scan)
{
    struct json_member *larger = arena_alloc_raw(scan->arena, scan->size * 2 * sizeof *larger);
    memcpy(larger, scan->members, scan->count * sizeof *larger);
    scan->members = larger;
    scan->size *= 2;
}

static void scan_keep(struct scan *scan, struct json_object *ret, size_t base, const char *from, const char *to)
{
    ret->count = scan->count - base;
    ret->members = arena_copy(scan->arena, scan->members + base, ret->count * sizeof *ret->members);
    ret->text = (struct span){from, (size_t)(to - from)};
}

/* Reads `"name" :` and puts the member on the stack; the position behind the colon, or NULL. */
static inline const char *scan_name(struct scan *scan, const char *at)
{
    at = scan_space(scan, at);
    if (at == scan->end || *at != '"')
        return scan_fail(scan, at, "the name of a member was expected, in double quotes");
    if (++scan->total > JSON_MEMBERS_MAX) {
        scan_fail(scan, at, "there are more than 10000 members");
        scan->fault = JSON_FAULT_TOO_MANY;
        return NULL;
    }
    if (scan->count == scan->size)
        scan_grow(scan);

    struct json_member *member = &scan->members[scan->count];
    const char *name = at + 1;
    member->name_escaped = false;
    at = scan_string(scan, name, &member->name_escaped);
    if (at == NULL)
        return NULL;
    member->name = (struct span){name, (size_t)(at - 1 - name)};
    scan->count++;
    at = scan_space(scan, at);
    if (at == scan->end || *at != ':')
        return scan_fail(scan, at, "a colon was expected behind a member's name");
    return at + 1;
}

static inline bool scan_in_object(const struct scan *scan)
{
    return scan->depth > 0 && (scan->objects >> (scan->depth - 1) & 1) != 0;
}

static inline struct json_member *scan_top(struct scan *scan)
{
    return &scan->members[scan->count - 1];
}

static const char *scan_open(struct scan *scan, const char *at, bool object)
{
    if (scan->depth == scan->depth_max) {
        scan_fail(scan, at, "objects and arrays are nested more than 64 deep");
        scan->fault = JSON_FAULT_TOO_DEEP;
        return NULL;
    }
    if (object)
        scan->objects |= 1ull << scan->depth;
    else
        scan->objects &= ~(1ull << scan->depth);
    scan->base[scan->depth++] = scan->count;
    return scan_space(scan, at + 1);
}

/* `at` is the bracket that closes what is open; the position behind it, or NULL. */
static const char *scan_close(struct scan *scan, const char *at)
{
    size_t base = scan->base[scan->depth - 1], count = scan->count - base;
    bool object = scan_in_object(scan);
    scan->depth--;
    if (!object)
        return at + 1;

    const struct json_member *members = scan->members + base, *twice = NULL;
    if (count > 1)
        twice = json_names_twice(members, count, scan->arena);
    if (twice != NULL)
        return scan_fail(scan, twice->name.at - 1, "the name of a member stands twice in one object");

    if (scan->depth == 0)
        scan_keep(scan, scan->ret, base, scan->top_at, at + 1);
    else if (scan->depth == 1 && scan->ret_inner != NULL && scan_in_object(scan) &&
             span_equal(members[-1].name, scan->inner) && !members[-1].name_escaped)
        scan_keep(scan, scan->ret_inner, base, members[-1].value.at, at + 1);
    scan->count = base;
    return at + 1;
}

/* Notes a value that has ended before `at` in the member it belongs to. */
static inline void scan_ended(struct scan *scan, const char *at, enum json_kind kind, bool escaped)
{
    if (!scan_in_object(scan))
        return;
    struct json_member *member = scan_top(scan);
    member->value.length = (size_t)(at - member->value.at);
    member->kind = kind;
    member->value_escaped = escaped;
}

/* Behind a value: takes closing brackets for as long as they come; the position where the next value begins, or NULL at
 * the end of the whole (fault 0) or when something is wrong. */
static const char *scan_after(struct scan *scan, const char *at, const char **ret_end)
{
    while (scan->depth > 0) {
        bool object = scan_in_object(scan);
        at = scan_space(scan, at);
        if (at == scan->end)
            return scan_fail(scan, at, "the text ends before everything is closed");
        if (*at == ',')
            return object ? scan_name(scan, at + 1) : at + 1;
        if (*at != (object ? '}' : ']'))
            return scan_fail(scan, at, object ? "a comma or } was expected" : "a comma or ] was expected");
        at = scan_close(scan, at);
        if (at == NULL)
            return NULL;
        scan_ended(scan, at, object ? JSON_KIND_OBJECT : JSON_KIND_ARRAY, false);
    }
    *ret_end = at;
    return NULL;
}

/* Reads one value with all that is in it; the position behind it, or NULL. */
static const char *scan_value(struct scan *scan, const char *at)
{
    for (;;) {
        at = scan_space(scan, at);
        if (at == scan->end)
            return scan_fail(scan, at, "the text ends where a value was expected");
        if (scan_in_object(scan))
            scan_top(scan)->value.at = at;

        if (*at == '{' || *at == '[') {
            bool object = *at == '{';
            if (scan->depth == 0) {
                scan->top = object ? JSON_KIND_OBJECT : JSON_KIND_ARRAY;
                scan->top_at = at;
            }
            at = scan_open(scan, at, object);
            if (at == NULL)
                return NULL;
            if (at == scan->end || *at != (object ? '}' : ']')) {
                if (object && (at = scan_name(scan, at)) == NULL)
                    return NULL;
                continue;
            }
        } else {
            enum json_kind kind;
            bool escaped = false;
            at = scan_scalar(scan, at, &kind, &escaped);
            if (at == NULL)
                return NULL;
            scan_ended(scan, at, kind, escaped);
            if (scan->depth == 0)
                scan->top = kind;
        }

        const char *end = NULL;
        at = scan_after(scan, at, &end);
        if (at == NULL)
            return end;
    }
}

static int scan_text(struct span text, unsigned depth_max, struct span inner, struct arena *arena,
                     struct json_object *ret, struct json_object *ret_inner, enum json_fault *ret_fault,
                     struct error *error)
{
    struct json_member local[SCAN_LOCAL];
    struct json_object object = {0}, nested = {0};
    if (text.at == NULL)
        text.at = "";
    struct scan scan = {
        .begin = text.at,
        .end = text.at + text.length,
        .arena = arena,
        .inner = inner,
        .ret = &object,
        .ret_inner = ret_inner == NULL ? NULL : &nested,
        .members = local,
        .size = SCAN_LOCAL,
        .depth_max = depth_max,
    };

    const char *at = scan_space(&scan, text.at);
    bool empty = at == scan.end;
    if (empty)
        scan_fail(&scan, at, "there is nothing but white space");
    else if ((at = scan_value(&scan, at)) != NULL && (at = scan_space(&scan, at)) != scan.end)
        scan_fail(&scan, at, "bytes follow behind the value");
    else if (at != NULL && scan.top != JSON_KIND_OBJECT)
        scan_fail(&scan, scan_space(&scan, text.at), "an object was expected");
    if (scan.fault == JSON_FAULT_TEXT && (empty || (at == scan.end && scan.top != JSON_KIND_OBJECT)))
        scan.fault = JSON_FAULT_NOT_OBJECT;

    if (scan.fault != 0) {
        if (ret_fault != NULL)
            *ret_fault = scan.fault;
        bool big = scan.fault == JSON_FAULT_TOO_DEEP || scan.fault == JSON_FAULT_TOO_MANY;
        return error_set(error, big ? E2BIG : EINVAL, "the JSON text cannot be used: %s, at byte %zu", scan.fault_text,
                         (size_t)(scan.fault_at - scan.begin));
    }
    *ret = object;
    if (ret_inner != NULL)
        *ret_inner = nested;
    return 0;
}

int json_scan_nested(struct span text, struct span inner, struct arena *arena, struct json_object *ret,
                     struct json_object *ret_inner, enum json_fault *ret_fault, struct error *error)
{
    return scan_text(text, JSON_DEPTH_MAX, inner, arena, ret, ret_inner, ret_fault, error);
}

int json_scan_inner(struct span text, struct arena *arena, struct json_object *ret, enum json_fault *ret_fault,
                    struct error *error)
{
    return scan_text(text, JSON_DEPTH_MAX - 1, (struct span){NULL, 0}, arena, ret, NULL, ret_fault, error);
}

int json_scan(struct span text, struct arena *arena, struct json_object *ret, struct error *error)
{
    return json_scan_nested(text, (struct span){NULL, 0}, arena, ret, NULL, NULL, error);
}
