/*
 * process.h - what Linux tells of a process and its limits, from /proc and /sys/fs/cgroup.
 */
#ifndef SLUICE_DOCTOR_PROCESS_H
#define SLUICE_DOCTOR_PROCESS_H

#include <stdint.h>

struct process {
    int pid;            /* 0: there is none */
    int64_t started_ms; /* since 1970, by this machine's clock */
};
/* The oldest process on this machine that is `sluice run` of this file: the master of an engine. */
struct process process_running(const char *config);

/* A row of /proc/PID/limits ("Max open files"): the soft limit; INT64_MAX: there is none, or it cannot be read. */
int64_t process_limit(int pid, const char *name);
/* Bytes of memory that it may have: the least of its cgroup's limits, those of the cgroups above, and what the machine
 * has. `root` stands before /proc and /sys: "". INT64_MAX when nothing can be read. */
int64_t process_memory(const char *root, int pid);

#endif
