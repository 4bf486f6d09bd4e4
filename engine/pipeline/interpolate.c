/*
 * interpolate.c - ${VAR}, ${VAR:-default} and ${file:PATH} in a scalar.
 *
 * Works on the scalar's text after YAML was read, so what comes from outside is never read as YAML. Nothing nests. An
 * unset variable is an error, an empty one a value; with a default both give that, as in a shell.
 */
#include "pipeline/interpolate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INTERPOLATED_MAX = 64 * 1024 };

static bool name_ok(struct span name)
{
    for (size_t i = 0; i < name.length; i++) {
        char c = name.at[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.length > 0;
}

/* All of it, up to `size` bytes; or -errno. */
static ssize_t file_read(int fd, char *ret, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t got = read(fd, ret + length, size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    return (ssize_t)length;
}

static bool put_file(struct node *node, struct span path, struct arena *arena, struct buffer *out,
                     struct problems *problems)
{
    const char *name = arena_string(arena, path);
    char bytes[INTERPOLATED_MAX + 1];
    struct stat status;
    /* A pipe or a terminal would wait for ever. */
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        problem_add(problems, node->place, "bad_interpolation", "${file:%s}: %s; expected a readable file", name,
                    fd < 0 ? strerror(errno) : "this is no regular file");
        if (fd >= 0)
            close(fd);
        return false;
    }
    ssize_t length = file_read(fd, bytes, sizeof bytes);
    close(fd);
    if (length < 0) {
        problem_add(problems, node->place, "bad_interpolation", "${file:%s}: %s", name, strerror((int)-length));
        return false;
    }
    if (length > INTERPOLATED_MAX) {
        problem_add(problems, node->place, "bad_interpolation", "${file:%s}: the file has more than %d bytes", name,
                    INTERPOLATED_MAX);
        return false;
    }
    if (status.st_mode & (S_IRWXG | S_IRWXO))
        problem_warn(problems, node->place, "open_secret",
                     "${file:%s}: others may read this file (mode %03o); a secret wants mode 600", name,
                     (unsigned)(status.st_mode & 0777));
    while (length > 0 && (bytes[length - 1] == '\n' || bytes[length - 1] == '\r'))
        length--;
    if (memchr(bytes, '\0', (size_t)length) != NULL) {
        problem_add(problems, node->place, "bad_interpolation", "${file:%s}: the file holds a NUL byte", name);
        return false;
    }
    buffer_append(out, bytes, (size_t)length);
    return true;
}

static bool put_variable(struct node *node, struct span inside, struct arena *arena, struct buffer *out,
                         struct problems *problems)
{
    struct span name = inside, fallback = {NULL, 0};
    for (size_t i = 0; i + 1 < inside.length; i++)
        if (inside.at[i] == ':' && inside.at[i + 1] == '-') {
            name.length = i;
            fallback = (struct span){inside.at + i + 2, inside.length - i - 2};
            break;
        }
    if (!name_ok(name)) {
        problem_add(problems, node->place, "bad_interpolation",
                    "'${%.*s}': expected ${VARIABLE}, ${VARIABLE:-default} or ${file:PATH}", (int)inside.length,
                    inside.at);
        return false;
    }
    const char *value = getenv(arena_string(arena, name));
    if (value != NULL && (value[0] != '\0' || fallback.at == NULL)) {
        buffer_text(out, value);
        return true;
    }
    if (fallback.at == NULL) {
        problem_add(problems, node->place, "unset_variable",
                    "${%.*s} is not set in the environment; set it, or write ${%.*s:-default}", (int)name.length,
                    name.at, (int)name.length, name.at);
        return false;
    }
    buffer_span(out, fallback);
    return true;
}

bool interpolate(struct node *node, struct arena *arena, struct problems *problems)
{
    struct span text = node->text;
    struct buffer out;
    bool good = true;
    if (memmem(text.at, text.length, "${", 2) == NULL)
        return true;
    buffer_init(&out, 4 * INTERPOLATED_MAX);
    for (size_t i = 0; i < text.length;) {
        if (text.at[i] != '$' || i + 1 >= text.length || text.at[i + 1] != '{') {
            buffer_byte(&out, text.at[i++]);
            continue;
        }
        const char *begin = text.at + i + 2, *end = memchr(begin, '}', text.length - i - 2);
        struct span inside = {begin, end == NULL ? 0 : (size_t)(end - begin)};
        if (end == NULL) {
            problem_add(problems, node->place, "bad_interpolation", "'${' without its '}'");
            good = false;
        } else if (memmem(inside.at, inside.length, "${", 2) != NULL) {
            problem_add(problems, node->place, "bad_interpolation", "'${…}' inside '${…}': nothing nests here");
            good = false;
        } else if (inside.length > 5 && memcmp(inside.at, "file:", 5) == 0) {
            good = put_file(node, (struct span){inside.at + 5, inside.length - 5}, arena, &out, problems) && good;
        } else {
            good = put_variable(node, inside, arena, &out, problems) && good;
        }
        i = end == NULL ? text.length : (size_t)(end - text.at) + 1;
    }
    node->interpolated = true;
    node->text = good ? (struct span){arena_string(arena, buffer_view(&out)), out.length} : node->text;
    buffer_free(&out);
    return good;
}
