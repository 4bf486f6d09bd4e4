/*
 * plain.c - see plain.h.
 */
#include "cli/plain.h"

/* The printable character at `at`, its length in bytes; 0: what is there is escaped, byte by byte. */
static size_t character(struct span bytes, size_t at)
{
    unsigned char first = (unsigned char)bytes.at[at];
    size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0x20 || first == 0x7f || length > bytes.length - at ||
        span_utf8((struct span){bytes.at + at, length}) != length)
        return 0;
    if (first == 0xc2 && (unsigned char)bytes.at[at + 1] < 0xa0)
        return 0; /* C1: as good as an escape sequence to some terminals */
    /* What turns the direction of text around: U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069 */
    if (first == 0xe2 && (unsigned char)bytes.at[at + 1] == 0x80) {
        unsigned char last = (unsigned char)bytes.at[at + 2];
        return last == 0x8e || last == 0x8f || (last >= 0xa8 && last <= 0xae) ? 0 : length;
    }
    if (first == 0xe2 && (unsigned char)bytes.at[at + 1] == 0x81) {
        unsigned char last = (unsigned char)bytes.at[at + 2];
        return last >= 0xa6 && last <= 0xa9 ? 0 : length;
    }
    return length;
}

/* Columns that were printed. */
static size_t print(FILE *out, struct span bytes, size_t most)
{
    size_t columns = 0, end = most > 0 && most < bytes.length ? most : bytes.length;
    for (size_t i = 0; i < end;) {
        size_t length = character(bytes, i);
        if (length > 0)
            columns += fwrite(bytes.at + i, 1, length, out) / length;
        else
            columns += (size_t)fprintf(out, "\\x%02x", (unsigned char)bytes.at[i]);
        i += length > 0 ? length : 1;
    }
    if (end < bytes.length)
        columns += (size_t)(fputs("…", out) >= 0);
    return columns;
}

void plain_write(FILE *out, struct span bytes, size_t most)
{
    (void)print(out, bytes, most);
}

void plain_print(struct span bytes, size_t most)
{
    (void)print(stdout, bytes, most);
}

void plain_column(struct span bytes, size_t width)
{
    size_t columns = print(stdout, bytes, 0);
    printf("%*s", columns < width ? (int)(width - columns) : 0, "");
}
