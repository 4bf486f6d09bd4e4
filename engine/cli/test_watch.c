/*
 * test_watch.c - `sluice test --watch`: tests that run again when a file changes.
 *
 * Each run is a child process, which loads the plugins and says what its files depend on. The private server stays
 * for all runs. A change while tests run ends that run; what was in it runs again with the rest.
 */
#include "cli/test.h"

#include "flowtest/changes.h"
#include "flowtest/server.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    WATCH_QUIET_MS = 100, /* a change is over when so long nothing more has changed, */
    WATCH_QUIET_MAX = 20, /* or after so many times of it */
};

struct watching {
    const struct test_options *options;
    char **paths;
    size_t count;
    const char *url; /* NULL: of a private server, once a run asks for it */
    struct server *server;
    struct changes *changes;
    bool *changed, *good, *told; /* by file; told: it has said in this run what it depends on */
    size_t *numbers;             /* of the files of this run */
    char **run;                  /* their paths */
    size_t run_count;
    char line[PATH_MAX + 64];
    size_t length;
    sigset_t waiting; /* the signals that are blocked while it waits: none of ours */
};

static void answer_server(struct watching *watching, int socket)
{
    struct error error = {0};
    if (watching->server == NULL && server_start(&watching->server, &error) != 0)
        fprintf(stderr, "sluice test: %s%s%s\n", error.text, error.hint[0] == '\0' ? "" : "; ", error.hint);
    dprintf(socket, "%s\n", watching->server == NULL ? "" : server_url(watching->server));
}

static void hear_line(struct watching *watching, int socket)
{
    const char *line = watching->line;
    char *end;
    if (strcmp(line, "server") == 0) {
        answer_server(watching, socket);
        return;
    }
    bool good = strncmp(line, "good ", 5) == 0;
    size_t number = strtoul(line + 5, &end, 10);
    if (number >= watching->run_count)
        return;
    number = watching->numbers[number];
    if (good) {
        watching->good[number] = true;
        return;
    }
    if (!watching->told[number]) {
        changes_forget(watching->changes, number);
        changes_add(watching->changes, number, watching->paths[number]);
        watching->told[number] = true;
    }
    changes_add(watching->changes, number, *end == ' ' ? end + 1 : end);
}

/* What the run says, until it would be waited for. False: it has ended. */
static bool hear(struct watching *watching, int socket)
{
    char byte;
    ssize_t got;
    while ((got = recv(socket, &byte, 1, MSG_DONTWAIT)) == 1) {
        if (byte != '\n' && watching->length < sizeof watching->line - 1) {
            watching->line[watching->length++] = byte;
            continue;
        }
        watching->line[watching->length] = '\0';
        watching->length = 0;
        hear_line(watching, socket);
    }
    return got != 0 && (errno == EAGAIN || errno == EINTR);
}

/* Something has changed: what else changes with it. */
static void settle(struct watching *watching)
{
    for (int i = 0; i < WATCH_QUIET_MAX && test_interrupted == 0; i++) {
        struct pollfd fd = {.fd = changes_fd(watching->changes), .events = POLLIN};
        const struct timespec quiet = {.tv_nsec = WATCH_QUIET_MS * 1000000L};
        if (ppoll(&fd, 1, &quiet, &watching->waiting) == 0)
            return;
        (void)changes_look(watching->changes, watching->changed);
    }
}

/* Until the run ends (`socket` -1: until a change), is interrupted, or a file has changed: true. */
static bool wait_for_change(struct watching *watching, int socket)
{
    while (test_interrupted == 0) {
        struct pollfd fds[] = {{.fd = changes_fd(watching->changes), .events = POLLIN},
                               {.fd = socket, .events = POLLIN}};
        if (ppoll(fds, 2, NULL, &watching->waiting) < 0)
            continue;
        if (socket >= 0 && fds[1].revents != 0 && !hear(watching, socket))
            return false;
        if (fds[0].revents != 0 && changes_look(watching->changes, watching->changed)) {
            settle(watching);
            return true;
        }
    }
    return false;
}

/* The child; its end of the socket is *ret_socket's other one. */
static pid_t begin_run(struct watching *watching, int *ret_socket)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
        return -1;
    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        close(sockets[0]);
        (void)sigprocmask(SIG_SETMASK, &watching->waiting, NULL);
        int code = tests_run(watching->options, watching->run, watching->run_count, watching->url, sockets[1]);
        fflush(stdout);
        _exit(code);
    }
    close(sockets[1]);
    if (child < 0)
        close(sockets[0]);
    else
        *ret_socket = sockets[0];
    return child;
}

static void print_end(const struct watching *watching)
{
    char now[16];
    time_t seconds = time(NULL);
    struct tm local;
    for (size_t i = 0; i < watching->count; i++)
        if (!watching->good[i] && !watching->told[i])
            printf("FAIL  %s: did not change since its last run\n", watching->paths[i]);
    strftime(now, sizeof now, "%H:%M:%S", localtime_r(&seconds, &local));
    printf("%s  watching %zu files and folders; Ctrl-C ends it\n", now, changes_count(watching->changes));
    fflush(stdout);
}

/* Runs the files that have changed. True: others, or the same again, have changed meanwhile. */
static bool run_changed(struct watching *watching)
{
    int socket = -1;
    watching->run_count = watching->length = 0;
    for (size_t i = 0; i < watching->count; i++) {
        watching->told[i] = false;
        if (!watching->changed[i])
            continue;
        watching->changed[i] = watching->good[i] = false;
        watching->numbers[watching->run_count] = i;
        watching->run[watching->run_count++] = watching->paths[i];
    }
    if (isatty(STDOUT_FILENO))
        fputs("\033[H\033[2J\033[3J", stdout);
    pid_t child = begin_run(watching, &socket);
    if (child < 0) {
        fprintf(stderr, "sluice test: no process for the tests: %s\n", strerror(errno));
        return false;
    }
    bool again = wait_for_change(watching, socket);
    if (again || test_interrupted != 0)
        (void)kill(child, SIGTERM);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    (void)hear(watching, socket);
    close(socket);
    for (size_t i = 0; i < watching->run_count; i++) {
        size_t number = watching->numbers[i];
        watching->changed[number] = watching->changed[number] || (again && !watching->good[number]);
        watching->told[number] = true; /* it was in this run */
    }
    if (!again && test_interrupted == 0)
        print_end(watching);
    return again;
}

static int watch_all(struct watching *watching)
{
    struct error error = {0};
    if (changes_open(&watching->changes, &error) != 0)
        return cli_failed("test", &error);
    for (size_t i = 0; i < watching->count; i++) {
        changes_add(watching->changes, i, watching->paths[i]);
        watching->changed[i] = true;
    }
    while (test_interrupted == 0)
        if (!run_changed(watching))
            (void)wait_for_change(watching, -1);
    bool good = true;
    for (size_t i = 0; i < watching->count; i++)
        good = good && watching->good[i];
    server_stop(watching->server);
    changes_close(watching->changes);
    return good ? CLI_OK : CLI_FAILED;
}

int tests_watch(const struct test_options *options, char **paths, size_t count, const char *url)
{
    struct watching watching = {.options = options, .paths = paths, .count = count, .url = url};
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &ours, &watching.waiting);
    watching.changed = calloc(count, sizeof *watching.changed);
    watching.good = calloc(count, sizeof *watching.good);
    watching.told = calloc(count, sizeof *watching.told);
    watching.numbers = calloc(count, sizeof *watching.numbers);
    watching.run = calloc(count, sizeof *watching.run);
    int code = CLI_FAILED;
    if (watching.changed == NULL || watching.good == NULL || watching.told == NULL || watching.numbers == NULL ||
        watching.run == NULL)
        fputs("sluice test: out of memory\n", stderr);
    else
        code = watch_all(&watching);
    free(watching.changed);
    free(watching.good);
    free(watching.told);
    free(watching.numbers);
    free(watching.run);
    return code;
}
