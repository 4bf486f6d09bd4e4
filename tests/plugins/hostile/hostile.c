/*
 * hostile.c - the plugin that attacks the process it runs in: how is in the event's own `mode`.
 *
 * Handlers  act, act_sql   of topics and taps, without and with a store: a row in `handled` (k) for each event
 *           ask            of requests
 *           tick           of schedules: does what the setting `tick` says; close() what `close` says
 * Reads     mode           one of the table; anything else is outcome ok
 *           n              a signal, an exit status, MiB, or the number of a descriptor, by mode
 *           k              what is written down
 *           path           a program for exec; where a daemon writes its process number
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sluice/plugin.h"

#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct hostile {
    struct sluice_text tick, close;
    int64_t n;
};

struct act {
    struct sluice_text mode, k, path;
    int64_t n;
};

static const struct sluice_field settings[] = {
    SLUICE_TEXT(struct hostile, tick, .max = 64, .flags = SLUICE_OPTIONAL, .fallback = "ok", .help = "what tick does"),
    SLUICE_TEXT(struct hostile, close, .max = 64, .flags = SLUICE_OPTIONAL, .fallback = "ok",
                .help = "what close() does"),
    SLUICE_INT64(struct hostile, n, .flags = SLUICE_OPTIONAL, .help = "their n"),
    {0},
};

static const struct sluice_field input[] = {
    SLUICE_TEXT(struct act, mode, .min = 1, .max = 64, .help = "what to do"),
    SLUICE_TEXT(struct act, k, .max = 64, .flags = SLUICE_OPTIONAL, .fallback = "", .help = "what is written down"),
    SLUICE_TEXT(struct act, path, .max = 200, .flags = SLUICE_OPTIONAL, .fallback = "", .help = "a program"),
    SLUICE_INT64(struct act, n, .flags = SLUICE_OPTIONAL, .help = "a signal, a status or a number"),
    {0},
};

enum { OK, OTHER };
static const struct sluice_outcome outcomes[] = {[OK] = {"ok", "it went well"}, [OTHER] = {"other", "it did not"}, {0}};

static void sleep_ms(int64_t ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0)
        continue;
}

/* ---------------------------------------------------------------------------------------- ways to end the process */

static void do_segv(const struct act *act)
{
    static volatile int *volatile nowhere;
    (void)act;
    *nowhere = 1;
}

static void do_abort(const struct act *act)
{
    (void)act;
    abort();
}

static void do_raise(const struct act *act)
{
    raise((int)act->n);
    sleep_ms(100); /* of a signal that another thread takes */
}

static void do_kill(const struct act *act)
{
    kill(getpid(), (int)act->n);
    sleep_ms(100);
}

static void do_kill_twice(const struct act *act)
{
    do_kill(act);
    do_kill(act);
}

static void do_kill_master(const struct act *act)
{
    kill(getppid(), (int)act->n);
    sleep_ms(100);
}

static void do_exit(const struct act *act)
{
    exit((int)act->n);
}

static void do_exit_now(const struct act *act)
{
    _exit((int)act->n);
}

static void do_exit_quick(const struct act *act)
{
    quick_exit((int)act->n);
}

static void stay(void)
{
    for (;;)
        sleep_ms(1000);
}

static void do_end_never(const struct act *act)
{
    (void)act;
    atexit(stay);
}

static void *exit_main(void *status)
{
    exit((int)(intptr_t)status);
}

static void do_exit_thread(const struct act *act)
{
    pthread_t thread;
    pthread_create(&thread, NULL, exit_main, (void *)(intptr_t)act->n);
    pthread_join(thread, NULL);
}

static void *segv_main(void *context)
{
    do_segv(context);
    return NULL;
}

static void do_segv_thread(const struct act *act)
{
    pthread_t thread;
    (void)act;
    pthread_create(&thread, NULL, segv_main, NULL);
    pthread_join(thread, NULL);
}

static void do_thread_exit(const struct act *act)
{
    (void)act;
    pthread_exit(NULL);
}

static void do_exec(const struct act *act)
{
    char path[201];
    snprintf(path, sizeof path, "%.*s", (int)act->path.length, act->path.at);
    execl(path, path, "600", (char *)NULL);
}

static void do_alarm(const struct act *act)
{
    (void)act;
    ualarm(1000, 0);
    sleep_ms(1000);
}

static void do_file_size(const struct act *act)
{
    char path[] = "/tmp/hostile-XXXXXX";
    int file = mkstemp(path);
    (void)act;
    unlink(path);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1, RLIM_INFINITY});
    if (write(file, "more", 4) > 0 && write(file, "more", 4) > 0)
        sleep_ms(1);
    close(file);
}

/* --------------------------------------------------------------------------------------------- ways not to return */

static void do_hang(const struct act *act)
{
    (void)act;
    for (;;)
        sleep_ms(1000);
}

static void do_spin(const struct act *act)
{
    (void)act;
    for (volatile uint64_t turns = 0;; turns++)
        continue;
}

/* n milliseconds of processor time. */
static void do_busy(const struct act *act)
{
    clock_t end = clock() + act->n * (CLOCKS_PER_SEC / 1000);
    while (clock() < end)
        continue;
}

static void do_deadlock(const struct act *act)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    (void)act;
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
}

/* ------------------------------------------------------------------------------ what belongs to the whole process */

static void do_close_all(const struct act *act)
{
    (void)act;
    for (int file = 0; file < 1024; file++)
        close(file);
}

/* Nothing is closed: every descriptor is another file's. */
static void do_dup_all(const struct act *act)
{
    int null = open("/dev/null", O_RDWR);
    (void)act;
    for (int file = 3; file < 1024; file++)
        if (file != null && fcntl(file, F_GETFD) >= 0)
            dup2(null, file);
}

static void do_fork_return(const struct act *act)
{
    (void)act;
    (void)fork();
}

static void do_fork_linger(const struct act *act)
{
    (void)act;
    if (fork() == 0)
        for (;;)
            pause();
}

/* A process with a session of its own, whose parent has ended when n is 1. */
static void do_daemon(const struct act *act)
{
    char path[256];
    snprintf(path, sizeof path, "%.*s", (int)act->path.length, act->path.at);
    pid_t child = fork();
    if (child > 0 && act->n == 1)
        waitpid(child, NULL, 0);
    if (child != 0)
        return;
    setsid();
    if (act->n == 1 && fork() != 0)
        _exit(0);
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        fprintf(file, "%d\n", (int)getpid());
        fclose(file);
    }
    for (;;)
        pause();
}

static void do_fork_exit(const struct act *act)
{
    if (fork() == 0)
        exit((int)act->n);
}

static void do_fork_segv(const struct act *act)
{
    if (fork() == 0)
        do_segv(act);
}

static void do_locale(const struct act *act)
{
    (void)act;
    setlocale(LC_ALL, "");
}

static void do_locale_held(const struct act *act)
{
    do_locale(act);
    sleep_ms(act->n);
}

static void do_block_signals(const struct act *act)
{
    sigset_t all;
    (void)act;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void do_ignore_signals(const struct act *act)
{
    (void)act;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_IGN);
}

static void do_chdir(const struct act *act)
{
    (void)act;
    if (chdir("/") != 0)
        abort();
}

static void do_umask(const struct act *act)
{
    (void)act;
    umask(0777);
}

static void do_few_files(const struct act *act)
{
    struct rlimit limit;
    (void)act;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        abort();
    limit.rlim_cur = 3;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        abort();
}

static void do_slow(const struct act *act)
{
    sleep_ms(act->n);
}

static void do_leak(const struct act *act)
{
    (void)act;
    for (int i = 0; i < 100; i++)
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
            return;
}

/* ------------------------------------------------------------------------- what the file of the pipeline may forbid */

/* Aborts when it was allowed. */
static void do_socket(const struct act *act)
{
    (void)act;
    if (socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0)
        abort();
}

/* Says to its lane, more than once, that it has returned: what nobody asked for. */
static void do_forge(const struct act *act)
{
    static const uint64_t returned[] = {5, 0};
    (void)act;
    for (int i = 0; i < 3; i++)
        send(3, returned, sizeof returned, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Aborts when there are no n MiB. */
static void do_memory(const struct act *act)
{
    size_t size = (size_t)act->n << 20;
    char *block = malloc(size);
    if (block == NULL)
        abort();
    memset(block, 1, size);
    free(block);
}

/* ------------------------------------------------------------------------------------------------------------ table */

#define MODE(name)                                                                                                     \
    {                                                                                                                  \
#name, do_##name                                                                                               \
    }

static const struct {
    const char *name;
    void (*act)(const struct act *act);
} modes[] = {
    MODE(segv),          MODE(abort),          MODE(raise),     MODE(kill),       MODE(kill_twice),
    MODE(kill_master),   MODE(exit),           MODE(exit_now),  MODE(exit_quick), MODE(exit_thread),
    MODE(segv_thread),   MODE(thread_exit),    MODE(exec),      MODE(alarm),      MODE(file_size),
    MODE(hang),          MODE(spin),           MODE(deadlock),  MODE(close_all),  MODE(fork_return),
    MODE(fork_linger),   MODE(fork_exit),      MODE(fork_segv), MODE(locale),     MODE(locale_held),
    MODE(block_signals), MODE(ignore_signals), MODE(chdir),     MODE(umask),      MODE(leak),
    MODE(dup_all),       MODE(end_never),      MODE(slow),      MODE(few_files),  MODE(daemon),
    MODE(socket),        MODE(memory),         MODE(forge),     MODE(busy),
};

static int is(const struct act *act, const char *mode)
{
    return strlen(mode) == act->mode.length && memcmp(mode, act->mode.at, act->mode.length) == 0;
}

static void attack(struct sluice_call *call, const struct act *act)
{
    while (is(act, "ask_on")) /* what it asks is answered each time */
        call->host->log(call, SLUICE_LOG_DEBUG, "on and on");
    if (call != NULL && is(act, "hang"))
        call->host->log(call, SLUICE_LOG_INFO, "it hangs");
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (is(act, modes[i].name))
            modes[i].act(act);
}

static void act(void *state, struct sluice_call *call)
{
    const struct act *inputs = call->inputs;
    (void)state;
    for (size_t n = 0; n < call->count; n++) {
        attack(call, &inputs[n]);
        call->host->outcome(call, n, OK);
    }
}

static void act_sql(void *state, struct sluice_call *call)
{
    static const struct sluice_sql write_down = {"insert into handled (k) select unnest($1::text[])"};
    const struct sluice_param params[] = {SLUICE_EACH_TEXT(struct act, k)};
    act(state, call);
    (void)call->host->query(call, &write_down, 1, params);
}

static void ask(void *state, struct sluice_call *call)
{
    const struct act *inputs = call->inputs;
    (void)state;
    for (size_t n = 0; n < call->count; n++) {
        attack(call, &inputs[n]);
        call->host->reply(call, n, 200, (struct sluice_text){"{}", 2}, 0);
        call->host->outcome(call, n, OK);
    }
}

static void tick(void *state, struct sluice_call *call)
{
    const struct hostile *self = state;
    const struct act act = {.mode = self->tick, .n = self->n};
    attack(call, &act);
    (void)call->host->add(call, OK);
}

static void end(void *state)
{
    const struct hostile *self = state;
    const struct act act = {.mode = self->close, .n = self->n};
    attack(NULL, &act);
}

static const struct sluice_handler handlers[] = {
    {.name = "act",
     .help = "does what `mode` says",
     .input = input,
     .input_size = sizeof(struct act),
     .outcomes = outcomes,
     .max_events = 100,
     .handle = act},
    {.name = "act_sql",
     .help = "does what `mode` says and writes it down",
     .input = input,
     .input_size = sizeof(struct act),
     .outcomes = outcomes,
     .max_events = 100,
     .uses_store = 1,
     .handle = act_sql},
    {.name = "ask",
     .help = "does what `mode` says and replies",
     .kind = SLUICE_REQUEST,
     .input = input,
     .input_size = sizeof(struct act),
     .outcomes = outcomes,
     .max_events = 100,
     .handle = ask},
    {.name = "tick",
     .help = "does what the setting `tick` says and adds an event",
     .kind = SLUICE_SCHEDULE,
     .outcomes = outcomes,
     .max_events = 1,
     .handle = tick},
    {0},
};

SLUICE_PLUGIN(.name = "hostile", .version = "1.0.0", .help = "attacks the process it runs in", .settings = settings,
              .state_size = sizeof(struct hostile), .close = end, .handlers = handlers)
