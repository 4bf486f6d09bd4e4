/*
 * plain.c - see plain.h.
 */
#include "cli/plain.h"

/* Columns that were printed. */
static size_t print(FILE *out, struct span bytes, size_t most)
{
    size_t columns = 0, end = most > 0 && most < bytes.length ? most : bytes.length;
    for (size_t i = 0; i < end;) {
        size_t length = span_printable(bytes, i);
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
