/*
 * trial.c - see trial.h.
 */
#include "guard/trial.h"

#include "base/failpoint.h"
#include "guard/ending.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The process: says nothing when the files can be read. */
static void read_files(const struct master_work *work, const void *old, int to)
{
    struct buffer why;
    buffer_init(&why, HANDOVER_WHY_MAX);
    (void)FAILPOINT("reload.read");
    bool good = work->read(work->context, old, &why) != NULL;
    for (size_t at = 0; !good && at < why.length;) {
        ssize_t written = write(to, why.at + at, why.length - at);
        if (written <= 0)
            break;
        at += (size_t)written;
    }
    _exit(good ? EXIT_SUCCESS : EXIT_FAILURE);
}

bool trial_start(const struct master_work *work, const void *old, const sigset_t *unblocked, struct orphans *orphans,
                 struct trial *ret)
{
    int ends[2];
    pid_t self = getpid();
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0); /* a terminal's Ctrl-C is the master's */
        if (getppid() != self)
            _exit(EXIT_FAILURE);
        sigprocmask(SIG_SETMASK, unblocked, NULL);
        read_files(work, old, ends[1]);
    }
    int code = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        errno = code;
        return false;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    orphans_spare(orphans, pid);
    *ret = (struct trial){.pid = pid, .from = ends[0]};
    buffer_init(&ret->why, HANDOVER_WHY_MAX);
    return true;
}

void trial_look(struct trial *trial)
{
    char said[4096];
    for (ssize_t length; (length = read(trial->from, said, sizeof said)) > 0;)
        buffer_append(&trial->why, said, (size_t)length);
}

bool trial_ended(struct trial *trial, int status)
{
    char words[ENDING_WORDS_MAX];
    trial->pid = 0;
    trial_look(trial);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
        return true;
    if (trial->why.length == 0) {
        struct process_ending ending = ending_of_status(status);
        buffer_format(&trial->why, "the process that reads the files ended: %s", ending_text(&ending, words));
    }
    return false;
}

void trial_end(struct trial *trial)
{
    if (trial->pid != 0)
        kill(trial->pid, SIGKILL);
    close(trial->from);
    buffer_free(&trial->why);
    *trial = (struct trial){.from = -1};
}
