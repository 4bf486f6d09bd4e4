/*
 * probe.c - a library is loaded in a child process first, which may crash, hang or exit.
 *
 * The child has its own process group, no input, and its standard output is standard error; it sends what
 * plugin_load() returned through a pipe and ends by _exit(). The parent waits for that, for its end, or for the
 * timeout, and kills the group. It also notices what a constructor may not touch: it would be everyone's.
 */
#include "plugin/plugin.h"

#include "base/clock.h"
#include "base/surroundings.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_SLICE_MS = 20 };

/* -------------------------------------------------------------------------------------------------------- the child */

static void child_prepare(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP, SIGTERM, SIGINT};
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    /* A crash must end the child, not run a handler that the parent has set. */
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        signal(fatal[i], SIG_DFL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
}

static void child_run(const char *path, int out)
{
    struct error error = {0};
    const struct sluice_plugin *plugin;
    struct surroundings before;
    child_prepare();
    surroundings_read(&before);
    int r = plugin_load(path, &plugin, &error);
    const char *changed = r == 0 ? surroundings_restore(&before) : NULL;
    if (changed != NULL) {
        error_set(&error, EPERM, "%s changed the %s of the process while it was being loaded", path, changed);
        error_hint(&error, "a plugin leaves alone what belongs to the whole process");
    }
    ssize_t written = write(out, &error, sizeof error); /* below PIPE_BUF: whole or not at all */
    _exit(written == (ssize_t)sizeof error ? 0 : 1);
}

/* ------------------------------------------------------------------------------------------------------- the parent */

/* True when *ret is the child's answer; false when it ended, or ran out of time, without one. */
static bool answer_read(int in, pid_t child, int64_t deadline_ms, struct error *ret, int *ret_status, bool *ret_ended)
{
    struct pollfd wait = {.fd = in, .events = POLLIN};
    for (;;) {
        int64_t left_ms = deadline_ms - clock_monotonic_ms();
        /* In slices: a grandchild may hold the pipe open after the child has ended, a child may live on without the
         * pipe. */
        int slice_ms = left_ms < 0 ? 0 : left_ms < WAIT_SLICE_MS ? (int)left_ms : WAIT_SLICE_MS;
        if (poll(&wait, 1, slice_ms) > 0) {
            if (read(in, ret, sizeof *ret) == (ssize_t)sizeof *ret)
                return true;
            wait.fd = -1; /* end of file, seen once */
        }
        *ret_ended = waitpid(child, ret_status, WNOHANG) == child;
        if (*ret_ended || left_ms <= 0)
            return false;
    }
}

static int report_end(const char *path, int status, bool ended, int64_t timeout_ms, struct error *error)
{
    if (!ended) {
        error_set(error, ETIMEDOUT, "%s did not finish loading within %lld ms", path, (long long)timeout_ms);
        return error_hint(error, "its constructors or sluice_plugin() hang; do such work in open()");
    }
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        error_set(error, EFAULT, "%s crashed while it was being loaded and looked at: SIG%s (%s)", path,
                  name == NULL ? "?" : name, strsignal(WTERMSIG(status)));
        return error_hint(error, "look at its constructors, and at pointers and unended tables in its descriptor");
    }
    error_set(error, EFAULT, "%s ended the process while it was being loaded: exit code %d", path, WEXITSTATUS(status));
    return error_hint(error, "a plugin never calls exit()");
}

static int probe_parent(const char *path, int in, pid_t child, int64_t timeout_ms, struct error *error)
{
    struct error answer;
    int status = 0;
    bool ended = false, answered = answer_read(in, child, clock_monotonic_ms() + timeout_ms, &answer, &status, &ended);
    kill(-child, SIGKILL); /* whatever it started goes with it */
    if (!ended) {
        kill(child, SIGKILL);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    if (!answered)
        return report_end(path, status, ended, timeout_ms, error);
    if (answer.code == 0)
        return 0;
    if (error != NULL)
        *error = answer;
    return -answer.code;
}

int plugin_probe(const char *path, int64_t timeout_ms, struct error *error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_set(error, errno, "%s cannot be looked at: pipe: %s", path, strerror(errno));
    fflush(NULL); /* or a child that calls exit() would write our buffers again */
    pid_t child = fork();
    if (child < 0) {
        int code = errno;
        close(ends[0]);
        close(ends[1]);
        return error_set(error, code, "%s cannot be looked at: fork: %s", path, strerror(code));
    }
    if (child == 0) {
        close(ends[0]);
        child_run(path, ends[1]);
    }
    setpgid(child, child); /* parent and child both do it, so that it is done when either goes on */
    close(ends[1]);
    int r = probe_parent(path, ends[0], child, timeout_ms, error);
    close(ends[0]);
    return r;
}
