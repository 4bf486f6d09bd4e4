/*
 * flow.h - what a file of flow tests says, as plain data: a pipeline, and tests of steps and expectations.
 *
 * Everything lives in the arena given to flow_read(). What is expected stays YAML (value.h).
 */
#ifndef SLUICE_FLOWTEST_FLOW_H
#define SLUICE_FLOWTEST_FLOW_H

#include "pipeline/tree.h"

enum step_kind {
    STEP_EXPECT = 0, /* only looks */
    STEP_REQUEST,
    STEP_EMIT,
    STEP_DUPLICATE, /* an event is put on its topic again, as a bus may do */
    STEP_SQL,       /* somebody else changes the database */
    STEP_FAIL,      /* the next calls of a handler end otherwise */
    STEP_CRASH,     /* the process will die at a place, and the engine starts again */
    STEP_PAUSE,     /* an operator pauses something, */
    STEP_RESUME,    /* resumes it, */
    STEP_REPLAY,    /* or replays the dead letters of a topic */
    STEP_RELOAD,    /* another file takes the place of the one that runs */
    STEP_ADVANCE,   /* time goes on, and what is due on the way happens */
    STEP_RUN,       /* the same, until nothing is due but ticks of schedules */
};

/* After a handler's call; at a failpoint; in one repetition of the flow after the other at each that it reaches. */
enum crash_kind { CRASH_AFTER = 1, CRASH_AT, CRASH_EVERYWHERE };
enum fail_kind { FAIL_OUTCOME = 1, FAIL_RETRY, FAIL_UNAVAILABLE };

struct expectation {             /* each NULL when it is not looked at */
    struct node *status, *reply; /* of the step's request */
    struct node *events;         /* a list: a topic, or {topic, key, data} */
    struct node *dead_letters;   /* a list: a topic, or {topic, handler, reason, data} */
    struct node *sql;            /* a mapping: a query, and its rows as a list of lists */
    struct node *chains;  /* a mapping: a correlation, and the state of its chain, or what `chain show` has of it */
    struct node *metrics; /* a mapping: a series as /metrics writes it, and its value */
};

struct step {
    struct place place;
    enum step_kind kind;
    const char *method, *path; /* of a request: "POST", "/payments" */
    struct node *body;         /* of a request, or the data of an event to emit; NULL: none */
    const char *idempotency_key;
    /* of an event to emit; key, id NULL: by the topic's `key:`, a new one. Of a duplicate the topic whose last event
     * it is; NULL: the last event of all. Of a replay that of the dead letters' events */
    const char *topic, *key, *id;
    const char *name; /* of what is paused or resumed */
    const char *sql;
    const char *file; /* of a reload: its path */
    int64_t advance_ms;
    struct {
        const char *handler;
        enum fail_kind kind;
        const char *word; /* the outcome, or why */
        int64_t times;    /* calls */
    } fail;
    struct {
        enum crash_kind kind;
        const char *name; /* of the handler or failpoint */
    } crash;
    struct expectation expect;
    bool at_end; /* what the test expects at its end, of all that happened */
};

struct flow {
    struct place place;
    const char *name;
    const char *sql;    /* of `given`; NULL: none */
    struct step *steps; /* the last one is what the test expects at its end, if it says so */
    size_t step_count;
    bool crashes;    /* has a STEP_CRASH; then an event counts once, however often it is published, */
    bool everywhere; /* and this is its only one: CRASH_EVERYWHERE */
};

struct flow_file {
    const char *path;
    struct place place;
    const char *pipeline; /* path of the configuration */
    const char *sql;      /* of the file's `given`, before that of each test; NULL: none */
    const char **taps;    /* names of those that take part, NULL-terminated */
    struct flow *flows;
    size_t count;
};

/* Reads the file as far as it can be read; errors are in problems. False when there is nothing in it. */
bool flow_read(const char *path, struct arena *arena, struct problems *problems, struct flow_file *ret);

#endif
