/*
 * test_report.c - see test_report.h.
 */
#include "cli/test_report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* As text of an XML file. What it may not hold becomes '?'. */
static void report_text(struct buffer *report, struct span text)
{
    for (size_t i = 0; i < text.length;) {
        size_t valid = span_utf8((struct span){text.at + i, text.length - i});
        for (size_t end = i + valid; i < end; i++) {
            char c = text.at[i];
            if (c == '<' || c == '>' || c == '&' || c == '"')
                buffer_format(report, "&#%d;", c);
            else
                buffer_byte(report, (unsigned char)c < 0x20 && c != '\n' && c != '\t' ? '?' : c);
        }
        if (i < text.length) {
            buffer_byte(report, '?');
            i++;
        }
    }
}

void report_test(struct buffer *report, const char *path, const struct flow *flow, int64_t took_ms, int said, bool good)
{
    char bytes[4096];
    buffer_text(report, "  <testcase classname=\"");
    report_text(report, span_of(path));
    buffer_text(report, "\" name=\"");
    report_text(report, span_of(flow->name));
    buffer_format(report, "\" line=\"%d\" time=\"%.3f\"", flow->place.line, (double)took_ms / 1000);
    if (good) {
        buffer_text(report, "/>\n");
        return;
    }
    buffer_text(report, "><failure message=\"not as expected\">\n");
    (void)lseek(said, 0, SEEK_SET);
    for (ssize_t length; (length = read(said, bytes, sizeof bytes)) > 0;)
        report_text(report, (struct span){bytes, (size_t)length});
    buffer_text(report, "</failure></testcase>\n");
}

bool report_write(const struct buffer *report, const char *path, size_t passed, size_t failed, double seconds)
{
    FILE *out = fopen(path, "w");
    bool written = out != NULL &&
                   fprintf(out,
                           "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                           "<testsuite name=\"sluice test\" tests=\"%zu\" failures=\"%zu\" time=\"%.3f\">\n",
                           passed + failed, failed, seconds) > 0 &&
                   buffer_write(report, out) && fputs("</testsuite>\n", out) >= 0;
    if (out != NULL && fclose(out) != 0)
        written = false;
    if (!written)
        fprintf(stderr, "sluice test: %s cannot be written: %s\n", path, strerror(errno));
    return written;
}
