/*
 * fake_bus.h - a bus that keeps what is published, and can be down or refuse. Only what batches call.
 */
#ifndef SLUICE_TESTS_FAKE_BUS_H
#define SLUICE_TESTS_FAKE_BUS_H

#include "base/arena.h"
#include "bus/bus.h"

enum { FAKE_BUS_RECORDS_MAX = 256, FAKE_BUS_REFUSALS_MAX = 4 };

struct fake_bus {
    struct bus bus; /* first */
    struct bus_kind kind;
    struct arena *arena;
    struct record records[FAKE_BUS_RECORDS_MAX]; /* what is published, in order */
    size_t count;
    size_t publishes; /* calls of publish() */
    size_t woken;     /* calls of published() */
    int down;         /* so many publishes from now on find the bus down; -1: all */
    struct {
        const char *topic; /* records for it are refused */
        int code;          /* -EMSGSIZE, -ENOENT … */
    } refusals[FAKE_BUS_REFUSALS_MAX];
    size_t refusal_count;
    void (*on_publish)(struct fake_bus *bus, void *context); /* before each; may be NULL */
    void *context;
};

/* transactional: append() puts records into the transaction of a fake store, and there is no publish(). */
void fake_bus_init(struct fake_bus *bus, bool transactional);
void fake_bus_free(struct fake_bus *bus);
void fake_bus_refuse(struct fake_bus *bus, const char *topic, int code);
/* The n-th record, from 0, that was published to the topic; NULL: there is none. */
const struct record *fake_bus_record(const struct fake_bus *bus, const char *topic, size_t n);

#endif
