/*
 * test_error.c - sentences, hints and codes of base/error.h.
 */
#include "check.h"

#include "base/error.h"

static void test_set(void **state)
{
    (void)state;
    struct error error;
    memset(&error, 'x', sizeof error);
    assert_int_equal(error_set(&error, EINVAL, "line %d is wrong", 7), -EINVAL);
    assert_int_equal(error.code, EINVAL);
    assert_string_equal(error.text, "line 7 is wrong");
    assert_string_equal(error.hint, "");
    assert_int_equal(error_hint(&error, "write %s", "8"), -EINVAL);
    assert_string_equal(error.hint, "write 8");
    assert_int_equal(error_prefix(&error, "file %s", "a.yaml"), -EINVAL);
    assert_string_equal(error.text, "file a.yaml: line 7 is wrong");
    assert_string_equal(error.hint, "write 8");
    assert_int_equal(error_set(&error, ENOENT, "another"), -ENOENT);
    assert_string_equal(error.hint, "");
}

static void test_null(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, ENOMEM, "nobody reads %s", "this"), -ENOMEM);
    assert_int_equal(error_hint(NULL, "nor this"), -1);
    assert_int_equal(error_prefix(NULL, "nor this"), -1);
}

static void test_text_of_itself(void **state)
{
    (void)state;
    struct error error;
    error_set(&error, EIO, "the inner part");
    error_set(&error, EIO, "around %s around", error.text);
    assert_string_equal(error.text, "around the inner part around");
    error_prefix(&error, "%s", error.text);
    assert_string_equal(error.text, "around the inner part around: around the inner part around");
}

/* A sentence that is too long is cut, and never inside a character. */
static void test_cut(void **state)
{
    (void)state;
    struct error error;
    char longer[2 * ERROR_TEXT_MAX];
    for (size_t shift = 0; shift < 4; shift++) {
        size_t length = 0;
        memset(longer, 'a', shift);
        length = shift;
        while (length + 4 < sizeof longer) {
            memcpy(longer + length, "\xf0\x9f\x98\x80", 4);
            length += 4;
        }
        longer[length] = '\0';
        error_set(&error, EIO, "%s", longer);
        size_t kept = strlen(error.text);
        assert_in_range(kept, ERROR_TEXT_MAX - 4, ERROR_TEXT_MAX - 1);
        assert_int_equal((kept - shift) % 4, 0);
        assert_memory_equal(error.text, longer, kept);
        error_hint(&error, "%s", longer);
        assert_int_equal((strlen(error.hint) - shift) % 4, 0);
        assert_in_range(strlen(error.hint), ERROR_HINT_MAX - 4, ERROR_HINT_MAX - 1);
        error_prefix(&error, "b%s", "c");
        assert_int_equal((strlen(error.text) - 4 - shift) % 4, 0);
    }
    memset(longer, 'x', sizeof longer);
    longer[ERROR_TEXT_MAX - 1] = '\0';
    error_set(&error, EIO, "%s", longer);
    assert_string_equal(error.text, longer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_text_of_itself),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
