/*
 * master.c - fork, wait, judge, fork again.
 *
 * While it waits it looks at the worker ten times a second: a call past its deadline, a worker that is stopped, and one
 * whose end of the lifeline (a pipe) is closed although it runs cannot help themselves.
 */
#include "guard/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "guard/orphans.h"
#include "guard/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MASTER_SHORT_MS = 2000, /* a worker that ran for less did not run for long */
    MASTER_PAUSE_MS = 100,
    MASTER_PAUSE_MAX_MS = 5000,
    MASTER_LOOK_MS = 100,
    MASTER_GRACE_MS = 750, /* a call may be late by this much */
    MASTER_STALL_MS = 500, /* a look that comes this late: the machine stood still, the worker too */
    MASTER_FORGET_MS = 60000,
    MASTER_LIFELINE_LOOKS = 2, /* an ending process closes its descriptors, too */
    MASTER_EXIT_MS = 3000,     /* exit() may take, when the worker has done its work */
};

struct worker_process {
    pid_t pid;
    int lifeline; /* the master's end */
    int64_t born_ms;
    bool stopped;
    int lifeline_lost; /* looks that found it closed */
    int64_t looked_ms;
    int64_t stalled_ms; /* how long the machine stood still lately: calls may be late by this much more */
    int64_t stalled_until_ms;
    int64_t decided_ms;           /* since when it does nothing but end; 0: it has not decided to */
    struct process_ending ending; /* kind 0: the master did not end it */
};

struct master {
    struct suspects *suspects;
    struct notify *notify;
    int64_t stop_ms;
    unsigned lives; /* of the worker, when the service manager was told */
    sigset_t signals;
    int64_t forgot_ms;
    struct orphans orphans;
};

static bool spawn(struct master *master, struct worker_process *ret, int (*work)(struct suspects *, void *),
                  void *context, const sigset_t *unblocked)
{
    int ends[2];
    pid_t self = getpid();
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    suspects_reset(master->suspects);
    pid_t pid = fork();
    if (pid < 0) {
        int code = errno;
        close(ends[0]);
        close(ends[1]);
        errno = code;
        return false;
    }
    if (pid > 0) {
        setpgid(pid, pid); /* both do it, so that it is done when either goes on */
        close(ends[1]);
        *ret = (struct worker_process){
            .pid = pid, .lifeline = ends[0], .born_ms = clock_monotonic_ms(), .looked_ms = clock_monotonic_ms()};
        return true;
    }
    close(ends[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* a terminal's Ctrl-C goes to the master alone, which hands it on: one press must not count as two */
    setpgid(0, 0);
    if (getppid() != self)
        _exit(EXIT_FAILURE); /* the master ended in between */
    sigprocmask(SIG_SETMASK, unblocked, NULL);
    watch_process(master->suspects, ends[1]);
    int code = work(master->suspects, context);
    suspects_decide(master->suspects);
    exit(code);
}

static void end_worker(struct worker_process *worker, struct process_ending ending)
{
    if (worker->ending.kind != 0)
        return;
    worker->ending = ending;
    kill(worker->pid, SIGKILL);
}

/* What the worker cannot report by itself. */
static void look(struct master *master, struct worker_process *worker)
{
    int64_t now = clock_monotonic_ms(), late = now - worker->looked_ms - MASTER_LOOK_MS;
    struct pollfd lifeline = {.fd = worker->lifeline, .events = POLLIN};
    struct process_ending ending;
    worker->looked_ms = now;
    if (late > MASTER_STALL_MS) {
        worker->stalled_ms = late;
        worker->stalled_until_ms = now + late + MASTER_GRACE_MS;
    }
    if (suspects_overdue(master->suspects, now,
                         MASTER_GRACE_MS + (now < worker->stalled_until_ms ? worker->stalled_ms : 0), &ending))
        end_worker(worker, worker->stopped ? (struct process_ending){.kind = ENDING_STOPPED, .lane = -1} : ending);
    else if (worker->stopped && suspects_one_alone(master->suspects))
        end_worker(worker, (struct process_ending){.kind = ENDING_STOPPED, .lane = -1});
    worker->lifeline_lost = poll(&lifeline, 1, 0) > 0 ? worker->lifeline_lost + 1 : 0;
    if (worker->lifeline_lost >= MASTER_LIFELINE_LOOKS)
        end_worker(worker, (struct process_ending){.kind = ENDING_DESCRIPTORS, .lane = -1});
    if (now - master->forgot_ms > MASTER_FORGET_MS) {
        suspects_forget(master->suspects);
        master->forgot_ms = now;
    }
}

/* Sees to it that a worker that was asked to end does. */
static void end_look(struct master *master, struct worker_process *worker)
{
    int64_t now = clock_monotonic_ms();
    if (worker->stopped)
        kill(worker->pid, SIGCONT);
    if (!suspects_decided(master->suspects))
        return;
    if (worker->decided_ms == 0)
        worker->decided_ms = now;
    if (now - worker->decided_ms < MASTER_EXIT_MS || worker->ending.kind != 0)
        return;
    log_warn("master", "the worker has stopped and does not exit: an exit handler of a plugin does not return; killed");
    end_worker(worker, (struct process_ending){.kind = ENDING_STATUS, .number = EXIT_FAILURE, .lane = -1});
}

/* A signal is the operator's unless it comes from the worker's process group. */
static bool is_operators(const struct worker_process *worker, const siginfo_t *info)
{
    if (info->si_code > 0 || info->si_pid == 0 || getpgid(info->si_pid) != worker->pid)
        return true;
    log_warn("master", "process %d, which a handler runs in, sent signal %d to the engine: ignored", (int)info->si_pid,
             info->si_signo);
    return false;
}

/* Passes on to the service manager what the worker says of itself. A worker that stands still is not alive. */
static void tell_manager(struct master *master)
{
    int r = 0;
    unsigned lives = suspects_lives(master->suspects);
    if (suspects_asked(master->suspects) > 0)
        r = notify_stopping(master->notify, master->stop_ms);
    else if (suspects_ready(master->suspects))
        r = notify_ready(master->notify);
    if (r == 0 && lives != master->lives)
        r = notify_alive(master->notify, clock_monotonic_ms());
    master->lives = lives;
    if (r != 0)
        log_rarely(60000, LOG_WARN, "master", "the service manager cannot be told: %s", strerror(-r));
}

/* Waits for the worker's end, handing signals on. Returns its wait status. */
static int attend(struct master *master, struct worker_process *worker)
{
    for (;;) {
        struct timespec wait = {.tv_nsec = MASTER_LOOK_MS * 1000000};
        siginfo_t info = {0};
        int status = 0, signal = sigtimedwait(&master->signals, &info, &wait);
        if (signal > 0 && signal != SIGCHLD && is_operators(worker, &info)) {
            if (signal != SIGHUP) /* the worker says what it makes of that one */
                suspects_ask(master->suspects);
            kill(worker->pid, signal);
        }
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0;) {
            if (pid != worker->pid)
                continue; /* what a handler left has ended */
            if (WIFEXITED(status) || WIFSIGNALED(status))
                return status;
            worker->stopped = WIFSTOPPED(status);
        }
        if (suspects_asked(master->suspects) == 0 && !suspects_decided(master->suspects))
            look(master, worker);
        else
            end_look(master, worker);
        tell_manager(master);
    }
}

/* Why a new worker starts, in the log. */
static void report(const struct process_ending *ending, size_t named)
{
    char words[ENDING_WORDS_MAX];
    ending_text(ending, words);
    if (named > 0)
        log_line(ending_is_kill(ending) ? LOG_WARN : LOG_ERROR, "master",
                 "the worker ended in a handler's call: %s; %zu event%s %s; a new worker starts", words, named,
                 named == 1 ? " is" : "s are", ending_is_kill(ending) ? "watched" : "suspected");
    else if (ending_is_kill(ending))
        log_warn("master", "the worker ended: %s; a new worker starts", words);
    else
        log_line(LOG_ERROR, "master", "the worker ended, with no handler's call to blame: %s; a new worker starts",
                 words);
}

/* How long until the next worker starts: not at all when somebody is to blame or this one ran for long. */
static int64_t next_pause_ms(const struct worker_process *worker, size_t named, int64_t pause_ms)
{
    if (named > 0 || clock_monotonic_ms() - worker->born_ms > MASTER_SHORT_MS)
        return 0;
    pause_ms = pause_ms == 0 ? MASTER_PAUSE_MS : pause_ms * 2;
    return pause_ms > MASTER_PAUSE_MAX_MS ? MASTER_PAUSE_MAX_MS : pause_ms;
}

/* Judges a worker that ended. True: the engine is over, with *ret_status. */
static bool judge(struct master *master, struct worker_process *worker, int status, size_t *ret_named, int *ret_status)
{
    struct process_ending ending = worker->ending.kind != 0 ? worker->ending : ending_of_status(status);
    close(worker->lifeline);
    kill(-worker->pid, SIGKILL); /* children that handlers left: they hold the worker's connections open */
    orphans_end(&master->orphans);
    if (suspects_decided(master->suspects) || suspects_asked(master->suspects) > 0) {
        *ret_status = worker->ending.kind != 0 ? EXIT_FAILURE
                      : WIFEXITED(status)      ? WEXITSTATUS(status)
                                               : 128 + WTERMSIG(status);
        return true;
    }
    *ret_named = suspects_judge(master->suspects, &ending);
    report(&ending, *ret_named);
    return false;
}

int master_run(int (*work)(struct suspects *suspects, void *context), void *context, struct notify *notify,
               int64_t stop_ms)
{
    struct master master = {
        .suspects = suspects_create(), .notify = notify, .stop_ms = stop_ms, .forgot_ms = clock_monotonic_ms()};
    sigset_t before;
    int64_t pause_ms = 0;
    int status = 0;

    if (master.suspects == NULL) {
        log_warn("master", "no shared memory for suspects: %s; a crashing plugin will not be told from its neighbours",
                 strerror(errno));
        return work(NULL, context);
    }
    sigemptyset(&master.signals);
    sigaddset(&master.signals, SIGTERM);
    sigaddset(&master.signals, SIGINT);
    sigaddset(&master.signals, SIGHUP);
    sigaddset(&master.signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &master.signals, &before);
    orphans_adopt(&master.orphans);
    for (;;) {
        struct worker_process worker;
        size_t named = 0;
        if (!spawn(&master, &worker, work, context, &before)) {
            log_line(LOG_ERROR, "master", "no process for the worker: %s", strerror(errno));
            return EXIT_FAILURE;
        }
        if (judge(&master, &worker, attend(&master, &worker), &named, &status))
            return status;
        pause_ms = next_pause_ms(&worker, named, pause_ms);
        struct timespec wait = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000};
        int signal = pause_ms > 0 ? sigtimedwait(&master.signals, NULL, &wait) : 0;
        if (signal == SIGTERM || signal == SIGINT) {
            log_info("master", "stopped, with no worker to stop");
            return EXIT_SUCCESS;
        }
    }
}
