/*
 * surroundings.h - what belongs to the whole process, or to the engine's threads, and what plugins leave alone: working
 * folder, umask, signal mask, locale, resource limits.
 */
#ifndef SLUICE_BASE_SURROUNDINGS_H
#define SLUICE_BASE_SURROUNDINGS_H

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { SURROUNDINGS_LIMITS = 6 }; /* files, file size, memory twice, processes, CPU time */

struct surroundings {
    int folder; /* a descriptor; -1: it cannot be opened */
    dev_t device;
    ino_t inode;
    mode_t umask;
    sigset_t mask; /* of the thread that asked; threads that it starts have the same */
    char locale[128];
    struct rlimit limits[SURROUNDINGS_LIMITS];
};

/* While no other thread runs: the umask is set for a moment to be read. */
void surroundings_read(struct surroundings *ret);
/* Puts everything back to what was read. Returns the first thing that was different, in words, or NULL. Any thread. */
const char *surroundings_restore(const struct surroundings *surroundings);

#endif
