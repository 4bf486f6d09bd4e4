/*
 * url.c - the url of another database of the same server.
 */
#include "base/buffer.h"
#include "store/store.h"

#include <libpq-fe.h>
#include <stdlib.h>

enum { URL_MAX = 16 * 1024 };

static void add(struct buffer *out, const char *keyword, const char *value)
{
    buffer_format(out, "%s%s='", out->length == 0 ? "" : " ", keyword);
    for (; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            buffer_byte(out, '\\');
        buffer_byte(out, *value);
    }
    buffer_byte(out, '\'');
}

char *store_url_of(const char *url, const char *database, const char *options)
{
    char *message = NULL; /* may quote the url: never shown */
    PQconninfoOption *parts = PQconninfoParse(url, &message);
    struct buffer out;
    PQfreemem(message);
    if (parts == NULL)
        return NULL;
    buffer_init(&out, URL_MAX);
    for (const PQconninfoOption *part = parts; part->keyword != NULL; part++)
        if (part->val != NULL && strcmp(part->keyword, "dbname") != 0 && strcmp(part->keyword, "options") != 0)
            add(&out, part->keyword, part->val);
    add(&out, "dbname", database);
    if (options != NULL)
        add(&out, "options", options);
    buffer_byte(&out, '\0');
    PQconninfoFree(parts);
    if (!out.failed)
        return out.at;
    buffer_free(&out);
    return NULL;
}
