/*
 * life.h - whether the engine runs, stops or cannot go on; and sleeps that end when it stops.
 */
#ifndef SLUICE_RUN_LIFE_H
#define SLUICE_RUN_LIFE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct life {
    atomic_bool stop;     /* no batch waits for a database or bus from here on */
    atomic_bool draining; /* no new requests, ticks and parked events are taken; readers go on until they are stopped */
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    struct error fault; /* why the engine cannot go on; code 0: it can */
};

void life_init(struct life *life);
void life_destroy(struct life *life);
/* False when the engine stops, which ends the sleep. Any thread. */
bool life_sleep(struct life *life, int64_t ms);
void life_stop(struct life *life); /* any thread, once or often */
/* The engine cannot go on: the first one counts. Any thread. */
void life_set_fault(struct life *life, const struct error *error);
/* 0, or -code with the fault. Returns at once. Any thread. */
int life_fault(struct life *life, struct error *ret);

#endif
