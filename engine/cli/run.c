/*
 * run.c - `sluice run CONFIG`: the engine, until a signal.
 *
 * SIGTERM and the first SIGINT drain: nothing new is taken, what runs is finished; the process leaves its group, so
 * that a peer takes over at once. A second SIGINT stops without waiting; what was running is rolled back and
 * redelivered, so nothing is lost by either. SIGHUP is ignored with a line in the log, since it asks daemons to read
 * their file again; when the terminal that the engine was started from has closed, it drains.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/notify.h"
#include "cli/parts.h"
#include "cli/tracing.h"
#include "guard/master.h"
#include "http/http.h"
#include "plugin/copies.h"
#include "run/engine.h"
#include "trace/tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HANGUP_LOOKS = 50, HANGUP_LOOK_MS = 10 };

static void usage(FILE *out)
{
    fputs("usage: sluice run CONFIG\n"
          "Runs the pipeline that CONFIG (a pipeline.yaml) describes, until SIGTERM or SIGINT.\n\n"
          "  --log-level debug|info|warn|error   what is logged to stderr (info)\n"
          "  --log-format text|json              text on a terminal, json elsewhere\n"
          "  --single-process                    no supervising process: a crashing plugin ends the engine (for "
          "debuggers)\n"
          "  -h, --help                          this text\n",
          out);
}

static bool log_options(const char *level, const char *format)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    if (format != NULL) {
        if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0) {
            cli_misuse("run", "--log-format %s: expected text or json", format);
            return false;
        }
        log_set_json(strcmp(format, "json") == 0);
    }
    for (int i = 0; level != NULL && i < 4; i++)
        if (strcmp(level, levels[i]) == 0) {
            log_set_level((enum log_level)i);
            return true;
        }
    if (level != NULL)
        cli_misuse("run", "--log-level %s: expected debug, info, warn or error", level);
    return level == NULL;
}

/* The thread that waits for signals, so that a second SIGINT counts even while the engine drains. */
struct signals {
    sigset_t set;
    const struct suspects *suspects; /* NULL: there is no master */
    atomic_int asked;                /* how many SIGINT and SIGTERM of the operator so far */
    atomic_bool starting;            /* nothing was taken yet: there is nothing to drain */
    bool has_terminal;               /* whose end is ours */
};

static bool terminal_open(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* The kernel may send SIGHUP a moment before it takes the terminal away. */
static bool terminal_closes(void)
{
    for (int looks = 0; looks < HANGUP_LOOKS; looks++) {
        if (!terminal_open())
            return true;
        nanosleep(&(struct timespec){.tv_nsec = HANGUP_LOOK_MS * 1000000L}, NULL);
    }
    return false;
}

static void signals_hangup(struct signals *signals)
{
    if (signals->has_terminal && terminal_closes()) {
        log_warn("run", "SIGHUP: the terminal has closed; draining");
        atomic_fetch_add(&signals->asked, 1);
    } else {
        log_warn("run", "SIGHUP is ignored: the file is not read again while the engine runs; restart it instead");
    }
}

/* Whether the operator has asked once more: the master counts, for a handler may send signals to its own process. */
static bool signals_asked(struct signals *signals, const siginfo_t *info)
{
    int before = atomic_load(&signals->asked);
    int asked = signals->suspects != NULL ? suspects_asked(signals->suspects) : before + (info->si_pid != getpid());
    atomic_store(&signals->asked, asked > before ? asked : before);
    if (asked <= before)
        log_warn("run", "signal %d from process %d is ignored: the master process stops this one", info->si_signo,
                 (int)info->si_pid);
    return asked > before;
}

static void *signals_main(void *context)
{
    struct signals *signals = context;
    for (;;) {
        siginfo_t info;
        int signal = sigwaitinfo(&signals->set, &info);
        if (signal < 0)
            continue;
        if (signal == SIGHUP) {
            signals_hangup(signals);
            continue;
        }
        if (!signals_asked(signals, &info))
            continue;
        if (atomic_load(&signals->starting)) {
            log_info("run", "stopped before it started");
            log_flush();
            _exit(CLI_OK);
        }
        if (atomic_load(&signals->asked) > 1 && signal == SIGINT) {
            log_warn("run", "stopped at once; what was running is redelivered");
            log_flush();
            _exit(130);
        }
    }
    return NULL;
}

static void start_signals(struct signals *signals)
{
    pthread_t thread;
    struct sigaction hangup;
    atomic_store(&signals->starting, true);
    signals->has_terminal = sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN && terminal_open();
    sigemptyset(&signals->set);
    sigaddset(&signals->set, SIGTERM);
    sigaddset(&signals->set, SIGINT);
    sigaddset(&signals->set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals->set, NULL);
    if (pthread_create(&thread, NULL, signals_main, signals) == 0)
        pthread_detach(thread);
}

/* Who wants to know how the engine is: the master, or without one the service manager. */
struct audience {
    struct suspects *master; /* NULL: none */
    struct notify *manager;  /* for a process without a master */
};

static void tell(const struct audience *audience, bool ready)
{
    suspects_alive(audience->master, ready);
    if (audience->master != NULL)
        return;
    int r = ready ? notify_ready(audience->manager) : 0;
    if (r == 0)
        r = notify_alive(audience->manager, clock_monotonic_ms());
    if (r != 0)
        log_rarely(60000, LOG_WARN, "run", "the service manager cannot be told: %s", strerror(-r));
}

/* Until a signal or a fault. */
static int run_loop(struct engine *engine, struct http *http, int port, struct signals *signals,
                    const struct audience *audience, int64_t began_ms)
{
    const struct pipeline *pipeline = engine_pipeline(engine);
    struct series *lost = metrics_series(engine_metrics(engine), METRIC_LOG_LOST, NULL, NULL);
    bool ready = false;
    struct error fault = {0};
    /* The master's count, too: a handler may have made the process ignore signals. */
    while (atomic_load(&signals->asked) == 0 && (signals->suspects == NULL || suspects_asked(signals->suspects) == 0)) {
        struct buffer why;
        buffer_init(&why, 4096);
        if (!ready && engine_ready(engine, &why)) {
            ready = true;
            if (http != NULL)
                log_info("run", "ready: %s after %lld ms; http on %s:%d", pipeline->name,
                         (long long)(clock_monotonic_ms() - began_ms), pipeline->http.host, port);
            else
                log_info("run", "ready: %s after %lld ms", pipeline->name,
                         (long long)(clock_monotonic_ms() - began_ms));
        }
        buffer_free(&why);
        tell(audience, ready);
        series_set(lost, log_lost());
        int code = engine_fault(engine, &fault);
        if (code != 0) {
            log_error("run", &fault);
            return code == -ENOKEY ? CLI_CONFIG : CLI_FAILED;
        }
        usleep(ready ? 100000 : 2000);
    }
    return CLI_OK;
}

/* How long stopping takes at most, mostly: the drain, the interrupted batches, exit handlers. */
static int64_t stop_ms(const struct pipeline *pipeline)
{
    return pipeline->engine.drain_timeout_ms + 20000;
}

static int run(struct parts *parts, struct signals *signals, const struct audience *audience, int64_t began_ms)
{
    struct suspects *suspects = audience->master;
    struct engine_parts engine_parts = {.pipeline = parts->pipeline,
                                        .bus = parts->bus,
                                        .store = parts->store,
                                        .metrics = parts->metrics,
                                        .migrations = parts->migrations,
                                        .suspects = suspects};
    struct engine *engine = NULL;
    struct http *http = NULL;
    struct error error = {0};
    int port = 0;

    atomic_store(&signals->starting, false);
    metrics_series(parts->metrics, METRIC_BUILD_INFO, SLUICE_VERSION, NULL);
    if (tracing_open(parts, &engine_parts.tracer, &error) != 0 || engine_start(&engine_parts, &engine, &error) != 0 ||
        (parts->pipeline->http.present && http_start(engine, parts->bus, parts->store, &http, &port, &error) != 0)) {
        log_error("run", &error);
        engine_stop(engine);
        tracer_destroy(engine_parts.tracer);
        return CLI_FAILED;
    }
    if (parts->store == NULL)
        log_warn("run", "no store: every event is handled at least once; after a crash some are handled twice");
    int code = run_loop(engine, http, port, signals, audience, began_ms);
    if (suspects == NULL)
        (void)notify_stopping(audience->manager, stop_ms(parts->pipeline));
    log_info("run", "stopping: nothing new is taken");
    if (http != NULL)
        http_quiesce(http);
    int drained = engine_drain(engine, code == CLI_OK ? parts->pipeline->engine.drain_timeout_ms : 0);
    if (drained != 0)
        log_warn("run", "some work did not finish within engine.drain_timeout; it is redelivered");
    if (drained == -EBUSY) {
        log_warn("run", "a handler has not returned; the process ends without waiting for it");
        suspects_decide(suspects);
        log_flush();
        _exit(CLI_FAILED);
    }
    http_stop(http);
    engine_stop(engine);
    tracer_destroy(engine_parts.tracer);
    log_info("run", "stopped");
    return code;
}

/* One line for each rule of a SLUICE_FAILPOINTS that was armed: "name=action,name=action". */
static void warn_failpoints(const char *rules)
{
    while (rules != NULL && *rules != '\0') {
        int length = (int)strcspn(rules, ","), name = (int)strcspn(rules, "=");
        log_warn("run", "failpoint %.*s is armed: %.*s; this process fails on purpose", name, rules, length - name - 1,
                 rules + name + 1);
        rules += length + (rules[length] == ',');
    }
}

/* What the files say when the engine starts. Whatever becomes of them, each worker process has what they said. */
struct run_files {
    struct parts parts;
    struct error error;   /* of the migrations */
    struct notify notify; /* the service manager */
};

static void read_files(const char *config, const struct buses *buses, struct run_files *ret)
{
    *ret = (struct run_files){0};
    parts_read(config, buses, &ret->parts);
    if (ret->parts.reading.problems.errors == 0)
        (void)parts_migrations(&ret->parts, &ret->error);
}

/* The worker process. `context`: its copy of the files. */
static int run_worker(struct suspects *suspects, void *context)
{
    struct run_files *files = context;
    struct parts *parts = &files->parts;
    int64_t began_ms = clock_monotonic_ms();
    struct signals signals = {.suspects = suspects};
    struct audience audience = {.master = suspects, .manager = &files->notify};
    struct error error = files->error;
    start_signals(&signals);
    int code = parts_check(parts, false);
    if (code == CLI_OK && (error.code != 0 || parts_attach(parts, PARTS_BUS, &error) != 0)) {
        log_error("run", &error);
        code = CLI_FAILED;
    }
    if (code == CLI_OK)
        code = run(parts, &signals, &audience, began_ms);
    parts_close(parts);
    return code;
}

int cli_run(int argc, char **argv, const struct buses *buses)
{
    static const struct option options[] = {{"log-level", required_argument, NULL, 'l'},
                                            {"log-format", required_argument, NULL, 'f'},
                                            {"single-process", no_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *level = NULL, *format = NULL;
    bool single = false;
    struct error error = {0};
    for (int option; (option = cli_option(argc, argv, options)) != -1;) {
        switch (option) {
        case 'l':
            level = optarg;
            break;
        case 'f':
            format = optarg;
            break;
        case 's':
            single = true;
            break;
        case 'h':
            usage(stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (!cli_operands(argc, argv, 1, 1, "a CONFIG"))
        return CLI_USAGE;
    if (!log_options(level, format))
        return CLI_USAGE;
    const char *seed = getenv("SLUICE_SEED"), *rules = getenv("SLUICE_FAILPOINTS");
    if (failpoints_arm(rules, seed == NULL ? 1 : (unsigned)strtoul(seed, NULL, 10), &error) != 0) {
        cli_failed("run", &error);
        return CLI_USAGE;
    }
    warn_failpoints(rules);
    struct run_files files;
    char engine[37]; /* id of this engine, the same for all its worker processes */
    sigset_t hangup;
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &hangup, NULL); /* until the worker waits for it */
    read_files(argv[optind], buses, &files);
    event_id_new(clock_wall_ms(), engine);
    files.parts.engine = engine;
    signal(SIGPIPE, SIG_IGN); /* the master's log has a reader that may end, too */
    if (copies_open(&error) != 0) {
        log_warn("run", "%s; they are loaded where they are, so replace a file by renaming a new one to it",
                 error.text);
        error = (struct error){0};
    }
    if (notify_open(&files.notify, &error) != 0)
        log_warn("run", "%s; %s", error.text, error.hint);
    int code = single ? run_worker(NULL, &files)
                      : master_run(run_worker, &files, &files.notify, stop_ms(files.parts.pipeline));
    parts_close(&files.parts);
    copies_close();
    return code;
}
