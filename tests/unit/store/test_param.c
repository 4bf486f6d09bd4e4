/*
 * test_param.c - the bytes of parameters, against PostgreSQL's documented binary formats, written out by hand.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store/connection/connection.h"

static void encodes(const struct store_param *param, const char *bytes, size_t length)
{
    struct buffer out;
    bool null = true;
    buffer_init(&out, 4096);
    buffer_text(&out, "before"); /* what stands there already is left alone */
    assert_int_equal(param_encode(&out, param, &null), 0);
    assert_int_equal(null, bytes == NULL);
    assert_int_equal(out.length, 6 + length);
    assert_memory_equal(out.at, "before", 6);
    if (length > 0)
        assert_memory_equal(out.at + 6, bytes, length);
    buffer_free(&out);
}
#define ENCODES(param, literal) encodes(&(const struct store_param)param, "" literal, sizeof literal - 1)

static void single_values(void **state)
{
    (void)state;
    const int16_t int2 = -2;
    const int32_t int4 = 0x01020304, yes = 256, no = 0;
    const int64_t int8 = 0x0102030405060708, epoch_ms = 946684800001;
    const double one = 1;
    const struct span text = SPAN("a\0b"), none = {NULL, 0}, empty = SPAN("");
    struct event_id id;
    memcpy(id.bytes, "0123456789abcdef", 16);
    ENCODES(STORE_VALUE(PARAM_INT2, &int2), "\xff\xfe");
    ENCODES(STORE_VALUE(PARAM_INT4, &int4), "\1\2\3\4");
    ENCODES(STORE_VALUE(PARAM_INT8, &int8), "\1\2\3\4\5\6\7\10");
    ENCODES(STORE_VALUE(PARAM_XID8, &int8), "\1\2\3\4\5\6\7\10");
    ENCODES(STORE_VALUE(PARAM_BOOL, &yes), "\1");
    ENCODES(STORE_VALUE(PARAM_BOOL, &no), "\0");
    ENCODES(STORE_VALUE(PARAM_DOUBLE, &one), "\x3f\xf0\0\0\0\0\0\0");
    ENCODES(STORE_VALUE(PARAM_TIMESTAMP, &epoch_ms), "\0\0\0\0\0\0\x03\xe8");
    ENCODES(STORE_VALUE(PARAM_TEXT, &text), "a\0b");
    ENCODES(STORE_VALUE(PARAM_BYTEA, &text), "a\0b");
    ENCODES(STORE_VALUE(PARAM_JSONB, &text), "\1a\0b");
    ENCODES(STORE_VALUE(PARAM_UUID, &id), "0123456789abcdef");
    ENCODES(STORE_VALUE(PARAM_TEXT, &empty), "");
    encodes(&(const struct store_param)STORE_VALUE(PARAM_BYTEA, &none), NULL, 0);
}

static void arrays(void **state)
{
    (void)state;
    const struct {
        int16_t number;
        struct span text;
    } elements[] = {{1, SPAN("xy")}, {-1, {NULL, 0}}};
    ENCODES(STORE_COLUMN(PARAM_INT2, &elements[0].number, 2, sizeof elements[0]), "\0\0\0\1"
                                                                                  "\0\0\0\0"
                                                                                  "\0\0\0\x15"
                                                                                  "\0\0\0\2"
                                                                                  "\0\0\0\1"
                                                                                  "\0\0\0\2\0\1"
                                                                                  "\0\0\0\2\xff\xff");
    ENCODES(STORE_COLUMN(PARAM_TEXT, &elements[0].text, 2, sizeof elements[0]), "\0\0\0\1"
                                                                                "\0\0\0\1"
                                                                                "\0\0\0\x19"
                                                                                "\0\0\0\2"
                                                                                "\0\0\0\1"
                                                                                "\0\0\0\2xy"
                                                                                "\xff\xff\xff\xff");
    ENCODES(STORE_COLUMN(PARAM_JSONB, &elements[0].text, 1, sizeof elements[0]), "\0\0\0\1"
                                                                                 "\0\0\0\0"
                                                                                 "\0\0\x0e\xda"
                                                                                 "\0\0\0\1"
                                                                                 "\0\0\0\1"
                                                                                 "\0\0\0\3\1xy");
    ENCODES(STORE_ARRAY(PARAM_INT2, NULL, 0), "\0\0\0\0"
                                              "\0\0\0\0"
                                              "\0\0\0\x15"); /* no dimensions */
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct buffer out;
    bool null;
    char large[100] = {0};
    const struct span text = {large, sizeof large};
    const struct store_param param = STORE_VALUE(PARAM_TEXT, &text), array = STORE_ARRAY(PARAM_TEXT, &text, 1);
    const struct store_param unknown = {.type = 99, .values = large}, none = {.type = 0, .values = large};
    buffer_init(&out, 64);
    assert_int_equal(param_encode(&out, &param, &null), -EMSGSIZE);
    buffer_clear(&out);
    assert_int_equal(param_encode(&out, &array, &null), -EMSGSIZE);
    assert_int_equal(param_encode(&out, &unknown, &null), -EINVAL);
    assert_int_equal(param_encode(&out, &none, &null), -EINVAL);
    assert_int_equal(param_oid(99, false), 0);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_values),
        cmocka_unit_test(arrays),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
