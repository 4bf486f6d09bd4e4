/*
 * chaos_process.c - the modes of chaos that end or hold the process, and those that change what belongs to all of it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "chaos.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void chaos_sleep(int64_t ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0)
        continue;
}

/* True once for a path: whoever makes the file. */
int chaos_is_first(const struct act *act)
{
    char path[1100];
    snprintf(path, sizeof path, "%.*s", (int)act->path.length, act->path.at);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file >= 0)
        close(file);
    return file >= 0;
}

/* ----------------------------------------------------------------------------------- what ends or holds the process */

static void do_crash(struct sluice_call *call, size_t n, const struct act *act)
{
    static volatile int *volatile nowhere;
    (void)call, (void)n, (void)act;
    *nowhere = 1;
}

static void do_crash_once(struct sluice_call *call, size_t n, const struct act *act)
{
    if (chaos_is_first(act))
        do_crash(call, n, act);
    call->host->outcome(call, n, OK);
}

static int file_is_there(const struct act *act)
{
    char path[1100];
    snprintf(path, sizeof path, "%.*s", (int)act->path.length, act->path.at);
    return access(path, F_OK) == 0;
}

/* Until the test deletes the file, and does nothing else meanwhile. */
static void do_wait(struct sluice_call *call, size_t n, const struct act *act)
{
    while (file_is_there(act))
        chaos_sleep(20);
    call->host->outcome(call, n, OK);
}

/* Likewise, by tries: its key waits, and nothing else does. */
static void do_retry_while(struct sluice_call *call, size_t n, const struct act *act)
{
    if (file_is_there(act))
        call->host->retry(call, n, "the file is there");
    else
        call->host->outcome(call, n, OK);
}

static void do_crash_once_then_wait(struct sluice_call *call, size_t n, const struct act *act)
{
    if (chaos_is_first(act))
        do_crash(call, n, act);
    do_wait(call, n, act);
}

static void do_abort(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)call, (void)n, (void)act;
    abort();
}

static void do_exit(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)call, (void)n;
    exit((int)act->n);
}

static void do_hang(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)call, (void)n, (void)act;
    for (;;)
        chaos_sleep(1000);
}

static void do_spin(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)call, (void)n, (void)act;
    for (volatile uint64_t turns = 0;; turns++)
        continue;
}

static void do_hang_once(struct sluice_call *call, size_t n, const struct act *act)
{
    if (chaos_is_first(act))
        do_hang(call, n, act);
    call->host->outcome(call, n, OK);
}

static void do_sleep(struct sluice_call *call, size_t n, const struct act *act)
{
    chaos_sleep(act->n);
    call->host->outcome(call, n, OK);
}

static int64_t deeper(volatile char *above)
{
    volatile char room[4096];
    room[0] = *above;
    if (room[0] != 0) /* never: the compiler need not know */
        return 1;
    return deeper(room) + room[0];
}

static void do_stack_overflow(struct sluice_call *call, size_t n, const struct act *act)
{
    volatile char start = 0;
    (void)act;
    call->host->outcome(call, n, (size_t)deeper(&start));
}

static void do_heap_smash(struct sluice_call *call, size_t n, const struct act *act)
{
    volatile char *room = malloc(16);
    for (int64_t i = 0; room != NULL && i < 16 + act->n * 64; i++)
        room[i] = (char)0x5a;
    free((void *)room); /* the allocator notices, here or later */
    call->host->outcome(call, n, OK);
}

/* -------------------------------------------------------------------------------- what belongs to the whole process */

static void do_chdir(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    call->host->outcome(call, n, chdir("/") == 0 ? OK : OTHER);
}

static void do_umask(struct sluice_call *call, size_t n, const struct act *act)
{
    umask((mode_t)act->n);
    call->host->outcome(call, n, OK);
}

static void do_block_signals(struct sluice_call *call, size_t n, const struct act *act)
{
    sigset_t all;
    (void)act;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    call->host->outcome(call, n, OK);
}

static void do_leak_files(struct sluice_call *call, size_t n, const struct act *act)
{
    for (int64_t i = 0; i < act->n; i++)
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
            break;
    call->host->outcome(call, n, OK);
}

static void do_fork(struct sluice_call *call, size_t n, const struct act *act)
{
    (void)act;
    if (fork() == 0)
        _exit(0);
    call->host->outcome(call, n, OK);
}

/* ------------------------------------------------------------------------------------------------------------ table */

#define MODE(name)                                                                                                     \
    {                                                                                                                  \
#name, do_##name                                                                                               \
    }

static const struct mode modes[] = {
    MODE(crash),     MODE(crash_once),  MODE(wait),           MODE(crash_once_then_wait),
    MODE(abort),     MODE(exit),        MODE(hang),           MODE(spin),
    MODE(hang_once), MODE(sleep),       MODE(stack_overflow), MODE(heap_smash),
    MODE(chdir),     MODE(umask),       MODE(block_signals),  MODE(leak_files),
    MODE(fork),      MODE(retry_while),
};

int chaos_process(struct sluice_call *call, size_t n, const struct act *act)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strlen(modes[i].name) == act->mode.length && memcmp(modes[i].name, act->mode.at, act->mode.length) == 0) {
            modes[i].act(call, n, act);
            return 1;
        }
    }
    return 0;
}
