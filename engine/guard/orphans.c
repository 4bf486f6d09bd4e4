/*
 * orphans.c - see orphans.h.
 */
#include "guard/orphans.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ORPHANS_MS = 2000, ORPHANS_PAUSE_MS = 2 };

/* Up to `max` children of this process, which has one thread; there may be more. */
static size_t children(pid_t *ret, size_t max)
{
    char path[64], word[16];
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    while (file != NULL && count < max && fscanf(file, "%15s", word) == 1)
        ret[count++] = (pid_t)strtol(word, NULL, 10);
    if (file != NULL)
        fclose(file);
    return count;
}

void orphans_adopt(struct orphans *ret)
{
    ret->other_count = children(ret->others, ORPHANS_OTHERS_MAX);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        log_warn("master", "processes that a handler leaves may outlive the worker: %s", strerror(errno));
}

static bool is_other(const struct orphans *orphans, pid_t pid)
{
    for (size_t i = 0; i < orphans->other_count; i++)
        if (orphans->others[i] == pid)
            return true;
    return false;
}

void orphans_spare(struct orphans *orphans, pid_t pid)
{
    if (orphans->other_count < ORPHANS_OTHERS_MAX)
        orphans->others[orphans->other_count++] = pid;
}

void orphans_waited_for(struct orphans *orphans, pid_t pid)
{
    for (size_t i = 0; i < orphans->other_count; i++)
        if (orphans->others[i] == pid)
            orphans->others[i] = orphans->others[--orphans->other_count];
}

void orphans_end(const struct orphans *orphans, pid_t worker)
{
    enum { AT_ONCE = 2 * ORPHANS_OTHERS_MAX };
    int64_t end_ms = clock_monotonic_ms() + ORPHANS_MS;
    for (;;) {
        pid_t found[AT_ONCE];
        size_t count = children(found, AT_ONCE), ours = 0;
        for (size_t i = 0; i < count; i++) {
            if (found[i] == worker || is_other(orphans, found[i]))
                continue;
            ours++;
            kill(found[i], SIGKILL);
            waitpid(found[i], NULL, WNOHANG);
        }
        if (ours == 0)
            return;
        if (clock_monotonic_ms() > end_ms) {
            log_warn("master", "%zu processes that handlers left do not end", ours);
            return;
        }
        struct timespec pause = timespec_of_ms(ORPHANS_PAUSE_MS); /* theirs are ours when they have ended */
        nanosleep(&pause, NULL);
    }
}
