/*
 * fuzz_json.c - the scanner against jansson, an independent parser: both must agree on what JSON is, save where we
 * promise to be stricter (depth, number of members) or jansson is (numbers beyond its types). And what the scanner
 * found, a second look must find again.
 */
#include "fuzz.h"

#include "event/json.h"

#include <errno.h>
#include <jansson.h>

/* Whether jansson takes the text, and why not when it does not. */
static bool oracle_accepts(struct span text, json_error_t *ret_error)
{
    json_t *parsed = json_loadb(text.at, text.length, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, ret_error);
    bool object = json_is_object(parsed);
    json_decref(parsed);
    return object;
}

static bool inside(struct span part, struct span whole)
{
    return part.at >= whole.at && part.at + part.length <= whole.at + whole.length;
}

static void check_value(const struct json_member *member, struct arena *arena)
{
    int64_t whole;
    double real;
    if (member->kind == JSON_KIND_STRING) {
        struct span plain = json_unescape(member->value, member->value_escaped, arena);
        must(plain.length <= member->value.length - 2);
        must(member->value_escaped == (memchr(member->value.at, '\\', member->value.length) != NULL));
        must(plain.length == 0 || memchr(plain.at, '\0', plain.length) == NULL);
        /* Written as we write strings, it spells the same. */
        struct buffer again;
        buffer_init(&again, 8 * plain.length + 8);
        buffer_json_string(&again, plain);
        must(!again.failed);
        must(span_equal(json_unescape(buffer_view(&again), true, arena), plain));
        buffer_free(&again);
    } else if (member->kind == JSON_KIND_NUMBER) {
        int integer = json_int64(member->value, &whole), floating = json_double(member->value, &real);
        must(integer == 0 || integer == -ERANGE || integer == -EINVAL);
        must(floating == 0 || floating == -ERANGE);
        if (integer == 0)
            must(floating == 0 && (double)whole == real);
    }
}

static void check_object(const struct json_object *object, struct arena *arena, int depth)
{
    struct json_object again;
    must(object->text.at[0] == '{' && object->text.at[object->text.length - 1] == '}');
    json_members(object->text, arena, &again);
    must(again.count == object->count);
    for (size_t i = 0; i < object->count; i++) {
        const struct json_member *one = &object->members[i], *two = &again.members[i];
        must(inside(one->name, object->text) && inside(one->value, object->text));
        must(one->name.at == two->name.at && one->name.length == two->name.length);
        must(one->value.at == two->value.at && one->value.length == two->value.length);
        must(one->kind == two->kind && one->name_escaped == two->name_escaped &&
             one->value_escaped == two->value_escaped);
        struct span name = {one->name.at - 1, one->name.length + 2};
        must(json_find(object, json_unescape(name, one->name_escaped, arena)) == one);
        check_value(one, arena);
        if (one->kind == JSON_KIND_OBJECT && depth < 3) {
            struct json_object inner;
            json_members(one->value, arena, &inner);
            check_object(&inner, arena, depth + 1);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct span text = {(const char *)bytes, size};
    struct arena *arena = arena_create(16384, 64 * size + (1 << 20));
    struct json_object object, inner;
    struct error error = {0};
    json_error_t why = {0};
    enum json_fault fault = 0;
    int result = json_scan_nested(text, SPAN("data"), arena, &object, &inner, &fault, &error);
    bool expected = oracle_accepts(text, &why);

    if (result == 0) {
        must(expected || json_error_code(&why) == json_error_numeric_overflow);
        check_object(&object, arena, 0);
        const struct json_member *data = json_find(&object, SPAN("data"));
        must((inner.text.at != NULL) == (data != NULL && data->kind == JSON_KIND_OBJECT && !data->name_escaped));
        if (inner.text.at != NULL) {
            must(span_equal(inner.text, data->value));
            check_object(&inner, arena, 0);
        }
    } else {
        must(error.text[0] != '\0' && (result == -EINVAL || result == -E2BIG));
        /* jansson 2.14 passes over a NUL byte behind a number. */
        bool nul = size > 0 && memchr(bytes, '\0', size) != NULL;
        must(!expected || nul || fault == JSON_FAULT_TOO_DEEP || fault == JSON_FAULT_TOO_MANY);
    }
    arena_destroy(arena);
    return 0;
}
