/*
 * test_sha256.c - the digests of FIPS 180-4's examples, at every way of cutting the bytes, and of a file.
 */
#include "base/sha256.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* `piece` bytes at a time. */
static const char *digits_of(struct span text, size_t piece)
{
    static char digits[SHA256_DIGITS + 1];
    uint8_t digest[SHA256_BYTES];
    struct sha256 hash;
    sha256_begin(&hash);
    for (size_t at = 0; at < text.length; at += piece)
        sha256_add(&hash, (struct span){text.at + at, text.length - at < piece ? text.length - at : piece});
    sha256_end(&hash, digest);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        snprintf(digits + 2 * i, 3, "%02x", digest[i]);
    return digits;
}

static void known_digests(void **state)
{
    static const struct {
        struct span text;
        const char *digits;
    } known[] = {
        {SPAN(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {SPAN("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {SPAN("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {SPAN("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrst"
              "nopqrstu"),
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        for (size_t piece = 1; piece <= 130; piece++)
            assert_string_equal(digits_of(known[i].text, piece), known[i].digits);
}

static void every_length(void **state)
{
    static const char zeros[200];
    uint8_t digest[SHA256_BYTES];
    struct sha256 all;
    (void)state;
    sha256_begin(&all);
    for (size_t length = 0; length <= sizeof zeros; length++)
        sha256_add(&all, span_of(digits_of((struct span){zeros, length}, 64)));
    sha256_end(&all, digest);
    static const uint8_t wanted[] = {0xf5, 0x5e, 0x50, 0x2c,
                                     0xfd, 0x80, 0xfe, 0xf7}; /* the first bytes, computed by another program */
    assert_memory_equal(digest, wanted, sizeof wanted);
}

static void of_a_file(void **state)
{
    char path[] = "/tmp/sluice-sha256-XXXXXX", digits[SHA256_DIGITS + 1], bytes[100000];
    int file = mkstemp(path);
    (void)state;
    assert_true(file >= 0);
    memset(bytes, 'a', sizeof bytes);
    for (int i = 0; i < 10; i++)
        assert_int_equal(write(file, bytes, sizeof bytes), sizeof bytes);
    close(file);
    assert_int_equal(sha256_file(path, digits), 0);
    assert_string_equal(digits, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"); /* FIPS 180-4 */
    unlink(path);
    assert_int_equal(sha256_file(path, digits), -ENOENT);
    assert_string_equal(digits, "");
    assert_int_equal(sha256_file("/tmp", digits), -EISDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_digests), cmocka_unit_test(every_length),
                                       cmocka_unit_test(of_a_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
