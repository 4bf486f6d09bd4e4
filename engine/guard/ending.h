/*
 * ending.h - how a worker process, or that of an isolated plugin, ended, in a struct and in words.
 */
#ifndef SLUICE_GUARD_ENDING_H
#define SLUICE_GUARD_ENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ENDING_WORDS_MAX = 200 };

enum ending_kind {
    ENDING_SIGNAL = 1,  /* number: the signal */
    ENDING_STATUS,      /* number: the exit status; nobody had asked */
    ENDING_THREAD,      /* a lane's thread ended */
    ENDING_DESCRIPTORS, /* the engine's file descriptors are closed: by a call, or by exec */
    ENDING_HANG,        /* the call did not return; number: milliseconds past its deadline */
    ENDING_CPU,         /* the call took more processor time than it may; number: milliseconds that it may */
    ENDING_STOPPED,     /* SIGSTOP and the like */
    ENDING_INTERRUPTED, /* the engine stops, and its call had not returned: nobody's fault */
};

struct process_ending {
    enum ending_kind kind;
    int number;
    int32_t lane; /* whose call it was; -1: not known */
    bool unsure;  /* ENDING_HANG: another call is open for long, whose fault it may be */
    bool plugin;  /* it was the process of an isolated plugin, and the worker goes on */
};

/* "signal 11 (Segmentation fault)", "exit status 0", … Returns buf. */
const char *ending_text(const struct process_ending *ending, char buf[ENDING_WORDS_MAX]);
/* The call had all the time that it may have: to try it once more would cost as much again. */
static inline bool ending_is_late(const struct process_ending *ending)
{
    return ending->kind == ENDING_HANG || ending->kind == ENDING_CPU;
}
/* From waitpid()'s status, the lane not known. */
struct process_ending ending_of_status(int status);
static inline bool ending_is_kill(const struct process_ending *ending)
{
    return ending->kind == ENDING_SIGNAL && ending->number == 9;
}

#endif
