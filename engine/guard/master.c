/*
 * master.c - fork, wait, judge, fork again.
 *
 * It looks at its workers ten times a second, or less (guard/attention.h). There are at most two: the one that runs,
 * and while the engine is reloaded its successor, which becomes the one that runs as soon as the other has handed over.
 */
#include "guard/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "guard/attention.h"
#include "guard/generation.h"
#include "guard/manager.h"
#include "guard/trial.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MASTER_RELOAD_LOOK_MS = 5, /* while partitions wait for the successor */
    MASTER_FORGET_MS = 60000,
    MASTER_READ_MS = 10000,    /* the longest wait for the files to be read, */
    MASTER_PREPARE_MS = 60000, /* for a successor that could begin, */
    MASTER_TURN_MS = 600000,   /* for its turn, */
    MASTER_BEGIN_MS = 30000,   /* and for one that runs once it may */
};

enum reload_state {
    RELOAD_NONE = 0,
    RELOAD_READING,   /* `trial` reads the files, that the master does not wait for a disk */
    RELOAD_PREPARING, /* `next` opens what it needs */
    RELOAD_RELEASING, /* `now` hands over to `next` */
    RELOAD_BEGINNING, /* what was `next` is `now`, and begins; `past` waits for the answer */
    RELOAD_ENDING,    /* it was answered; `past` ends */
};

struct master {
    const struct master_work *work;
    struct manager manager;
    sigset_t signals, before;
    int64_t forgot_ms;
    struct orphans orphans;
    struct generation now, next, past;
    struct trial trial;
    struct attention attention;
    enum reload_state reload;
    bool plan, hungup;          /* the reload's; one was asked for by SIGHUP */
    bool queued;                /* its successor could begin, and waits for its turn */
    int64_t began_ms, until_ms; /* of the reload, and of its state */
    bool over;                  /* the engine is: it was asked to end, or its worker decided to */
    int status;
};

/* ----------------------------------------------------------------------------------------------------------- reload */

static void reload_answer(struct master *master, const void *old, const void *files, const char *why)
{
    struct master_reload reload = {.plan = master->plan,
                                   .accepted = why == NULL,
                                   .old = old,
                                   .files = files,
                                   .why = why,
                                   .duration_ms = clock_monotonic_ms() - master->began_ms};
    master->work->answer(master->work->context, &reload);
}

/* The buffer as a C string, what fitted of it; never NULL, which would mean that nothing was refused. */
static const char *text_of(struct buffer *why)
{
    buffer_byte(why, '\0');
    if (why->length == 0)
        return "out of memory for the reason";
    why->at[why->length - 1] = '\0';
    return why->at;
}

static void reload_begin(struct master *master, bool plan)
{
    master->plan = plan;
    master->queued = false;
    master->began_ms = clock_monotonic_ms();
    (void)manager_tell_reloading(&master->manager, plan); /* again with the next look, when it could not be sent */
    if (trial_start(master->work, master->now.files, &master->before, &master->orphans, &master->trial)) {
        master->reload = RELOAD_READING;
        master->until_ms = master->began_ms + MASTER_READ_MS;
        return;
    }
    reload_answer(master, master->now.files, NULL, "there is no process to read the files");
}

/* Nothing was read, or what was read cannot run. */
static void reload_unread(struct master *master, const char *why)
{
    reload_answer(master, master->now.files, NULL, why);
    trial_end(&master->trial);
    master->reload = RELOAD_NONE;
}

/* Could just be read by another process, so that they are at hand. */
static void reload_read(struct master *master)
{
    struct buffer why;
    buffer_init(&why, HANDOVER_WHY_MAX);
    trial_end(&master->trial);
    master->reload = RELOAD_NONE;
    void *files = master->work->read(master->work->context, master->now.files, &why);
    if (files == NULL)
        reload_answer(master, master->now.files, NULL, text_of(&why));
    else if (generation_make(&master->next, files, suspects_beside(master->now.suspects)) &&
             generation_start(master->work, &master->next, &master->before, true, master->now.leaves)) {
        master->reload = RELOAD_PREPARING;
        master->until_ms = clock_monotonic_ms() + MASTER_PREPARE_MS;
    } else {
        buffer_format(&why, "no process for the new worker: %s", strerror(errno));
        reload_answer(master, master->now.files, files, text_of(&why));
        generation_end(master->work, &master->next);
    }
    buffer_free(&why);
}

/* The successor has ended, or is to end, before it began. */
static void reload_refuse(struct master *master, const char *why)
{
    process_kill(&master->next.worker, &master->orphans, master->now.worker.pid);
    reload_answer(master, master->now.files, master->next.files, why);
    generation_end(master->work, &master->next);
    /* a worker that was asked to hand over ends; the next one runs what it ran */
    master->reload = master->reload == RELOAD_RELEASING ? RELOAD_ENDING : RELOAD_NONE;
    if (master->now.worker.pid != 0 && master->reload == RELOAD_ENDING)
        handover_reach(master->now.suspects, HANDOVER_OVER);
}

/* What it had is free. */
static void reload_succeed(struct master *master)
{
    master->past = master->now;
    master->now = master->next;
    master->next = (struct generation){.leaves = -1};
    master->reload = RELOAD_BEGINNING;
    master->until_ms = clock_monotonic_ms() + MASTER_BEGIN_MS;
    handover_reach(master->now.suspects, HANDOVER_BEGIN);
}

static void reload_over(struct master *master)
{
    master->reload = RELOAD_ENDING;
    if (master->past.worker.pid != 0)
        handover_reach(master->past.suspects, HANDOVER_OVER);
    else
        generation_end(master->work, &master->past);
}

/* The successor has begun, and cannot go on: a worker of the old files takes its place. */
static void reload_revert(struct master *master, const char *why)
{
    struct generation failed = master->now;
    reload_answer(master, master->past.files, failed.files, why);
    process_kill(&failed.worker, &master->orphans, master->past.worker.pid);
    master->now = master->past;
    master->past = (struct generation){.leaves = -1};
    generation_end(master->work, &failed);
    master->reload = RELOAD_ENDING;
    if (master->now.worker.pid != 0)
        handover_reach(master->now.suspects, HANDOVER_OVER);
    else
        master->now.again_ms = 0;
}

static void reload_prepared(struct master *master)
{
    if (master->plan) {
        reload_refuse(master, NULL); /* nothing is said against it, and it is only a plan */
        return;
    }
    master->reload = RELOAD_RELEASING;
    master->until_ms = clock_monotonic_ms() + master->manager.stop_ms;
    if (master->now.worker.pid == 0)
        reload_succeed(master);
    else
        handover_reach(master->now.suspects, HANDOVER_ASKED);
}

/* Processes of a group hand over one after the other. */
static void reload_queue(struct master *master)
{
    master->queued = true;
    master->until_ms = clock_monotonic_ms() + MASTER_TURN_MS;
}

static const char *reason_of_delay(const struct master *master)
{
    const char *said = handover_why(master->next.suspects);
    if (said[0] != '\0')
        return said;
    return master->queued ? "its turn did not come within 10 minutes: another process of the group hands over"
                          : "the new worker could not begin within 60 s";
}

static void reload_look(struct master *master)
{
    bool late = clock_monotonic_ms() > master->until_ms, plan = false;
    switch (master->reload) {
    case RELOAD_NONE:
        if (master->hungup || master->work->asked(master->work->context, &plan)) {
            plan = plan && !master->hungup;
            master->hungup = false;
            reload_begin(master, plan);
        }
        break;
    case RELOAD_READING:
        trial_look(&master->trial);
        if (late)
            reload_unread(master, "the files were not read within 10 s: a disk does not answer; try again later");
        break;
    case RELOAD_PREPARING:
        if (handover_stage(master->next.suspects) >= (master->plan ? HANDOVER_READY : HANDOVER_PREPARED))
            reload_prepared(master);
        else if (handover_stage(master->next.suspects) == HANDOVER_READY && !master->queued)
            reload_queue(master);
        else if (late)
            reload_refuse(master, reason_of_delay(master));
        break;
    case RELOAD_RELEASING:
        if (handover_stage(master->now.suspects) == HANDOVER_RELEASED)
            reload_succeed(master);
        else if (late)
            process_end(&master->now.worker,
                        (struct process_ending){.kind = ENDING_STATUS, .number = EXIT_FAILURE, .lane = -1});
        break;
    case RELOAD_BEGINNING:
        if (master->now.worker.pid != 0 && suspects_ready(master->now.suspects)) {
            reload_answer(master, master->past.files, master->now.files, NULL);
            reload_over(master);
        } else if (late) {
            reload_revert(master, "the new worker was not ready within 30 s of its beginning");
        }
        break;
    case RELOAD_ENDING:
        if (master->past.files == NULL && handover_stage(master->now.suspects) != HANDOVER_OVER)
            master->reload = RELOAD_NONE;
        break;
    }
}

/* ------------------------------------------------------------------------------------------------------------- ends */

static void next_ended(struct master *master, const struct process_ending *ending)
{
    char why[ENDING_WORDS_MAX + 64], words[ENDING_WORDS_MAX];
    snprintf(why, sizeof why, "the new worker ended: %s", ending_text(ending, words));
    const char *said = handover_why(master->next.suspects);
    reload_refuse(master, said[0] != '\0' ? said : why);
}

static void now_ended(struct master *master, int status, struct process_ending *ending)
{
    struct generation *now = &master->now;
    bool killed = now->worker.ending.kind != 0, decided = suspects_decided(now->suspects);
    bool handed_over = handover_stage(now->suspects) >= HANDOVER_ASKED;
    bool begins = master->reload == RELOAD_BEGINNING;
    if (suspects_asked(now->suspects) > 0 || (decided && !handed_over && !begins)) {
        master->over = true;
        master->status = killed ? EXIT_FAILURE : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return;
    }
    if (begins && decided) {
        const char *why = handover_why(now->suspects);
        reload_revert(master, why[0] != '\0' ? why : "the new worker ended as it began; its log says why");
        return;
    }
    if (decided)
        now->again_ms = 0; /* to begin again, if its successor cannot */
    else
        generation_judge(now, ending);
    if (master->reload == RELOAD_RELEASING)
        reload_succeed(master);
}

static void past_ended(struct master *master)
{
    if (master->reload == RELOAD_ENDING)
        generation_end(master->work, &master->past);
}

static void worker_ended(struct master *master, struct generation *generation, int status)
{
    struct process_ending ending;
    pid_t other = 0;
    struct generation *all[] = {&master->now, &master->next, &master->past};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i] != generation && all[i]->worker.pid != 0)
            other = all[i]->worker.pid;
    process_ended(&generation->worker, &master->orphans, other, status, &ending);
    if (generation == &master->next)
        next_ended(master, &ending);
    else if (generation == &master->now)
        now_ended(master, status, &ending);
    else
        past_ended(master);
}

static struct generation *generation_of(struct master *master, pid_t pid)
{
    struct generation *all[] = {&master->now, &master->next, &master->past};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i]->worker.pid == pid)
            return all[i];
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------------- signals */

/* A signal is the operator's unless it comes from a worker's process group. */
static bool is_operators(struct master *master, const siginfo_t *info)
{
    if (info->si_code > 0 || info->si_pid == 0 || generation_of(master, getpgid(info->si_pid)) == NULL)
        return true;
    log_warn("master", "process %d, which a handler runs in, sent signal %d to the engine: ignored", (int)info->si_pid,
             info->si_signo);
    return false;
}

static void stop(struct master *master, int signal)
{
    struct generation *all[] = {&master->now, &master->next, &master->past};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i]->files != NULL) {
            suspects_ask(all[i]->suspects);
            if (all[i]->worker.pid != 0)
                kill(all[i]->worker.pid, signal);
        }
    if (master->now.worker.pid == 0) {
        log_info("master", "stopped, with no worker to stop");
        master->over = true;
        master->status = EXIT_SUCCESS;
    }
}

/* None of the workers: what a handler left, or who read the files. */
static void child_ended(struct master *master, pid_t pid, int status)
{
    bool reads = master->reload == RELOAD_READING && pid == master->trial.pid;
    orphans_waited_for(&master->orphans, pid);
    if (reads && trial_ended(&master->trial, status))
        reload_read(master);
    else if (reads)
        reload_unread(master, text_of(&master->trial.why));
}

/* Until the next look, unless a signal comes. */
static int64_t rest_ms(struct master *master)
{
    struct generation *now = &master->now;
    bool runs = now->worker.pid != 0 && suspects_ready(now->suspects) && !suspects_decided(now->suspects) &&
                suspects_asked(now->suspects) == 0 && now->worker.lifeline_lost == 0 && !now->worker.stopped;
    int64_t ms = MASTER_RELOAD_LOOK_MS;
    if (master->reload == RELOAD_NONE)
        ms = attention_rest(&master->attention, now->suspects, !runs, notify_every_ms(master->manager.notify));
    process_look_later(&now->worker, ms);
    process_look_later(&master->next.worker, ms);
    process_look_later(&master->past.worker, ms);
    return ms;
}

static void take_signals(struct master *master)
{
    struct timespec wait = timespec_of_ms(rest_ms(master));
    siginfo_t info = {0};
    int status = 0, signal = sigtimedwait(&master->signals, &info, &wait);
    attention_over(master->now.suspects);
    if (signal > 0 && signal != SIGCHLD && is_operators(master, &info)) {
        if (signal == SIGHUP && master->work->hangup(master->work->context))
            master->hungup = true;
        else
            stop(master, signal == SIGHUP ? SIGTERM : signal);
    }
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0;) {
        struct generation *generation = generation_of(master, pid);
        bool ended = WIFEXITED(status) || WIFSIGNALED(status);
        if (generation != NULL && ended)
            worker_ended(master, generation, status);
        else if (generation != NULL)
            generation->worker.stopped = WIFSTOPPED(status);
        else if (ended)
            child_ended(master, pid, status);
    }
}

/* --------------------------------------------------------------------------------------------------------- the loop */

static void look(struct master *master)
{
    struct generation *all[] = {&master->now, &master->next, &master->past};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct generation *generation = all[i];
        if (generation->worker.pid == 0)
            continue;
        if (suspects_asked(generation->suspects) == 0 && !suspects_decided(generation->suspects))
            process_look(&generation->worker, generation->suspects);
        else
            process_look_ending(&generation->worker, generation->suspects);
    }
    if (clock_monotonic_ms() - master->forgot_ms > MASTER_FORGET_MS) {
        suspects_forget(master->now.suspects);
        master->forgot_ms = clock_monotonic_ms();
    }
}

/* The worker that runs has ended, and another one takes its place. False: there is no process for it. */
static bool start_again(struct master *master)
{
    struct generation *now = &master->now;
    if (now->worker.pid != 0 || clock_monotonic_ms() < now->again_ms)
        return true;
    /* what was left and not begun upon is found again: by a successor that ended as it began, or by who left it */
    bool left = handover_stage(now->suspects) >= HANDOVER_ASKED;
    int finds = master->reload == RELOAD_BEGINNING ? master->past.leaves : -1;
    if (left ? generation_resume(master->work, now, &master->before)
             : generation_start(master->work, now, &master->before, false, finds))
        return true;
    log_line(LOG_ERROR, "master", "no process for the worker: %s", strerror(errno));
    return false;
}

/* What is left when the engine is over: a successor that has not begun, or a worker that has handed over. */
static void end_all(struct master *master)
{
    struct generation *all[] = {&master->next, &master->past, &master->now};
    const char *why = "the engine ends";
    if (master->reload == RELOAD_READING)
        reload_unread(master, why);
    else if (master->reload == RELOAD_PREPARING || master->reload == RELOAD_RELEASING)
        reload_answer(master, master->now.files, master->next.files, why);
    else if (master->reload == RELOAD_BEGINNING)
        reload_answer(master, master->past.files, master->now.files, why);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        process_kill(&all[i]->worker, &master->orphans, 0);
        if (all[i]->files != NULL)
            generation_end(master->work, all[i]);
    }
}

int master_run(const struct master_work *work, void *files, struct notify *notify, int64_t stop_ms)
{
    struct master master = {.work = work,
                            .manager = {.notify = notify, .stop_ms = stop_ms},
                            .forgot_ms = clock_monotonic_ms(),
                            .next.leaves = -1,
                            .past.leaves = -1,
                            .status = EXIT_FAILURE};
    if (!generation_make(&master.now, files, suspects_create())) {
        log_warn("master",
                 "no shared memory: %s; a crashing plugin will not be told from its neighbours, and nothing is "
                 "reloaded",
                 strerror(errno));
        return work->run(&(struct master_worker){NULL, -1, -1}, files);
    }
    sigemptyset(&master.signals);
    sigaddset(&master.signals, SIGTERM);
    sigaddset(&master.signals, SIGINT);
    sigaddset(&master.signals, SIGHUP);
    sigaddset(&master.signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &master.signals, &master.before);
    orphans_adopt(&master.orphans);
    while (!master.over && start_again(&master)) {
        take_signals(&master);
        if (master.over)
            break;
        look(&master);
        reload_look(&master);
        bool reloads = master.reload != RELOAD_NONE && master.reload != RELOAD_ENDING;
        manager_tell(&master.manager, master.now.suspects, reloads, master.plan);
    }
    end_all(&master);
    return master.status;
}
