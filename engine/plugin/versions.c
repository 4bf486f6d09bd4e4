/*
 * versions.c - see versions.h.
 */
#include "plugin/versions.h"

#include "base/sha256.h"
#include "plugin/copies.h"

enum { HASH_DIGITS = 12 }; /* of the SHA-256: what people compare at sight */

void plugin_versions(const struct pipeline *pipeline, struct buffer *out)
{
    for (size_t i = 0; i < pipeline->plugin_count; i++) {
        const struct plugin_ref *ref = &pipeline->plugins[i];
        char original[PATH_MAX], copy[PATH_MAX], hash[SHA256_DIGITS + 1];
        if (ref->plugin == NULL)
            continue;
        sha256_file(copies_find(ref->path, original, copy) ? copy : ref->path, hash);
        buffer_format(out, "%s\t%s\t%.*s\n", ref->plugin->name, ref->plugin->version, HASH_DIGITS,
                      hash[0] == '\0' ? "?" : hash);
    }
}

/* Up to `end`, which is dropped. */
static struct span word(struct span *line, char end)
{
    const char *at = line->length == 0 ? NULL : memchr(line->at, end, line->length);
    struct span found = {line->at, at == NULL ? line->length : (size_t)(at - line->at)};
    size_t past = found.length + (at != NULL);
    *line = (struct span){line->at + past, line->length - past};
    return found;
}

bool plugin_version_next(struct span *lines, struct plugin_version *ret)
{
    if (lines->length == 0)
        return false;
    struct span line = word(lines, '\n');
    ret->name = word(&line, '\t');
    ret->version = word(&line, '\t');
    ret->hash = line;
    return true;
}
