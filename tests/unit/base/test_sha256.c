/*
 * test_sha256.c - the digests of FIPS 180-4's examples, of every length around a block, and of a file of many reads.
 */
#include "base/sha256.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/sluice-sha256-XXXXXX";

static int make_file(void **state)
{
    int file = mkstemp(path);
    (void)state;
    return file < 0 ? -1 : close(file);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static const char *digits_of(const char *bytes, size_t size, int times)
{
    static char digits[SHA256_DIGITS + 1];
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < times; i++)
        assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(sha256_file(path, digits), 0);
    return digits;
}

static void known_digests(void **state)
{
    static const struct {
        const char *text, *digits;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqr"
         "stu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_string_equal(digits_of(known[i].text, strlen(known[i].text), 1), known[i].digits);
}

/* The digits of all lengths, one after the other, and their digest: the wanted one is another program's. */
static void every_length(void **state)
{
    static const char zeros[200];
    static char all[(sizeof zeros + 1) * SHA256_DIGITS];
    (void)state;
    for (size_t length = 0; length <= sizeof zeros; length++)
        memcpy(all + length * SHA256_DIGITS, digits_of(zeros, length, 1), SHA256_DIGITS);
    assert_string_equal(digits_of(all, sizeof all, 1),
                        "f55e502cfd80fef78fe7206d99c6dff4fab60fd17201a0a656296ce47240e6f2");
}

static void a_million_bytes(void **state)
{
    static char bytes[100000];
    (void)state;
    memset(bytes, 'a', sizeof bytes);
    assert_string_equal(digits_of(bytes, sizeof bytes, 10),
                        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"); /* FIPS 180-4 */
}

static void what_cannot_be_read(void **state)
{
    char digits[SHA256_DIGITS + 1];
    (void)state;
    assert_int_equal(sha256_file("/nowhere/at/all", digits), -ENOENT);
    assert_string_equal(digits, "");
    assert_int_equal(sha256_file("/tmp", digits), -EISDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_digests), cmocka_unit_test(every_length),
                                       cmocka_unit_test(a_million_bytes), cmocka_unit_test(what_cannot_be_read)};
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
