/*
 * copies.c - see copies.h.
 *
 * An engine that runs holds a lock on its folder; one without a lock is what an engine that was killed left behind.
 */
#include "plugin/copies.h"

#include "base/log.h"
#include "base/span.h"
#include "plugin/needs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum {
    COPY_TRIES = 20, /* of a file that changes while it is read */
    COPY_AGAIN_US = 50000,
    COPY_DEPTH_MAX = 8, /* libraries that need libraries */
    LEFT_SECONDS = 60,  /* a folder of that age that nobody locks was left behind */
};
#define COPIES_PREFIX "sluice-plugins-"

static char folder[PATH_MAX / 4]; /* "": not open */
static int folder_lock = -1;
static unsigned part_used;

/* ------------------------------------------------------------------------------------------------------ the folder */

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *place)
{
    (void)status, (void)flag, (void)place;
    return remove(path);
}

static void remove_left(const char *base)
{
    DIR *entries = opendir(base);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        char path[PATH_MAX];
        struct stat status;
        if (strncmp(entry->d_name, COPIES_PREFIX, strlen(COPIES_PREFIX)) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", base, entry->d_name);
        int file = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (file >= 0 && fstat(file, &status) == 0 && status.st_uid == geteuid() &&
            time(NULL) - status.st_mtime > LEFT_SECONDS && flock(file, LOCK_EX | LOCK_NB) == 0)
            nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        if (file >= 0)
            close(file);
    }
    if (entries != NULL)
        closedir(entries);
}

static bool may_run_programs(const char *base)
{
    struct statvfs status;
    return base != NULL && base[0] == '/' && access(base, W_OK | X_OK) == 0 && statvfs(base, &status) == 0 &&
           (status.f_flag & ST_NOEXEC) == 0;
}

int copies_open(struct error *error)
{
    const char *bases[] = {getenv("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"};
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        if (!may_run_programs(bases[i]))
            continue;
        remove_left(bases[i]);
        if (snprintf(folder, sizeof folder, "%s/" COPIES_PREFIX "XXXXXX", bases[i]) < (int)sizeof folder &&
            mkdtemp(folder) != NULL) {
            folder_lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (folder_lock >= 0)
                flock(folder_lock, LOCK_SH);
            return 0;
        }
        folder[0] = '\0';
    }
    return error_set(error, ENOENT,
                     "no folder for copies of the plugins: none of $TMPDIR, /tmp, /var/tmp and /dev/shm "
                     "can be written to and lets programs run");
}

void copies_close(void)
{
    if (folder[0] == '\0')
        return;
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    folder[0] = '\0';
    if (folder_lock >= 0)
        close(folder_lock);
    folder_lock = -1;
}

void copies_use(unsigned number)
{
    part_used = number;
}

void copies_remove(unsigned number)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s/%u", folder, number);
    if (folder[0] != '\0')
        nftw(part, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Where the copy of an original is, in the part that is used. False: its name would be too long. */
static bool copy_name(const char *original, char ret[PATH_MAX])
{
    return snprintf(ret, PATH_MAX, "%s/%u%s", folder, part_used, original) < PATH_MAX;
}

/* ---------------------------------------------------------------------------------------------------------- a copy */

static int make_folders(char *path)
{
    for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        int r = mkdir(path, 0700) != 0 && errno != EEXIST ? -errno : 0;
        *at = '/';
        if (r != 0)
            return r;
    }
    return 0;
}

static int copy_bytes(int from, int to)
{
    char bytes[64 * 1024];
    if (lseek(from, 0, SEEK_SET) != 0 || ftruncate(to, 0) != 0 || lseek(to, 0, SEEK_SET) != 0)
        return -errno;
    for (;;) {
        ssize_t got = read(from, bytes, sizeof bytes);
        if (got <= 0)
            return got == 0 ? 0 : -errno;
        for (ssize_t at = 0, written; at < got; at += written)
            if ((written = write(to, bytes + at, (size_t)(got - at))) < 0)
                return -errno;
    }
}

static bool same_state(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Until the file was the same before and after. */
static int copy_whole(int from, int to)
{
    for (int tries = 0; tries < COPY_TRIES; tries++) {
        struct stat before, after;
        int r = fstat(from, &before) == 0 ? copy_bytes(from, to) : -errno;
        if (r == 0 && fstat(from, &after) != 0)
            r = -errno;
        if (r != 0)
            return r;
        if (same_state(&before, &after)) {
            struct timespec times[2] = {before.st_atim, before.st_mtim};
            return futimens(to, times) == 0 && fchmod(to, 0500) == 0 ? 0 : -errno;
        }
        usleep(COPY_AGAIN_US);
    }
    return -EBUSY;
}

static int copy_make(const char *original, char *copy)
{
    int from = open(original, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return -errno;
    int r = make_folders(copy);
    int to = r == 0 ? open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700) : -1;
    if (r == 0)
        r = to < 0 ? -errno : copy_whole(from, to);
    if (to >= 0)
        close(to);
    close(from);
    return r;
}

struct copying {
    const char *original;
    int depth;
};

static int copy_with_needs(const struct copying *copying, char ret[PATH_MAX]);

/* A library that may stand below the folder of another one. */
static int copy_need(const char *below, const char *name, void *context)
{
    char path[PATH_MAX], copy[PATH_MAX];
    const struct copying *copying = context;
    int length = (int)(strrchr(copying->original, '/') - copying->original), depth = 0;
    if (snprintf(path, sizeof path, "%.*s%s/%s", length, copying->original, below, name) >= (int)sizeof path)
        return 0;
    for (const char *at = path; at != NULL && depth >= 0; at = strchr(at + 1, '/'))
        depth += strncmp(at, "/../", 4) == 0 ? -1 : strncmp(at, "/./", 3) == 0 || strncmp(at, "//", 2) == 0 ? 0 : 1;
    if (depth < 0 || access(path, R_OK) != 0)
        return 0;
    return copy_with_needs(&(struct copying){path, copying->depth + 1}, copy);
}

/* It gets its name when all of it is there: a process that is killed meanwhile leaves nothing that looks whole. */
static int copy_with_needs(const struct copying *copying, char ret[PATH_MAX])
{
    char part[PATH_MAX];
    if (!copy_name(copying->original, ret) || snprintf(part, sizeof part, "%s.part", ret) >= (int)sizeof part)
        return -ENAMETOOLONG;
    if (access(ret, R_OK) == 0 || copying->depth == COPY_DEPTH_MAX) /* or they need each other */
        return 0;
    int r = copy_make(copying->original, part);
    if (r == 0)
        r = needs_each(part, copy_need, (void *)(uintptr_t)copying);
    return r == 0 && rename(part, ret) != 0 ? -errno : r;
}

/* The name of a link to the original: what it was loaded as, a path of any form. */
static void known_name(const char *path, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s/%u/%016llx", folder, part_used, (unsigned long long)span_hash(span_of(path)));
}

bool copies_find(const char *path, char ret_original[PATH_MAX], char ret_copy[PATH_MAX])
{
    struct stat now, then;
    char known[PATH_MAX];
    if (folder[0] == '\0')
        return false;
    known_name(path, known);
    ssize_t length = readlink(known, ret_original, PATH_MAX - 1);
    if (length < 0)
        return false;
    ret_original[length] = '\0';
    if (!copy_name(ret_original, ret_copy) || stat(ret_copy, &then) != 0)
        return false;
    if (stat(ret_original, &now) != 0 || !same_state(&now, &then))
        log_warn(
            "plugin",
            "%s has changed since the engine read its files, and runs as it was then; reload the engine to load it",
            ret_original);
    return true;
}

int copies_make(const char *path, const char *original, char ret_copy[PATH_MAX], struct error *error)
{
    char known[PATH_MAX];
    if (folder[0] == '\0') {
        snprintf(ret_copy, PATH_MAX, "%s", original);
        return 0;
    }
    int r = copy_with_needs(&(struct copying){.original = original}, ret_copy);
    known_name(path, known);
    if (r == 0 && symlink(original, known) != 0 && errno != EEXIST)
        r = -errno;
    return r == 0 ? 0 : error_set(error, -r, "%s cannot be copied to %s: %s", original, folder, strerror(-r));
}
