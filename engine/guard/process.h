/*
 * process.h - a worker process, as the master has it: its start, what it cannot report by itself, its end.
 */
#ifndef SLUICE_GUARD_PROCESS_H
#define SLUICE_GUARD_PROCESS_H

#include "guard/orphans.h"
#include "guard/suspects.h"

struct worker_process {
    pid_t pid;    /* 0: none runs */
    int lifeline; /* the master's end */
    int64_t born_ms;
    bool stopped;
    int lifeline_lost;  /* looks that found it closed */
    int64_t look_ms;    /* when the next look is due */
    int64_t stalled_ms; /* how long the machine stood still lately: calls may be late by this much more */
    int64_t stalled_until_ms;
    int64_t decided_ms;           /* since when it does nothing but end; 0: it has not decided to */
    struct process_ending ending; /* kind 0: the master did not end it */
};

/* Forks. In the child, 0 is returned and the process is watched for `suspects`, its signals are `unblocked` and it ends
 * with its parent. In the parent: the pid, with *ret filled, or -errno. */
pid_t process_start(struct suspects *suspects, const sigset_t *unblocked, struct worker_process *ret);
/* A call past its deadline, a process that is stopped, or that has lost its lifeline although it runs: it is ended. Ten
 * times a second while a deadline is near. */
void process_look(struct worker_process *worker, struct suspects *suspects);
void process_look_later(struct worker_process *worker, int64_t ms); /* the next look comes so much later */
/* The same for one that was asked to end: sees to it that it does. */
void process_look_ending(struct worker_process *worker, struct suspects *suspects);
void process_end(struct worker_process *worker, struct process_ending ending); /* SIGKILL; the first reason counts */
/* SIGKILL, and waits for its end; nobody asks how it ended. Nothing happens when none runs. `other`: as below. */
void process_kill(struct worker_process *worker, const struct orphans *orphans, pid_t other);
/* It was waited for: ends what it left, but for the process `other` (0: none). *ret: how it ended. */
void process_ended(struct worker_process *worker, const struct orphans *orphans, pid_t other, int status,
                   struct process_ending *ret);

#endif
