/*
 * test_log_output.c - lines to a stderr that takes none, some, or takes them late: no caller waits, and what was lost
 * is told.
 */
#include "check.h"

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum {
    LINES = 6000,
    THREADS = 4,
    LIMIT_MS = 10000 /* on a machine that is busy; a write that blocks takes for ever */
};

struct writer {
    pid_t pid;
    int from; /* what it says comes out here; -1: nothing does */
    int told; /* "LOST\n" once all lines are written by its threads, and once it was told to end */
    int end;  /* close it: it ends */
};

static void *write_lines(void *context)
{
    for (int i = 0; i < LINES / THREADS; i++)
        log_info("thread", "number %d of thread %d, and a tail that makes the line a little longer", i,
                 *(const int *)context);
    return NULL;
}

static void tell_lost(int fd)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%lld\n", (long long)log_lost());
    if (write(fd, text, (size_t)length) != length)
        _exit(9);
}

static _Noreturn void writer_main(int told, int end)
{
    static const int numbers[THREADS] = {0, 1, 2, 3};
    pthread_t threads[THREADS];
    char byte;
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, write_lines, (void *)&numbers[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    tell_lost(told);
    (void)!read(end, &byte, 1);
    log_info("thread", "the last line");
    log_flush();
    tell_lost(told);
    _exit(0);
}

enum kind { PIPE_READ, PIPE_FULL, PIPE_FEW_FILES, READER_ENDED, SOCKET, FULL_DISK, CLOSED, REPLACED };

/* Makes `kind` the stderr of this process; returns the end that is read. */
static int stderr_make(enum kind kind)
{
    int ends[2] = {-1, -1};
    if (kind == SOCKET)
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    else if (kind == FULL_DISK)
        ends[1] = open("/dev/full", O_WRONLY);
    else if (kind != CLOSED)
        assert_int_equal(pipe(ends), 0);
    if (kind == READER_ENDED) {
        close(ends[0]);
        ends[0] = -1;
    }
    if (kind == CLOSED)
        close(STDERR_FILENO);
    else
        dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

static struct writer writer_start(enum kind kind)
{
    struct writer writer;
    int told[2], end[2], keep = dup(STDERR_FILENO);
    fcntl(keep, F_SETFD, FD_CLOEXEC);
    assert_int_equal(pipe(told) | pipe(end), 0);
    writer.from = stderr_make(kind);
    fflush(NULL);
    writer.pid = fork();
    assert_true(writer.pid >= 0);
    if (writer.pid == 0) {
        close(end[1]);
        close(told[0]);
        if (writer.from >= 0)
            close(writer.from);
        if (kind == PIPE_FEW_FILES)
            setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, 3});
        if (kind == REPLACED) { /* something else has the number 2 now: the socket of a database, say */
            int other[2];
            log_info("thread", "the first line");
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
            dup2(other[0], STDERR_FILENO);
            write_lines((void *)&(int){0});
            char byte;
            _exit(recv(other[1], &byte, 1, MSG_DONTWAIT) < 0 ? 0 : 8);
        }
        writer_main(told[1], end[0]);
    }
    dup2(keep, STDERR_FILENO);
    close(keep);
    close(told[1]);
    close(end[0]);
    writer.told = told[0];
    writer.end = end[1];
    return writer;
}

/* How many lines the writer has lost so far, as soon as it says so: it must not wait for its stderr. */
static long told_lost(const struct writer *writer)
{
    char text[32] = "";
    size_t length = 0;
    struct pollfd ready = {.fd = writer->told, .events = POLLIN};
    while (memchr(text, '\n', length) == NULL) {
        if (poll(&ready, 1, LIMIT_MS) <= 0) {
            kill(writer->pid, SIGKILL);
            fail_msg("the writer waits for its stderr");
        }
        assert_int_equal(read(writer->told, text + length, 1), 1);
        length++;
    }
    return atol(text);
}

static void writer_end(struct writer *writer)
{
    int status;
    assert_int_equal(waitpid(writer->pid, &status, 0), writer->pid);
    assert_int_equal(status, 0);
    close(writer->told);
    if (writer->from >= 0)
        close(writer->from);
}

/* What came out: whole lines, and how many of them; *ret_told is the sum of the "N log lines were lost". */
static long read_lines(const struct writer *writer, int pause_ms, long *ret_told)
{
    static char text[8 * 1024 * 1024];
    size_t length = 0;
    ssize_t got;
    long lines = 0;
    while ((got = read(writer->from, text + length, pause_ms > 0 ? 16384 : sizeof text - 1 - length)) > 0) {
        length += (size_t)got;
        assert_true(length < sizeof text - 1);
        if (pause_ms > 0)
            poll(NULL, 0, pause_ms);
    }
    text[length] = '\0';
    *ret_told = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
        long count = 0;
        const char *lost = strstr(line, "\"component\":\"log\",\"message\":\"");
        if (line[0] != '{' || line[strlen(line) - 1] != '}')
            fail_msg("not a whole line: %s", line);
        if (lost != NULL && sscanf(lost, "\"component\":\"log\",\"message\":\"%ld log line", &count) == 1)
            *ret_told += count;
        else
            lines++;
    }
    return lines;
}

/* Nothing reads until all is written; then every line is there or was said to be lost. */
static void test_full(void **state)
{
    const enum kind kinds[] = {PIPE_FULL, PIPE_FEW_FILES, SOCKET};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct writer writer = writer_start(kinds[i]);
        long lost = told_lost(&writer), told;
        if (lost == 0 || lost >= LINES)
            fail_msg("kind %d: %ld of %d lines are lost", (int)kinds[i], lost, LINES);
        close(writer.end);
        long lines = read_lines(&writer, 0, &told);
        lost = told_lost(&writer);
        if (told != lost || lines + lost != LINES + 1)
            fail_msg("kind %d: %ld lines came, %ld are lost, %ld are said to be", (int)kinds[i], lines, lost, told);
        writer_end(&writer);
    }
}

static void test_slow_reader(void **state)
{
    (void)state;
    struct writer writer = writer_start(PIPE_READ);
    close(writer.end);
    long told, lines = read_lines(&writer, 1, &told);
    assert_int_equal(lines + told, LINES + 1);
    (void)told_lost(&writer);
    assert_int_equal(told_lost(&writer), told);
    writer_end(&writer);
}

/* A stderr that takes nothing costs every line and no time. */
static void test_takes_nothing(void **state)
{
    const enum kind kinds[] = {READER_ENDED, FULL_DISK, CLOSED};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct writer writer = writer_start(kinds[i]);
        assert_int_equal(told_lost(&writer), LINES);
        close(writer.end);
        assert_int_equal(told_lost(&writer), LINES + 1);
        writer_end(&writer);
    }
}

/* The process may end while nothing reads: the flush has a bound. Its last line need not be lost: the thread may have
 * made room for it since the others were. */
static void test_ends_while_full(void **state)
{
    (void)state;
    struct writer writer = writer_start(PIPE_FULL);
    long lost = told_lost(&writer);
    assert_in_range(lost, 1, LINES);
    close(writer.end);
    assert_in_range(told_lost(&writer), lost, lost + 1);
    writer_end(&writer);
}

static void test_number_of_another_file(void **state)
{
    (void)state;
    struct writer writer = writer_start(REPLACED);
    close(writer.end);
    writer_end(&writer);
}

/* A fork while the thread writes: the child neither hangs nor repeats what its parent has in its buffer. */
static void test_fork(void **state)
{
    (void)state;
    int ends[2], keep = dup(STDERR_FILENO), status;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t parent = fork();
    if (parent == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[1]);
        write_lines((void *)&(int){0}); /* more than the pipe takes */
        pid_t child = fork();
        if (child == 0) {
            log_info("thread", "the child's");
            log_flush();
            _exit(0);
        }
        char byte;
        close(ends[0]);
        (void)!read(keep, &byte, 0);
        waitpid(child, &status, 0);
        log_flush();
        _exit(status == 0 ? 0 : 1);
    }
    close(ends[1]);
    struct writer writer = {.from = ends[0]};
    long told, lines = read_lines(&writer, 0, &told);
    assert_int_equal(lines + told, LINES / THREADS + 1);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(status, 0);
    close(keep);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),          cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_takes_nothing), cmocka_unit_test(test_ends_while_full),
        cmocka_unit_test(test_fork),          cmocka_unit_test(test_number_of_another_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
