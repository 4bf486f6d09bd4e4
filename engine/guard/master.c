/*
 * master.c - fork, wait, judge, fork again.
 */
#include "guard/master.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MASTER_YOUNG_MS = 2000,
    MASTER_PAUSE_MAX_MS = 5000,
    MASTER_DEATH_MIN = 70, /* exit codes that are deaths, not decisions: out of memory (71), a failpoint (70) */
    MASTER_DEATH_MAX = 71,
};

static pid_t spawn(struct suspects *suspects, int (*work)(struct suspects *, void *), void *context,
                   const sigset_t *unblocked)
{
    pid_t master = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* a terminal's Ctrl-C goes to the master alone, which hands it on: one press must not count as two */
    setpgid(0, 0);
    if (getppid() != master)
        _exit(1); /* the master died in between */
    sigprocmask(SIG_SETMASK, unblocked, NULL);
    suspects_watch(suspects);
    int code = work(suspects, context);
    suspects_clean(suspects);
    exit(code);
}

/* Waits for the worker's end, handing signals on. Returns its wait status; *ret_asked counts SIGTERM and SIGINT. */
static int attend(pid_t pid, const sigset_t *signals, int *asked)
{
    for (;;) {
        int signal = 0, status = 0;
        sigwait(signals, &signal);
        if (signal == SIGCHLD) {
            if (waitpid(pid, &status, WNOHANG) == pid)
                return status;
        } else {
            *asked += signal != SIGHUP; /* the worker says what it makes of that one */
            kill(pid, signal);
        }
    }
}

static bool is_fault(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE || signal == SIGABRT ||
           signal == SIGSYS;
}

int master_run(int (*work)(struct suspects *suspects, void *context), void *context)
{
    sigset_t signals, before;
    int asked = 0;
    int64_t pause = 0;
    struct suspects *suspects = suspects_create();

    if (suspects == NULL) {
        log_warn("master", "no shared memory for suspects: %s; a crashing plugin will not be told from its neighbours",
                 strerror(errno));
        return work(NULL, context);
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, &before);
    for (;;) {
        int64_t born = clock_monotonic_ms();
        pid_t pid = spawn(suspects, work, context, &before);
        if (pid < 0) {
            log_line(LOG_ERROR, "master", "no process for the worker: %s", strerror(errno));
            return 1;
        }
        int status = attend(pid, &signals, &asked);
        bool decided = WIFEXITED(status) &&
                       (WEXITSTATUS(status) < MASTER_DEATH_MIN || WEXITSTATUS(status) > MASTER_DEATH_MAX);
        if (decided || asked > 0)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        bool crashed = false;
        /* kill -9 and the OOM killer blame nobody. */
        size_t named = WIFSIGNALED(status) && is_fault(WTERMSIG(status)) ? suspects_judge(suspects, &crashed) : 0;
        pause = clock_monotonic_ms() - born > MASTER_YOUNG_MS || named > 0 ? 0 : pause == 0 ? 100 : pause * 2;
        if (pause > MASTER_PAUSE_MAX_MS)
            pause = MASTER_PAUSE_MAX_MS;
        if (WIFEXITED(status))
            log_line(LOG_ERROR, "master", "the worker gave up with status %d; a new one starts", WEXITSTATUS(status));
        else if (is_fault(WTERMSIG(status)))
            log_line(LOG_ERROR, "master",
                     "the worker died of signal %d (%s) in %s; %zu events are suspects and run alone now",
                     WTERMSIG(status), strsignal(WTERMSIG(status)), crashed ? "a handler's call" : "the engine itself",
                     named);
        else
            log_warn("master", "the worker was killed by signal %d (%s); a new one starts", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
        struct timespec wait = {.tv_sec = pause / 1000, .tv_nsec = pause % 1000 * 1000000};
        int signal = pause > 0 ? sigtimedwait(&signals, NULL, &wait) : 0;
        if (signal == SIGTERM || signal == SIGINT)
            return 128 + signal;
    }
}
