/*
 * child.h - a piece of a test in a child process, which may end in any way; what it said and how it ended.
 */
#ifndef SLUICE_TESTS_CHILD_H
#define SLUICE_TESTS_CHILD_H

#include "check.h"

#include <sys/wait.h>

/* What ran in a child process left behind: its wait status and what it wrote to stderr. */
struct child {
    int status;
    char said[65536];
};

/* Runs `body` in a child whose stderr goes into a pipe; it may end itself in any way. */
static inline void child_run(struct child *child, void (*body)(void *context), void *context)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        body(context);
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], child->said + length, sizeof child->said - 1 - length)) > 0)
        length += (size_t)got;
    child->said[length] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &child->status, WUNTRACED), pid);
}

#endif
