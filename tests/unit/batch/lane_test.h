/*
 * lane_test.h - a lane for the tests of batch/: a pipeline read from YAML, a plugin that lives in the test, a fake
 * store, a fake bus, a clock that the test moves, and everything that a batch asks of the engine written down.
 *
 * The plugin is called "work". Its handlers:
 *
 *   work.handle  events; outcomes done, later            work.query   the same, and uses the store
 *   work.typed   the same with seat (integer) and name   work.single  events, one a call
 *   work.watch   events, for taps; outcome done          work.ask     requests with seat (integer); outcome done
 *   work.tick    schedules; outcome done
 *
 * All of them run lane_test.handle, which is lane_test_obey() unless the test puts its own there: it does what the
 * event's data says under "do".
 */
#ifndef SLUICE_TESTS_LANE_TEST_H
#define SLUICE_TESTS_LANE_TEST_H

#include "check.h"

#include "batch/batch.h"
#include "batch/held.h"
#include "batch/limit.h"
#include "batch/outbox.h"
#include "batch/request.h"
#include "fake_base.h"
#include "fake_bus.h"
#include "fake_store.h"
#include "plugin/plugin.h"

enum {
    LANE_TEST_ENDS_MAX = 128,
    LANE_TEST_OWNER = 77,
    LANE_TEST_STREAM = 3,
    LANE_TEST_BATCH_MAX = 50,
    LANE_TEST_FOLLOWERS_MAX = 20,
    LANE_TEST_STORED_MAX = 8,
};

struct lane_test_input { /* of work.typed and work.ask */
    int64_t seat;
    struct sluice_text name;
};

struct lane_test_end {
    uint64_t number; /* of the item, from 0 in the order of offers */
    bool complete;
};

struct lane_test {
    struct arena *arena;
    struct pipeline *config;
    struct connection *store; /* NULL when the pipeline has none */
    struct fake_bus bus;
    struct metrics *metrics;
    struct batch_env env;
    struct batch_numbers numbers;
    pthread_rwlock_t quarantine;
    atomic_bool draining;
    struct bus_consumer *consumer;
    atomic_llong member;
    _Atomic(struct intmap *) attempts;
    uint64_t offered;
    atomic_size_t waiting; /* requests that are not answered */
    void (*handle)(struct lane_test *test, struct sluice_call *call);
    char calls[2048];                                     /* what was handled: "[a b] [c] ", ids by call */
    bool (*on_sleep)(struct lane_test *test, int64_t ms); /* NULL: sleeps and goes on */
    int64_t slept_ms[64];
    size_t sleep_count;
    struct lane_test_end ends[LANE_TEST_ENDS_MAX]; /* what finish() was given */
    size_t end_count;
    bool revoked;       /* no stream is assigned now */
    size_t waits;       /* how often waits() was called */
    int64_t parked_ms;  /* the last that parked() was given; 0: none */
    size_t ready_count; /* calls of ready() */
};

enum lane_test_kind { LANE_TEST_OUTBOX = 0, LANE_TEST_TRANSACTIONAL };

/* `yaml` without pipeline, bus and plugins, which are added; a store when it has one. */
struct lane_test *lane_test_create(const char *yaml, enum lane_test_kind kind);
void lane_test_destroy(struct lane_test *test);
/* The lane is one of this tap, or of requests and schedules. */
void lane_test_of_tap(struct lane_test *test, size_t tap);
void lane_test_of_gateway(struct lane_test *test);

/* Offers a record as a group's reader does. Copies it. */
struct item *lane_test_offer(struct lane_test *test, const struct record *record);
/* An event of this id, key and data: {"eventId": …}. */
struct item *lane_test_event(struct lane_test *test, const char *topic, const char *key, const char *id,
                             const char *data);
struct item *lane_test_parked(struct lane_test *test, const struct record *record);
struct item *lane_test_tick(struct lane_test *test, size_t schedule, int64_t slot_ms);

/* A request of route `route`, which arrives now unless it says when; the answer is written into it. */
struct lane_test_request {
    struct gateway_request request; /* first */
    int status;                     /* 0: not answered */
    int answers;
    char json[2048];
};
void lane_test_ask(struct lane_test *test, struct lane_test_request *request);

/* Keys are held in memory, however long: for tests that look at an item while it waits. */
void lane_test_hold_in_memory(struct lane_test *test);
/* One batch of what may run now; how many items. */
size_t lane_test_run(struct lane_test *test);
/* Until nothing may run now; fails the test when that does not come. How many batches. */
size_t lane_test_run_all(struct lane_test *test);
/* Time passes until the lane's next item is due. */
void lane_test_wait(struct lane_test *test);
/* All pages of the keys that are stored (held_load()); false: the database did not say. */
bool lane_test_load(struct lane_test *test, bool all);
void lane_test_obey(struct lane_test *test, struct sluice_call *call);
/* One statement a call; the database refuses it for events whose id begins with a letter of lane_test_refuse. */
void lane_test_refused(struct lane_test *test, struct sluice_call *call);
extern const char *lane_test_refuse;
/* What was handled since the last time: "[a b] [c]". */
const char *lane_test_calls(struct lane_test *test);
/* "0 2!": the items that ended since the last time, by number; ! behind those that are not complete. */
const char *lane_test_ends(struct lane_test *test);

/* A record that was published: its value holds `text`; it has the header with this value (NULL: it has none). */
const struct record *assert_published(struct lane_test *test, const char *topic, size_t n);
void assert_holds(const struct record *record, const char *text);
void assert_header(const struct record *record, const char *name, const char *value);
/* The n-th dead letter on `topic`, and its reason's word. */
const struct record *assert_dead(struct lane_test *test, const char *topic, size_t n, const char *word);

#endif
