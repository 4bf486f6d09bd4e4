/*
 * versions.c - see versions.h.
 */
#include "plugin/versions.h"

#include "plugin/copies.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASH_DIGITS = 12 };

static void hash_file(const char *path, char ret[HASH_DIGITS + 1])
{
    struct stat status;
    uint8_t hash[16];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    void *bytes = MAP_FAILED;
    snprintf(ret, HASH_DIGITS + 1, "?");
    if (file >= 0 && fstat(file, &status) == 0 && status.st_size > 0)
        bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (file >= 0)
        close(file);
    if (bytes == MAP_FAILED)
        return;
    span_hash128((struct span){bytes, (size_t)status.st_size}, hash);
    munmap(bytes, (size_t)status.st_size);
    for (size_t i = 0; i < HASH_DIGITS / 2; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

void plugin_versions(const struct pipeline *pipeline, struct buffer *out)
{
    for (size_t i = 0; i < pipeline->plugin_count; i++) {
        const struct plugin_ref *ref = &pipeline->plugins[i];
        char original[PATH_MAX], copy[PATH_MAX], hash[HASH_DIGITS + 1];
        if (ref->plugin == NULL)
            continue;
        hash_file(copies_find(ref->path, original, copy) ? copy : ref->path, hash);
        buffer_format(out, "%s\t%s\t%s\n", ref->plugin->name, ref->plugin->version, hash);
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
