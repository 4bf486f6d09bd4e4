/*
 * surroundings.c - see surroundings.h. Nine system calls when nothing was changed, since it runs after calls.
 */
#include "base/surroundings.h"

#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Those with which a plugin can stop what others of the process do. */
static const int limits[SURROUNDINGS_LIMITS] = {
    RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_DATA, RLIMIT_NPROC, RLIMIT_CPU,
};

void surroundings_read(struct surroundings *ret)
{
    struct stat status = {0};
    memset(ret, 0, sizeof *ret);
    ret->folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fstatat(AT_FDCWD, "", &status, AT_EMPTY_PATH) == 0) {
        ret->device = status.st_dev;
        ret->inode = status.st_ino;
    }
    ret->umask = umask(0);
    umask(ret->umask);
    pthread_sigmask(SIG_SETMASK, NULL, &ret->mask);
    snprintf(ret->locale, sizeof ret->locale, "%s", setlocale(LC_ALL, NULL));
    for (size_t i = 0; i < SURROUNDINGS_LIMITS; i++)
        getrlimit(limits[i], &ret->limits[i]);
}

static bool folder_restore(const struct surroundings *surroundings)
{
    struct stat status;
    if (fstatat(AT_FDCWD, "", &status, AT_EMPTY_PATH) != 0 ||
        /* faster than stat(".") */ (status.st_dev == surroundings->device && status.st_ino == surroundings->inode) ||
        surroundings->folder < 0)
        return true;
    return fchdir(surroundings->folder) != 0;
}

static bool locale_restore(const struct surroundings *surroundings)
{
    uselocale(LC_GLOBAL_LOCALE);
    if (strcmp(setlocale(LC_ALL, NULL), surroundings->locale) == 0)
        return true;
    setlocale(LC_ALL, surroundings->locale);
    return false;
}

static bool mask_restore(const struct surroundings *surroundings)
{
    sigset_t before = surroundings->mask; /* the kernel fills the part that it uses */
    pthread_sigmask(SIG_SETMASK, &surroundings->mask, &before);
    if (memcmp(&before, &surroundings->mask, sizeof before) == 0)
        return true;
    for (int number = 1; number < NSIG; number++)
        if (sigismember(&before, number) != sigismember(&surroundings->mask, number))
            return false;
    return true;
}

/* A hard limit that was lowered without the right to raise it stays; the soft one is put back as far as it goes. */
static bool limits_restore(const struct surroundings *surroundings)
{
    bool same = true;
    for (size_t i = 0; i < SURROUNDINGS_LIMITS; i++) {
        const struct rlimit *before = &surroundings->limits[i];
        struct rlimit now;
        if (getrlimit(limits[i], &now) != 0 || (now.rlim_cur == before->rlim_cur && now.rlim_max == before->rlim_max))
            continue;
        same = false;
        if (setrlimit(limits[i], before) != 0) {
            now.rlim_cur = before->rlim_cur < now.rlim_max ? before->rlim_cur : now.rlim_max;
            setrlimit(limits[i], &now);
        }
    }
    return same;
}

const char *surroundings_restore(const struct surroundings *surroundings)
{
    const char *changed = NULL;
    if (!mask_restore(surroundings))
        changed = "signal mask";
    if (umask(surroundings->umask) != surroundings->umask)
        changed = "umask";
    if (!locale_restore(surroundings))
        changed = "locale";
    if (!folder_restore(surroundings))
        changed = "working folder";
    if (!limits_restore(surroundings))
        changed = "resource limits";
    return changed;
}
