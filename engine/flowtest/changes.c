/*
 * changes.c - see changes.h.
 *
 * A folder that is not there is waited for in the nearest one that is, where anything counts. A symbolic link is
 * watched beside what it leads to.
 */
#include "flowtest/changes.h"

#include "base/span.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WATCHED_MAX = 10000, WATCH_EVENTS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE };

struct watched {
    size_t owner;
    int folder;   /* inotify's number of it */
    char *name;   /* in the folder; NULL: each */
    uint64_t key; /* of the path as it was given */
};

struct changes {
    int fd;
    struct watched *list;
    size_t count;
};

int changes_open(struct changes **ret, struct error *error)
{
    struct changes *changes = calloc(1, sizeof *changes);
    if (changes == NULL)
        return error_set(error, ENOMEM, "out of memory");
    changes->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (changes->fd < 0) {
        free(changes);
        return error_set(error, errno, "no files can be watched: inotify: %s", strerror(errno));
    }
    *ret = changes;
    return 0;
}

void changes_close(struct changes *changes)
{
    if (changes == NULL)
        return;
    for (size_t i = 0; i < changes->count; i++)
        free(changes->list[i].name);
    free(changes->list);
    close(changes->fd);
    free(changes);
}

/* `path` is cut at its last "/" until there is such a folder; `name`: what was cut off last. True: it was cut once. */
static bool cut(char path[PATH_MAX], char name[NAME_MAX + 1])
{
    struct stat status;
    for (int cuts = 0;; cuts++) {
        char *slash = strrchr(path, '/');
        snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, slash == NULL ? path : slash + 1);
        if (slash == NULL)
            snprintf(path, PATH_MAX, ".");
        else if (slash == path)
            slash[1] = '\0';
        else
            *slash = '\0';
        if ((stat(path, &status) == 0 && S_ISDIR(status.st_mode)) || slash == NULL || slash == path)
            return cuts == 0;
    }
}

static void add(struct changes *changes, size_t owner, const char *path, uint64_t key)
{
    char folder[PATH_MAX], name[NAME_MAX + 1];
    struct stat status;
    bool each = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    snprintf(folder, sizeof folder, "%s", path);
    if (!each)
        each = !cut(folder, name);
    int number = changes->count < WATCHED_MAX ? inotify_add_watch(changes->fd, folder, WATCH_EVENTS | IN_ONLYDIR) : -1;
    struct watched *grown = number < 0 ? NULL : reallocarray(changes->list, changes->count + 1, sizeof *grown);
    if (grown == NULL)
        return;
    changes->list = grown;
    changes->list[changes->count++] = (struct watched){owner, number, each ? NULL : strdup(name), key};
}

void changes_add(struct changes *changes, size_t owner, const char *path)
{
    char real[PATH_MAX];
    uint64_t key = span_hash(span_of(path));
    add(changes, owner, path, key);
    if (realpath(path, real) != NULL && strcmp(real, path) != 0)
        add(changes, owner, real, key);
}

void changes_forget(struct changes *changes, size_t owner)
{
    size_t kept = 0;
    for (size_t i = 0; i < changes->count; i++)
        if (changes->list[i].owner == owner)
            free(changes->list[i].name);
        else
            changes->list[kept++] = changes->list[i];
    changes->count = kept; /* inotify goes on to tell of their folders, of which nobody is the owner */
}

size_t changes_count(const struct changes *changes)
{
    size_t count = 0;
    for (size_t i = 0; i < changes->count; i++) {
        bool again = false;
        for (size_t j = 0; j < i && !again; j++)
            again = changes->list[j].key == changes->list[i].key;
        count += !again;
    }
    return count;
}

int changes_fd(const struct changes *changes)
{
    return changes->fd;
}

static bool told(const struct changes *changes, const struct inotify_event *event, bool *changed)
{
    bool some = false;
    for (size_t i = 0; i < changes->count; i++) {
        const struct watched *watched = &changes->list[i];
        bool meant = (event->mask & IN_Q_OVERFLOW) != 0 ||
                     (event->wd == watched->folder &&
                      (watched->name == NULL || (event->len > 0 && strcmp(event->name, watched->name) == 0)));
        if (meant)
            some = changed[watched->owner] = true;
    }
    return some;
}

bool changes_look(struct changes *changes, bool *changed)
{
    _Alignas(struct inotify_event) char bytes[16 * 1024];
    bool some = false;
    for (ssize_t length; (length = read(changes->fd, bytes, sizeof bytes)) > 0;)
        for (const char *at = bytes; at < bytes + length;) {
            const struct inotify_event *event = (const struct inotify_event *)at;
            some = told(changes, event, changed) || some;
            at += sizeof *event + event->len;
        }
    return some;
}
