/*
 * run.c - `sluice run CONFIG`: the engine, until a signal.
 *
 * SIGTERM and the first SIGINT drain: nothing new is taken, what runs is finished; the process leaves its group, so
 * that a peer takes over at once. A second SIGINT stops without waiting; what was running is rolled back and
 * redelivered, so nothing is lost by either. SIGHUP reloads (cli/reloading.h); when the terminal that the engine was
 * started from has closed, it drains.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/notify.h"
#include "cli/parts.h"
#include "cli/reloading.h"
#include "cli/signals.h"
#include "cli/tracing.h"
#include "guard/attention.h"
#include "guard/master.h"
#include "http/http.h"
#include "plugin/copies.h"
#include "run/engine.h"
#include "trace/tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RUN_LOOK_MS = 500,       /* what is not said to the main loop, like a fault, it sees that often; */
    RUN_ALONE_LOOK_MS = 100, /* and everything, when there is no master to say it */
    RUN_BEGIN_LOOK_MS = 2,
    RUN_QUIESCE_MS = 20,
    RUN_HANDED_OVER_MS = 60000, /* the longest wait for the successor's first words, with the answer to who asked */
    RUN_LISTEN_MS = 5000,       /* a successor that is not ready by then takes connections, and refuses what they ask */
};

static void usage(FILE *out)
{
    fputs("usage: sluice run CONFIG\n"
          "Runs the pipeline that CONFIG (a pipeline.yaml) describes, until SIGTERM or SIGINT. SIGHUP reloads.\n\n"
          "  --log-level debug|info|warn|error   what is logged to stderr (info)\n"
          "  --log-format text|json              text on a terminal, json elsewhere\n"
          "  --single-process                    no supervising process: a crashing plugin ends the engine (for "
          "debuggers)\n"
          "  -h, --help                          this text\n",
          out);
}

/* Each thread's own heap keeps what it needed at most; of a shared one the next thread uses what the last one gave
 * back. Four cores share one, so that threads do not wait for each other. */
static void share_heaps(void)
{
#ifdef M_ARENA_MAX
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (getenv("MALLOC_ARENA_MAX") == NULL)
        (void)mallopt(M_ARENA_MAX, cores < 8 ? 1 : (int)(cores / 4));
#endif
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

/* A worker process while it runs. */
struct running {
    struct run_files *files;
    const struct master_worker *me;
    struct signals *signals;
    struct audience audience;
    struct engine *engine;
    struct http *http; /* NULL: not yet, or none */
    int64_t began_ms;
    bool ready;
};

/* 0, or what the engine cannot run for: logged, and told to the master when it is a successor. */
static int refuse(const struct running *running, const struct error *error)
{
    char sentence[sizeof error->text + sizeof error->hint + 4];
    log_error("run", error);
    snprintf(sentence, sizeof sentence, "%s%s%s", error->text, error->hint[0] != '\0' ? "; " : "", error->hint);
    handover_refuse(running->me->suspects, sentence);
    return error->code == ENOKEY ? CLI_CONFIG : CLI_FAILED;
}

/* The operator asked to stop. The master's count, too: a handler may have made the process ignore signals. */
static bool asked_to_stop(const struct running *running)
{
    const struct suspects *suspects = running->me->suspects;
    return atomic_load(&running->signals->asked) > 0 || (suspects != NULL && suspects_asked(suspects) > 0);
}

static int listen_now(struct running *running)
{
    const struct parts *parts = &running->files->parts;
    struct error error = {0};
    int port = 0;
    if (!parts->pipeline->http.present || running->http != NULL)
        return CLI_OK;
    if (http_start(running->engine, parts->bus, parts->store, running->files->listener, &running->http, &port,
                   &error) != 0)
        return refuse(running, &error);
    http_reload(running->http, running->me->suspects == NULL ? NULL : running->files->reloading->shared);
    running->files->port = port;
    return CLI_OK;
}

static bool is_ready(struct running *running)
{
    struct buffer why;
    buffer_init(&why, 4096);
    bool ready = engine_ready(running->engine, &why);
    buffer_free(&why);
    return ready;
}

static void log_ready(const struct running *running)
{
    const struct pipeline *pipeline = running->files->parts.pipeline;
    long long took_ms = (long long)(clock_monotonic_ms() - running->began_ms);
    if (pipeline->http.present)
        log_info("run", "ready: %s after %lld ms; http on %s:%d", pipeline->name, took_ms, pipeline->http.host,
                 running->files->port);
    else
        log_info("run", "ready: %s after %lld ms", pipeline->name, took_ms);
}

static void ready_now(const struct running *running)
{
    struct error error = {0};
    if (running->me->leaves >= 0 && bus_leave_early(running->files->parts.bus, running->me->leaves, &error) != 0)
        log_error("run", &error);
    log_ready(running);
}

static bool goes_on(const struct running *running)
{
    return !asked_to_stop(running) && handover_stage(running->me->suspects) < HANDOVER_ASKED;
}

static int64_t look_ms(const struct running *running)
{
    int64_t most_ms = notify_every_ms(running->audience.manager);
    int64_t ms = running->me->suspects == NULL ? RUN_ALONE_LOOK_MS : RUN_LOOK_MS;
    return most_ms < ms ? most_ms : ms;
}

/* Until a signal, a fault or a successor. A successor itself serves HTTP once it can answer. */
static int run_loop(struct running *running)
{
    struct series *lost = metrics_series(engine_metrics(running->engine), METRIC_LOG_LOST, NULL, NULL);
    int64_t listen_ms = clock_monotonic_ms() + RUN_LISTEN_MS;
    struct error fault = {0};
    for (unsigned said; said = attention_said(running->me->suspects), goes_on(running);) {
        bool ready = running->ready || is_ready(running);
        if ((ready || clock_monotonic_ms() > listen_ms) && listen_now(running) != CLI_OK)
            return CLI_FAILED;
        if (ready && !running->ready)
            ready_now(running);
        running->ready = ready;
        tell(&running->audience, running->ready);
        series_set(lost, log_lost());
        if (engine_fault(running->engine, &fault) != 0)
            return refuse(running, &fault);
        attention_wait(running->me->suspects, said, running->ready ? look_ms(running) : RUN_BEGIN_LOOK_MS);
    }
    return CLI_OK;
}

/* A successor: until it may begin. CLI_OK, too, when it is to stop instead. */
static int run_prepare(struct running *running)
{
    struct suspects *suspects = running->me->suspects;
    const struct parts *parts = &running->files->parts;
    struct error error = {0};
    while (!asked_to_stop(running) && handover_stage(suspects) != HANDOVER_BEGIN) {
        if (engine_prepared(running->engine))
            handover_reach(suspects, HANDOVER_READY);
        if (engine_has_turn(running->engine))
            handover_reach(suspects, HANDOVER_PREPARED);
        tell(&running->audience, false);
        if (engine_fault(running->engine, &error) != 0)
            return refuse(running, &error);
        usleep(RUN_BEGIN_LOOK_MS * 1000);
    }
    if (asked_to_stop(running))
        return CLI_OK;
    (void)FAILPOINT("handover.begin");
    if (bus_find(parts->bus, running->me->finds, &error) != 0)
        return refuse(running, &error);
    running->began_ms = clock_monotonic_ms();
    engine_begin(running->engine);
    log_debug("run", "begins");
    return CLI_OK;
}

/* How long stopping takes at most, mostly: the drain, the interrupted batches, exit handlers. */
static int64_t stop_ms(const struct pipeline *pipeline)
{
    return pipeline->engine.drain_timeout_ms + 20000;
}

/* Another worker takes this one's place: what it needs is left to it. Returns when it runs, or will not: until then,
 * who asked for that waits here for the answer. */
static void run_hand_over(struct running *running)
{
    struct suspects *suspects = running->me->suspects;
    struct error error = {0};
    if (bus_leave(running->files->parts.bus, running->me->leaves, &error) != 0)
        log_error("run", &error);
    log_info("run", "handed over");
    handover_reach(suspects, HANDOVER_RELEASED);
    int64_t until_ms = clock_monotonic_ms() + RUN_HANDED_OVER_MS;
    while (handover_stage(suspects) < HANDOVER_OVER && !asked_to_stop(running) && clock_monotonic_ms() < until_ms) {
        tell(&running->audience, false);
        usleep(RUN_BEGIN_LOOK_MS * 1000);
    }
}

static void end_without_it(const struct running *running)
{
    log_warn("run", "a handler has not returned; the process ends without waiting for it");
    suspects_decide(running->me->suspects);
    log_flush();
    _exit(CLI_FAILED);
}

static void run_end(struct running *running, int code)
{
    const struct parts *parts = &running->files->parts;
    bool succeeded = handover_stage(running->me->suspects) >= HANDOVER_ASKED;
    if (running->audience.master == NULL)
        (void)notify_stopping(running->audience.manager, stop_ms(parts->pipeline));
    if (succeeded)
        bus_succeeded(parts->bus);
    log_info("run", succeeded ? "handing over: nothing new is taken" : "stopping: nothing new is taken");
    if (running->http != NULL)
        http_quiesce(running->http, !succeeded);
    if (running->http != NULL && succeeded)
        usleep(RUN_QUIESCE_MS * 1000); /* who has connected asks now, and is served as ever */
    int drained = engine_drain(running->engine, code == CLI_OK ? parts->pipeline->engine.drain_timeout_ms : 0);
    if (drained != 0)
        log_warn("run", "some work did not finish within engine.drain_timeout; it is redelivered");
    if (drained == -EBUSY)
        end_without_it(running);
    if (succeeded)
        run_hand_over(running);
    http_stop(running->http);
    if (drained == -ETIMEDOUT && !engine_interrupt(running->engine))
        end_without_it(running);
}

static int run(struct running *running)
{
    struct parts *parts = &running->files->parts;
    bool successor = handover_is_successor(running->me->suspects);
    struct engine_parts engine_parts = {.pipeline = parts->pipeline,
                                        .bus = parts->bus,
                                        .store = parts->store,
                                        .metrics = parts->metrics,
                                        .migrations = parts->migrations,
                                        .suspects = running->me->suspects,
                                        .waits = successor};
    struct error error = {0};

    atomic_store(&running->signals->starting, false);
    metrics_series(parts->metrics, METRIC_BUILD_INFO, SLUICE_VERSION, NULL);
    series_set(metrics_series(parts->metrics, METRIC_FILES_READ, NULL, NULL), (running->files->read_ms + 999) / 1000);
    int code = CLI_OK;
    int found = running->me->finds < 0 ? 0
                : successor            ? bus_find_early(parts->bus, running->me->finds, &error)
                                       : bus_find(parts->bus, running->me->finds, &error);
    if (found != 0 || tracing_open(parts, &engine_parts.tracer, &error) != 0 ||
        engine_start(&engine_parts, &running->engine, &error) != 0)
        code = refuse(running, &error);
    else if (!successor)
        code = listen_now(running);
    if (code == CLI_OK && parts->store == NULL)
        log_warn("run", "no store: every event is handled at least once; after a crash some are handled twice");
    if (code == CLI_OK && successor)
        code = run_prepare(running);
    if (code == CLI_OK)
        code = run_loop(running);
    if (running->engine != NULL)
        run_end(running, code);
    engine_stop(running->engine);
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

/* Warnings are lines of the engine's log. What it cannot run with is said as `validate` does; the refusal of a reload
 * has it anyway. */
static int check(struct parts *parts, const struct suspects *suspects)
{
    bool successor = handover_is_successor(suspects);
    if (reading_finish(&parts->reading, successor) != 0) {
        if (!successor)
            parts_print_problems(parts);
        return CLI_CONFIG;
    }
    for (size_t i = 0; i < parts->reading.problems.count; i++) {
        const struct problem *problem = &parts->reading.problems.list[i];
        log_warn("run", "%s:%d:%d: %s", problem->place.file, problem->place.line, problem->place.column, problem->text);
    }
    return CLI_OK;
}

/* The worker process. `context`: its copy of the files. */
static int run_worker(const struct master_worker *me, void *context)
{
    struct run_files *files = context;
    struct parts *parts = &files->parts;
    struct signals signals = {.suspects = me->suspects};
    struct running running = {.files = files,
                              .me = me,
                              .signals = &signals,
                              .audience = {.master = me->suspects, .manager = files->notify},
                              .began_ms = clock_monotonic_ms()};
    struct error error = files->error;
    signals_start(&signals);
    int code = check(parts, me->suspects);
    if (code != CLI_OK)
        reloading_refuse(me->suspects, parts);
    else
        reloading_loaded(files->reloading, files);
    if (code == CLI_OK && (error.code != 0 || parts_attach(parts, PARTS_BUS, &error) != 0))
        code = refuse(&running, &error);
    if (code == CLI_OK)
        code = run(&running);
    parts_close(parts);
    return code;
}

static bool on_hangup(void *context)
{
    (void)context;
    return signals_reload();
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
    share_heaps();
    signals_prepare();
    signal(SIGPIPE, SIG_IGN); /* the master's log has a reader that may end, too */
    if (copies_open(&error) != 0) {
        log_warn("run", "%s; they are loaded where they are, so replace a file by renaming a new one to it",
                 error.text);
        error = (struct error){0};
    }
    struct notify notify;
    if (notify_open(&notify, &error) != 0)
        log_warn("run", "%s; %s", error.text, error.hint);
    struct reloading reloading;
    reloading_init(&reloading, argv[optind], buses, &notify);
    struct run_files *files = reloading_first(&reloading);
    const struct master_work work = {.run = run_worker,
                                     .read = reloading_read,
                                     .use = reloading_use,
                                     .forget = reloading_forget,
                                     .hangup = on_hangup,
                                     .asked = reloading_asked,
                                     .answer = reloading_answer,
                                     .context = &reloading};
    int code = CLI_FAILED;
    if (files != NULL && single)
        code = run_worker(&(struct master_worker){NULL, -1, -1}, files);
    else if (files != NULL)
        code = master_run(&work, files, &notify, stop_ms(files->parts.pipeline));
    if (files != NULL && single)
        reloading_forget(&reloading, files);
    copies_close();
    return code;
}
