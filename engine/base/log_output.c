/*
 * log_output.c - see log_output.h.
 *
 * The thread starts when the first line has to wait; most processes never have one. While the buffer holds something,
 * or the thread writes, every line goes through the buffer, so lines keep their order.
 */
#include "base/log_output.h"

#include "base/clock.h"
#include "base/condition.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    OUTPUT_WAITING_MAX = 256 * 1024, /* bytes of lines that wait */
    OUTPUT_FLUSH_MS = 500,           /* at most, at the end of the process */
};

/* How a write to the descriptor is kept from blocking. */
enum output_way {
    OUTPUT_UNKNOWN, /* nothing was written yet */
    OUTPUT_DIRECT,  /* it does not block */
    OUTPUT_SOCKET,  /* send() with a flag */
    OUTPUT_THREAD,  /* not at all: only the thread writes */
};

/* stderr is one for the process, and so is this. */
static struct output {
    pthread_mutex_t lock;
    pthread_cond_t filled, drained;
    enum output_way way;
    int fd;
    dev_t device;
    ino_t inode;    /* what it was at the first line */
    bool started;   /* the thread */
    bool writing;   /* it has bytes in its hands */
    bool torn;      /* the last line lost its end: the next one begins on a line of its own */
    int64_t untold; /* lines that were lost since a line said so */
    size_t first, length;
    char waiting[OUTPUT_WAITING_MAX]; /* a ring */
} output = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO};

static _Atomic int64_t output_lost;

int64_t log_lost(void)
{
    return atomic_load_explicit(&output_lost, memory_order_relaxed);
}

static void lose(int64_t lines)
{
    output.untold += lines;
    atomic_fetch_add_explicit(&output_lost, lines, memory_order_relaxed);
}

/* ------------------------------------------------------------------------------------------------ the descriptor */

static void before_fork(void)
{
    pthread_mutex_lock(&output.lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&output.lock);
}

static void after_fork_in_child(void)
{
    output.started = output.writing = false;
    output.first = output.length = 0;
    output.untold = 0;
    output.way = OUTPUT_UNKNOWN; /* it may have a stderr of its own */
    atomic_store_explicit(&output_lost, 0, memory_order_relaxed);
    cond_init_monotonic(&output.filled);
    cond_init_monotonic(&output.drained);
    pthread_mutex_unlock(&output.lock);
}

static void output_open(void)
{
    struct stat file = {0};
    static bool prepared;
    if (output.fd != STDERR_FILENO)
        close(output.fd); /* the parent's */
    output.fd = STDERR_FILENO;
    bool known = fstat(STDERR_FILENO, &file) == 0;
    output.device = file.st_dev;
    output.inode = file.st_ino;
    output.way = OUTPUT_DIRECT;
    if (known && S_ISSOCK(file.st_mode)) {
        output.way = OUTPUT_SOCKET;
    } else if (known && (S_ISFIFO(file.st_mode) || S_ISCHR(file.st_mode))) {
        int flags = fcntl(STDERR_FILENO, F_GETFL);
        int fd = (flags & O_ACCMODE) == O_RDONLY
                     ? -1
                     : open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0)
            output.fd = fd;
        else if ((flags & O_NONBLOCK) == 0 && (flags & O_ACCMODE) != O_RDONLY)
            output.way = OUTPUT_THREAD;
    }
    if (prepared)
        return;
    prepared = true;
    cond_init_monotonic(&output.filled);
    cond_init_monotonic(&output.drained);
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
    atexit(log_flush);
}

/* As write(2). */
static ssize_t output_write(const char *bytes, size_t length)
{
    struct stat now;
    ssize_t written;
    if (fstat(output.fd, &now) != 0 || now.st_dev != output.device || now.st_ino != output.inode) {
        errno = EBADF;
        return -1;
    }
    do
        written = output.way == OUTPUT_SOCKET ? send(output.fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL)
                                              : write(output.fd, bytes, length);
    while (written < 0 && errno == EINTR);
    return written;
}

/* ------------------------------------------------------------------------------------------------------ the thread */

static void ring_add(const char *bytes, size_t length)
{
    size_t end = (output.first + output.length) % OUTPUT_WAITING_MAX, tail = OUTPUT_WAITING_MAX - end;
    size_t part = length < tail ? length : tail;
    memcpy(output.waiting + end, bytes, part);
    memcpy(output.waiting, bytes + part, length - part);
    output.length += length;
}

/* Whole lines, as many as a pipe takes in one piece, or one line that is longer. */
static size_t ring_take(char *ret_bytes)
{
    size_t length = 0;
    for (size_t i = 0; i < output.length && (i < PIPE_BUF || length == 0) && i < LOG_LINE_MAX; i++) {
        ret_bytes[i] = output.waiting[(output.first + i) % OUTPUT_WAITING_MAX];
        if (ret_bytes[i] == '\n')
            length = i + 1;
    }
    output.first = (output.first + length) % OUTPUT_WAITING_MAX;
    output.length -= length;
    return length;
}

static int64_t count_lines(const char *bytes, size_t length)
{
    int64_t lines = 0;
    for (size_t i = 0; i < length; i++)
        lines += bytes[i] == '\n';
    return lines;
}

/* Waits for room as long as it takes. Returns how many bytes stderr took: fewer only when it takes nothing more. */
static size_t write_patiently(const char *bytes, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t written = output_write(bytes + done, length - done);
        if (written > 0) {
            done += (size_t)written;
        } else if (written < 0 && errno == EAGAIN) {
            struct pollfd room = {.fd = output.fd, .events = POLLOUT};
            poll(&room, 1, -1);
        } else {
            break;
        }
    }
    return done;
}

static bool put_lost(void);

static void *output_main(void *context)
{
    static char bytes[LOG_LINE_MAX];
    (void)context;
    pthread_mutex_lock(&output.lock);
    for (;;) {
        if (output.length == 0 && output.untold > 0)
            (void)put_lost();
        if (output.length == 0) {
            pthread_cond_broadcast(&output.drained);
            pthread_cond_wait(&output.filled, &output.lock);
            continue;
        }
        size_t length = ring_take(bytes);
        output.writing = true;
        pthread_mutex_unlock(&output.lock);
        size_t done = write_patiently(bytes, length);
        pthread_mutex_lock(&output.lock);
        output.writing = false;
        if (done < length) {
            output.torn = done > 0 && bytes[done - 1] != '\n';
            lose(count_lines(bytes + done, length - done));
        }
    }
    return NULL;
}

static bool thread_start(void)
{
    sigset_t all, before;
    pthread_t thread;
    if (output.started)
        return true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    output.started = pthread_create(&thread, NULL, output_main, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (output.started)
        pthread_detach(thread);
    return output.started;
}

/* ------------------------------------------------------------------------------------------------------------ lines */

/* False when the line is lost, or its end. */
static bool put(const char *bytes, size_t length)
{
    bool direct = output.way != OUTPUT_THREAD && output.length == 0 && !output.writing;
    ssize_t written = direct ? output_write(bytes, length) : 0;
    if (written < 0 && errno != EAGAIN)
        return false;
    size_t done = written < 0 ? 0 : (size_t)written;
    if (done == length)
        return true;
    if (output.length + length - done <= OUTPUT_WAITING_MAX && thread_start()) {
        ring_add(bytes + done, length - done);
        pthread_cond_signal(&output.filled);
        return true;
    }
    output.torn = done > 0;
    return false;
}

static bool put_lost(void)
{
    struct log_text line;
    char sentence[100];
    snprintf(sentence, sizeof sentence, "%lld log line%s of this process %s lost: stderr did not take %s",
             (long long)output.untold, output.untold == 1 ? "" : "s", output.untold == 1 ? "was" : "were",
             output.untold == 1 ? "it" : "them");
    log_text_compose(&line, LOG_WARN, "log", sentence, "");
    if (output.torn) {
        memmove(line.at + 1, line.at, line.length++);
        line.at[0] = '\n';
    }
    if (!put(line.at, line.length))
        return false;
    output.untold = 0;
    output.torn = false;
    return true;
}

void log_output_put(const struct log_text *line)
{
    pthread_mutex_lock(&output.lock);
    if (output.way == OUTPUT_UNKNOWN)
        output_open();
    if ((output.untold > 0 && !put_lost()) || !put(line->at, line->length))
        lose(1);
    pthread_mutex_unlock(&output.lock);
}

void log_flush(void)
{
    int64_t until_ms = clock_monotonic_ms() + OUTPUT_FLUSH_MS;
    pthread_mutex_lock(&output.lock);
    while (output.started && (output.length > 0 || output.writing) &&
           cond_timedwait_ms(&output.drained, &output.lock, until_ms) == 0)
        ;
    pthread_mutex_unlock(&output.lock);
}
