/*
 * process.c - see process.h.
 */
#include "guard/process.h"

#include "base/clock.h"
#include "base/log.h"
#include "guard/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROCESS_GRACE_MS = 750,     /* a call may be late by this much */
    PROCESS_STALL_MS = 500,     /* a look that comes this late: the machine stood still, the worker too */
    PROCESS_LIFELINE_LOOKS = 2, /* an ending process closes its descriptors, too */
    PROCESS_EXIT_MS = 3000,     /* exit() may take, when the worker has done its work */
};

pid_t process_start(struct suspects *suspects, const sigset_t *unblocked, struct worker_process *ret)
{
    int ends[2];
    pid_t self = getpid();
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    suspects_reset(suspects);
    pid_t pid = fork();
    if (pid < 0) {
        int code = errno;
        close(ends[0]);
        close(ends[1]);
        return -code;
    }
    if (pid > 0) {
        setpgid(pid, pid); /* both do it, so that it is done when either goes on */
        close(ends[1]);
        *ret = (struct worker_process){
            .pid = pid, .lifeline = ends[0], .born_ms = clock_monotonic_ms(), .look_ms = clock_monotonic_ms()};
        return pid;
    }
    close(ends[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* a terminal's Ctrl-C goes to the master alone, which hands it on: one press must not count as two */
    setpgid(0, 0);
    if (getppid() != self)
        _exit(EXIT_FAILURE); /* the master ended in between */
    sigprocmask(SIG_SETMASK, unblocked, NULL);
    watch_process(suspects, ends[1]);
    return 0;
}

void process_end(struct worker_process *worker, struct process_ending ending)
{
    if (worker->ending.kind != 0)
        return;
    worker->ending = ending;
    kill(worker->pid, SIGKILL);
}

void process_look(struct worker_process *worker, struct suspects *suspects)
{
    int64_t now = clock_monotonic_ms(), late = now - worker->look_ms;
    struct pollfd lifeline = {.fd = worker->lifeline, .events = POLLIN};
    struct process_ending ending;
    if (late > PROCESS_STALL_MS) {
        worker->stalled_ms = late;
        worker->stalled_until_ms = now + late + PROCESS_GRACE_MS;
    }
    if (suspects_overdue(suspects, now, PROCESS_GRACE_MS + (now < worker->stalled_until_ms ? worker->stalled_ms : 0),
                         &ending))
        process_end(worker, worker->stopped ? (struct process_ending){.kind = ENDING_STOPPED, .lane = -1} : ending);
    else if (worker->stopped && suspects_one_alone(suspects))
        process_end(worker, (struct process_ending){.kind = ENDING_STOPPED, .lane = -1});
    worker->lifeline_lost = poll(&lifeline, 1, 0) > 0 ? worker->lifeline_lost + 1 : 0;
    if (worker->lifeline_lost >= PROCESS_LIFELINE_LOOKS)
        process_end(worker, (struct process_ending){.kind = ENDING_DESCRIPTORS, .lane = -1});
}

void process_look_later(struct worker_process *worker, int64_t ms)
{
    worker->look_ms = clock_monotonic_ms() + ms;
}

void process_look_ending(struct worker_process *worker, struct suspects *suspects)
{
    int64_t now = clock_monotonic_ms();
    if (worker->stopped)
        kill(worker->pid, SIGCONT);
    if (!suspects_decided(suspects))
        return;
    if (worker->decided_ms == 0)
        worker->decided_ms = now;
    if (now - worker->decided_ms < PROCESS_EXIT_MS || worker->ending.kind != 0)
        return;
    log_warn("master", "the worker has stopped and does not exit: an exit handler of a plugin does not return; killed");
    process_end(worker, (struct process_ending){.kind = ENDING_STATUS, .number = EXIT_FAILURE, .lane = -1});
}

void process_ended(struct worker_process *worker, const struct orphans *orphans, pid_t other, int status,
                   struct process_ending *ret)
{
    *ret = worker->ending.kind != 0 ? worker->ending : ending_of_status(status);
    close(worker->lifeline);
    kill(-worker->pid, SIGKILL); /* children that handlers left: they hold the worker's connections open */
    worker->pid = 0;
    orphans_end(orphans, other);
}

void process_kill(struct worker_process *worker, const struct orphans *orphans, pid_t other)
{
    struct process_ending ending;
    if (worker->pid == 0)
        return;
    kill(worker->pid, SIGKILL);
    waitpid(worker->pid, NULL, 0);
    process_ended(worker, orphans, other, 0, &ending);
}
