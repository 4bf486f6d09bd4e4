/*
 * timeline.h - the events of one correlation in the order of time, what became
 * of each, and the state of their chain.
 *
 * timeline_read() finds the events, joins them with what the store knows, and says what each waits for; it only reads.
 * The views print a timeline and look at nothing else. Everything lives in timeline->arena.
 */
#ifndef SLUICE_OPERATE_TIMELINE_H
#define SLUICE_OPERATE_TIMELINE_H

#include "bus/bus.h"
#include "flow/pause.h"
#include "operate/wait.h"
#include "pipeline/pipeline.h"
#include "store/store.h"

enum {
    TIMELINE_EVENTS_MAX = 10000,
    TIMELINE_ENDED_MAX = 8,
    TIMELINE_LETTERS_MAX = 4,
    TIMELINE_TIMEOUT_MS = 10000, /* of a statement */
    TIMELINE_TEXT_MAX = 1000,    /* bytes of a text that somebody else wrote: a reason, a parent */
};

struct timeline_event {
    const char *topic, *id, *parent, *reason;
    struct event_id id128, payload_id;
    uint64_t payload_hash;
    int32_t partition;
    struct position position;
    int64_t at_ms;
    int64_t due_ms; /* of a step of a retry ladder; 0: none */
    bool dead_letter;
    bool poison;   /* not to be read as an event */
    size_t copies; /* how often the topic has it: a bus may be given an event twice, and it is handled once */
    struct {
        const char *handler, *outcome;
    } ended[TIMELINE_ENDED_MAX];
    size_t ended_count;
    int64_t delayed_until_ms;         /* 0: it does not wait in the database */
    bool stuck;                       /* waits for an operator */
    bool held;                        /* waits for the first event of its key, or is it */
    int64_t held_before;              /* events of the key that come first; 0: it is the first */
    const char *why;                  /* why it waits, or the first of its key does; NULL: not kept */
    int64_t tries;                    /* that failed: so far, or until it became a dead letter; 0: none, or not kept */
    const char *replay_of;            /* of a replay: the id of the event whose dead letter it is; NULL: it is none */
    int64_t replayed_letter, replays; /* that dead letter, and how often it was replayed by then */
    struct {
        int64_t id, state;
    } letters[TIMELINE_LETTERS_MAX]; /* dead letters that it became, one a group */
    size_t letter_count;
    const char **elsewhere; /* topics of events that another pipeline emitted for it */
    size_t elsewhere_count;
    const struct pause **paused; /* what it waits for, of all that is paused */
    size_t paused_count;
    struct waits waits; /* why it does not go on, and what moves it */
};

/* What makes a record an event of the timeline. */
enum timeline_search {
    TIMELINE_BY_CORRELATION, /* it carries it */
    TIMELINE_BY_ID,          /* it is its id */
    TIMELINE_BY_PARENT,      /* it came of one of its events */
    TIMELINE_ALL,            /* any is */
};

struct timeline {
    struct arena *arena;
    const struct pipeline *pipeline;
    const char *correlation;  /* or an event's id */
    const volatile int *stop; /* as a bus_scan's; what was found by then is there */
    int64_t deadline_ms;      /* monotonic, for reading the bus; 0: none */
    enum timeline_search search;
    struct arena *scratch;         /* of a record */
    struct timeline_event *events; /* room for TIMELINE_EVENTS_MAX */
    size_t count;
    const char *chain, *chain_state, *chain_reason; /* NULL: none is known */
    int64_t chain_begun, chain_doings, chain_undos; /* times; steps done since it begun last, and undone of them */
    bool chain_older_definition;                    /* than the file's: it is undone by that one */
    struct waits waits;                             /* of no event that is on the bus: its chain, the outbox */
    const char *incomplete;                         /* why not all that is on the bus could be read; NULL: it was */
};

/* timeline.c: every event on the pipeline's topics that carries the correlation, in order; when there is none, the
 * event with that id and what came of it; and all that is known of them, by the functions that follow. `connection`
 * NULL: the pipeline has no store. 0, or negative with a sentence. */
int timeline_read(struct timeline *timeline, struct bus *bus, struct connection *connection, struct error *error);
/* timeline.c: every event on the pipeline's topics, whatever it carries, and what the store knows of each; no chain. */
int timeline_read_all(struct timeline *timeline, struct bus *bus, struct connection *connection, struct error *error);
/* timeline_store.c: outcomes, tries, delays and pauses of those events, and the chain. */
enum store_result timeline_read_store(struct timeline *timeline, struct connection *connection, struct error *error);
/* timeline_waiting.c: those of `ids`, an array, that have a row to wait in. */
enum store_result timeline_read_waiting(struct timeline *timeline, struct connection *connection,
                                        const struct store_param *ids, struct error *error);
/* timeline_paused.c: which of `pauses`, which live as long as the timeline, each event waits for. */
void timeline_find_paused(struct timeline *timeline, const struct pause *pauses, size_t count);
/* timeline_reading.c: when no event of the correlation was found, adds a wait that names a topic with a partition that
 * has no leader, where one may be; false: there is no such topic. */
bool timeline_find_leaderless(struct timeline *timeline, struct bus *bus);
/* Which of them the groups have not read, and why. */
void timeline_find_reading(struct timeline *timeline, struct bus *bus, struct error *error);
/* timeline_waits.c: what the bus, the outbox and the chain know of those that no row explains. */
int timeline_find_waits(struct timeline *timeline, struct bus *bus, struct connection *connection, struct error *error);
/* timeline_json.c: the same facts that cli/timeline_text.c prints. */
void timeline_json(const struct timeline *timeline, struct buffer *out);

#endif
