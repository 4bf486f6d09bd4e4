/*
 * sim.h - a world in one thread: a virtual clock, a bus, a database and some processes, all fake, and the engine's
 * real batches (engine/batch) and decisions (engine/flow) between them.
 *
 *   ../sim.c     the command, one run, its faults
 *   clock.c      the engine's clocks and log, replaced by the world's
 *   coroutine.c  stacks on which batches stop in the middle
 *   pipeline.c   what pipeline.yaml would say: topics, handlers, routes, chains; drawn from the seed
 *   handler.c    what the handlers do with an event: its fate
 *   event.c      the events: their bytes, and which event a record is
 *   streams.c    partitions, assignments with epochs, committed positions
 *   bus.c        struct bus, as the engine publishes through it
 *   database.c   what survives: inbox, effects, attempts, parked, chains, outbox; the sweeper, the operator
 *   held.c       what survives of held keys, and store/ledger.h about them
 *   connection.c store/store.h: transactions, their locks and their end, and rows
 *   ledger.c     store/ledger.h: statements about the inbox, attempts, parked events and the outbox
 *   chains.c     store/ledger.h: statements about chains
 *   lane.c       a lane: batch_run() in a coroutine, and what batches ask of the engine
 *   process.c    a reader, its trackers and lanes; dies and comes back
 *   faults.c     outages, rebalances, frozen processes
 *   heap.c       the delayed events, the earliest first
 *   check.c      what must hold at every moment and at the end
 *
 * Everything follows from the seed. A lane stops at every call of the store and the bus, and there its process may die
 * or be overtaken by a rebalance, its connection be lost, and time pass.
 */
#ifndef SLUICE_SIM_H
#define SLUICE_SIM_H

#include "batch/batch.h"
#include "batch/outbox.h"
#include "coroutine.h"
#include "flow/tracker.h"
#include "heap.h"
#include "store/ledger.h"

enum {
    SIM_STREAMS = 8,
    SIM_PROCESSES = 4,
    SIM_LANES = 4,
    SIM_BATCH = 64,
    SIM_CHAINS = 3, /* most chains of the pipeline */
    SIM_STEPS = 4,  /* most steps of a chain */
    SIM_TOPICS = 5 + SIM_CHAINS * (3 * SIM_STEPS + 1),
    SIM_BINDINGS = 6 + SIM_CHAINS * SIM_STEPS,
};
#define SIM_NONE UINT32_MAX
#define SIM_WALL_MS 1700000000000 /* the wall clock at 0 ms of a run */

/* Mistakes made on purpose: the checks must find each. */
enum plant {
    PLANT_NONE,
    PLANT_EFFECT_BEFORE_CLAIM,
    PLANT_WATERMARK_OVER_INCOMPLETE,
    PLANT_OLD_EPOCH_ACCEPTED,
    PLANT_HELD_KEY_IGNORED,
    PLANT_LATE_STEP_NOT_UNDONE,
    PLANT_UNKNOWN_COMMIT_IS_DONE,
    PLANT_EMIT_NOT_AWAITED,
    PLANT_CLAIM_KEPT_ON_RETRY,
    PLANT_UNPARK_BEFORE_COMMIT,
    PLANT_PASSES_A_REQUEUED_EVENT,
    PLANT_HELD_KEYS_NOT_LOADED,
    PLANT_FOLLOWER_OVERTAKES,
    PLANT_HELD_ROW_ENDS_EARLY,
    PLANT_COUNT,
};

/* What a topic is for. Dead letters are not delivered, and leave a gap. */
enum kind {
    KIND_WORK,
    KIND_NEXT,
    KIND_RETRY,
    KIND_EXHAUSTED,
    KIND_DONE,
    KIND_ABORT,
    KIND_UNDO,
    KIND_UNDONE,
    KIND_DEAD,
    KIND_COUNT
};

/* What will happen to an event when it is handled; `count` times, where that makes sense. */
enum fate { FATE_GOOD, FATE_TRANSIENT, FATE_FLAKY, FATE_AWAY, FATE_POISON, FATE_DATA, FATE_LADDER, FATE_STUCK };
enum outcome { NOT_ENDED, ENDED_GOOD, ENDED_LADDER, ENDED_DEAD };
enum parking { NOT_PARKED, PARKED, PARKED_HELD };

struct event_state {
    struct event_id id;
    const struct record *record; /* as it is on the bus */
    int64_t hash;                /* of the payload under which it was claimed */
    int64_t not_before_ms;       /* 0: at once */
    int64_t parked_due_ms;
    uint32_t key;
    uint32_t first_index; /* where it was first published in its stream; SIM_NONE: not yet */
    uint32_t outbox;      /* row of the batch that ended it, or SIM_NONE */
    uint32_t dead, undo;  /* its dead letter; what undoes the step that it did; or SIM_NONE */
    uint32_t locked_by;   /* transaction that has claimed it; 0: none */
    uint32_t chain;       /* index in world.chains, or SIM_NONE */
    uint32_t parent;
    uint16_t effects, attempts, children, dead_letters, held_rows;
    int16_t recorded; /* outcome of the claim while its transaction is applied */
    bool claimed;     /* likewise */
    uint8_t topic, kind, fate, fate_count, resumed, climbed, step, outcome, parking, was_parked, was_held;
};

struct correlation {
    struct chain_facts facts, working; /* committed; of the transaction that has it locked */
    bool exists, working_exists;
    uint32_t config; /* index in the pipeline's chains */
    uint32_t locked_by;
    struct span data[CHAIN_DOINGS_MAX], working_data[CHAIN_DOINGS_MAX]; /* of the events that did its steps */
    bool aborted;                                                       /* an abort has ended */
};

struct outbox_row {
    struct span bytes;           /* a record batch */
    int64_t maker, owner, at_ms; /* processes: whose lane made it, who publishes it */
    uint64_t order;              /* world.order when it was committed */
    uint32_t first, count;       /* in world.outbox_events */
    bool live, pending;          /* pending: its transaction is not over */
};

struct held_row {
    struct span stream, record; /* its name; a record batch */
    uint64_t key_hash;
    uint32_t event;
    bool live;
};

struct held_entry { /* of a key */
    struct span stream;
    uint64_t key_hash;
    int64_t due_ms; /* 0: at once */
    uint32_t events, locked_by;
    bool exists;
};

struct log_record {
    struct position position;
    uint32_t event;
};

struct stream {
    struct log_record *records;
    size_t count, size;
    struct position committed, last;
    size_t committed_index; /* records up to the committed position */
    size_t verified;        /* records whose completeness was checked */
    uint32_t owner, epoch;
    enum revoking {
        NOT_REVOKING,
        REVOKING,
        RELEASING
    } revoking; /* RELEASING: no delivery is left, the lanes' rows are */
};

/* -------------------------------------------------------------------------------------------------- transactions */

enum change_kind {
    CHANGE_CLAIM = 1,  /* event; value: hash of its payload */
    CHANGE_OUTCOME,    /* event; value */
    CHANGE_UNCLAIM,    /* event */
    CHANGE_EFFECT,     /* event */
    CHANGE_ATTEMPT,    /* event; value: tries */
    CHANGE_NO_ATTEMPT, /* event */
    CHANGE_PARK,       /* event; value: due, or -1 for an operator */
    CHANGE_UNPARK,     /* event */
    CHANGE_CHAIN,      /* which */
    CHANGE_HOLD,       /* row of a held event */
    CHANGE_HOLD_KEY,   /* key; value: due, or 0 */
    CHANGE_HELD_ENDED, /* row of a held event */
    CHANGE_ROW,        /* outbox row */
    CHANGE_ROW_DONE,   /* outbox row */
    CHANGE_ROW_FREE,   /* outbox row */
    CHANGE_APPEND,     /* bytes: records that are published by the commit */
};

struct change {
    enum change_kind kind;
    uint32_t which;
    int64_t value;
    struct span bytes;
};

struct transaction {
    struct transaction *next; /* in a list of the world's */
    uint32_t number;
    struct change *changes;
    size_t change_count, change_size;
    uint32_t *events, *chains, *keys; /* locked */
    size_t event_count, event_size, chain_count, chain_size, key_count, key_size;
    int64_t member; /* the fence it holds, 0: none */
    /* of one whose COMMIT was sent and whose client is not there any more: */
    int64_t due_ms;
    bool applies;
};

struct connection {
    struct world *world;
    struct transaction *transaction; /* NULL: the server has none open */
    bool begun, committing;
    enum store_result failed; /* STORE_OK while it has not */
    bool killed;              /* the server ended it */
    int64_t deadline_ms, active_ms;
    struct arena *scratch; /* its rows, until the next begin */
};

/* --------------------------------------------------------------------------------------------- processes and lanes */

struct sim_item {     /* a delivery inside a process */
    struct item item; /* first: one is the other */
    struct sim_item *next_free;
    uint32_t event;
    bool live;
    bool completed_early; /* a planted mistake */
};

enum task { TASK_NONE, TASK_BATCH, TASK_RELEASE, TASK_DELETE, TASK_HELD_LOAD, TASK_HELD_FETCH };

struct sim_lane {
    struct world *world;
    struct process *process;
    struct coroutine *coroutine;
    struct batch_env env;
    struct plugin_state plugin;
    struct connection connection;
    enum task task;
    bool release;     /* streams were dropped, and it has not released its rows since */
    int64_t until_ms; /* it sleeps until then */
    int64_t delete_ms;
    uint32_t held_assignment; /* of the process, when it asked for held keys */
    bool held_unknown;        /* it has forgotten them since */
    bool changed, fetched;    /* it is to forget them; it fetched since the last batch */
    size_t count;
    struct lane_entry *taken[SIM_BATCH];
};

struct process {
    bool alive;
    int64_t incarnation;
    atomic_llong member; /* 0: nothing fences it */
    bool fenced;         /* a peer removed the member, and it has not noticed */
    int64_t back_ms;     /* dead: when it starts again */
    int64_t frozen_ms;   /* does nothing until then */
    struct tracker *trackers[SIM_STREAMS];
    uint32_t epochs[SIM_STREAMS];
    uint64_t since[SIM_STREAMS];    /* world.order when the stream was taken over */
    size_t next_index[SIM_STREAMS]; /* to be delivered */
    size_t held[SIM_STREAMS];       /* its deliveries that have not ended, of any epoch */
    uint32_t assignment;            /* counts its changes */
    struct position pending[SIM_STREAMS];
    bool commit_pending[SIM_STREAMS];
    struct sim_lane lanes[SIM_LANES];
    struct binding_run bindings[SIM_BINDINGS];
    _Atomic(struct intmap *) attempts;
    struct bus_consumer *consumer;
    pthread_rwlock_t quarantine;
    struct sim_item **blocks;
    size_t block_count, in_flight;
    struct sim_item *free_items;
};

/* ----------------------------------------------------------------------------------------------------- the pipeline */

struct topic_state { /* by topic.index */
    enum kind kind;
    uint32_t chain, step; /* of the pipeline's chain; SIM_NONE: none */
};

struct sim_pipeline {
    struct pipeline config;
    struct topic topics[SIM_TOPICS], *topic_list[SIM_TOPICS];
    struct topic_state states[SIM_TOPICS];
    struct binding bindings[SIM_BINDINGS], *binding_list[SIM_BINDINGS];
    struct sluice_handler handlers[SIM_BINDINGS];
    struct chain chains[SIM_CHAINS];
    struct chain_shape shapes[SIM_CHAINS];
    struct topic *first[KIND_COUNT]; /* the topic of those kinds that have one */
    struct topic *done[SIM_CHAINS][SIM_STEPS], *abort[SIM_CHAINS];
    struct group group;
    struct plugin_ref plugin;
    struct map *topic_names;
    struct batch_numbers numbers;
    int16_t group_numbers[1], chain_numbers[SIM_CHAINS];
    int32_t definitions[SIM_CHAINS];
    struct arena *arena;
};

struct settings { /* of a run, drawn from its seed */
    uint32_t streams, processes, lanes, keys, batch, in_flight;
    bool transactional; /* the bus is a table of the same database */
    uint32_t max_events[KIND_COUNT];
    uint32_t crash, rebalance, outage, reply_lost, freeze, duplicate, deadlock; /* odds of one in so many; 0 never */
    /* of a hundred events, how many have a fate but good */
    uint32_t trouble;
    uint32_t chains; /* of a hundred inputs, how many begin a chain */
    struct retry_policy retry;
    struct ladder ladder;
    int64_t sweep_after_ms, hold_ms;
    size_t followers_max, stored_max; /* of a lane's held keys */
};

struct world {
    uint64_t seed, random;
    enum plant plant;
    int64_t now_ms;
    struct settings settings;
    bool calm; /* no more faults: what is left must come to its end */

    struct sim_pipeline pipeline;
    struct bus bus;
    struct sim_lane *running; /* the lane whose coroutine runs */
    struct stream streams[SIM_STREAMS];
    int64_t bus_down_ms, store_down_ms; /* until when */
    struct process processes[SIM_PROCESSES];

    struct arena *bytes; /* of all events */
    struct event_state *events;
    size_t event_count, event_size;
    struct id_slot *ids; /* see event.c */
    size_t id_count, id_size;
    struct correlation *chains;
    size_t chain_count, chain_size;
    struct outbox_row *outbox; /* a row's id is its index + 1 */
    size_t outbox_count, outbox_size, outbox_oldest, outbox_live;
    uint32_t *outbox_events;
    size_t outbox_event_count, outbox_event_size;
    struct heap *parked; /* events by due time; stale ones among them */
    size_t parked_count;
    uint32_t *held; /* events that wait for an operator */
    size_t held_count, held_size;
    struct held_row *held_rows;   /* in the order of their ids */
    struct held_entry *held_keys; /* by key */
    size_t held_row_count, held_row_size, held_oldest, held_live;
    uint32_t *attempted; /* events with tries that were counted; ended ones among them */
    size_t attempted_count, attempted_size;
    uint32_t *key_last, *key_effect; /* by key: after which first_index the last one ended, took effect */
    struct transaction *free_transactions, *orphans; /* orphans: the server ends them by itself */
    uint32_t next_transaction, next_epoch;
    int64_t next_incarnation;
    uint64_t order;   /* counts commits and takeovers */
    uint64_t outages; /* see connection_outages() */

    size_t inputs, inputs_wanted, progress, open_transactions;
    struct {
        size_t deliveries, batches, crashes, rebalances, unknown, retries, parked, undos;
        size_t alone;     /* batches of one event that was at fault, or may have been */
        size_t fenced;    /* batches that were refused because their process had been removed */
        size_t held;      /* events that were written behind their key, or as its head */
        size_t late_rows; /* outbox rows that were found to be there after their COMMIT's reply was lost */
    } count;
};

/* ----------------------------------------------------------------------------------------------------------- sim.c */

uint64_t sim_random(struct world *world);
static inline uint32_t sim_below(struct world *world, uint32_t limit) /* limit ≥ 1 */
{
    return (uint32_t)((sim_random(world) >> 32) * limit >> 32);
}
static inline bool sim_odds(struct world *world, uint32_t one_in) /* never when 0, and never once it is calm */
{
    return one_in != 0 && !world->calm && sim_below(world, one_in) == 0;
}
/* Prints the sentence and the command that shows it again; ends the program. */
_Noreturn void sim_fail(const struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *sim_grow(void *array, size_t *size, size_t count, size_t element); /* room for one more than count */

/* --------------------------------------------------------------------------------------------------------- clock.c */

void clock_of(const struct world *world); /* the engine's clocks are this world's from now on */
extern bool log_shown;                    /* the engine's log goes to stderr; else only why it ends the program */

/* ------------------------------------------------------------------------------------------------------ pipeline.c */

void pipeline_draw(struct world *world);
void pipeline_free(struct sim_pipeline *pipeline);
int16_t pipeline_number(const struct binding *binding); /* under which its events are recorded */
void pipeline_plant(enum plant plant);                  /* the rows of verdict_rows, with the mistake */

/* ------------------------------------------------------------------------------------------------------- handler.c */

enum { WORK_NEXT, WORK_DROPPED, WORK_AGAIN, WORK_OUTCOMES }; /* the other handlers have one outcome */
struct handler_input {
    struct sluice_text id, key;
};
extern const struct sluice_sql handler_effect; /* $1: numbers of events */
void handler_run(void *state, struct sluice_call *call);

/* --------------------------------------------------------------------------------------------------------- event.c */

void event_fate(struct world *world, struct event_state *event);
uint32_t event_input(struct world *world, struct event_state event); /* its number; from outside, of a known topic */
uint32_t event_find(const struct world *world, struct event_id id);  /* SIM_NONE: there is none */
uint32_t event_known(const struct world *world, struct event_id id, const char *what); /* fails when there is none */
uint32_t event_of_record(const struct world *world, const struct record *record);      /* likewise */
void event_alias(struct world *world, struct event_id id, uint32_t number);
/* The events of a record batch that a transaction has committed are made; the number of the first, one after
 * another. */
uint32_t events_emitted(struct world *world, struct span bytes, size_t *ret_count);

/* ------------------------------------------------------------------------------------------------------- streams.c */

uint64_t stream_key_hash(const struct record *record);
uint32_t stream_of(const struct world *world, const struct event_state *event);
void stream_append(struct world *world, uint32_t event);
void stream_commit(struct world *world, uint32_t stream, const struct process *process, struct position position);
void stream_assign(struct world *world, uint32_t stream, uint32_t process);
bool streams_drained(const struct world *world);

/* ----------------------------------------------------------------------------------------------------------- bus.c */

void bus_open(struct world *world);
/* True when all were acknowledged; else any of them may have been published. */
bool bus_take(struct world *world, const uint32_t *events, size_t count);

/* ------------------------------------------------------------------------------------------------------ database.c */

bool database_up(const struct world *world);
void database_park(struct world *world, uint32_t event, enum parking parking, int64_t due_ms);
void database_unpark(struct world *world, uint32_t event);
uint32_t database_parked_take(struct world *world); /* one that is due, or SIM_NONE */
void database_operator(struct world *world);        /* lets one held event go on */
bool row_published(const struct world *world, const struct outbox_row *row);
/* Publishes rows of others that are this old. False when some are left. */
bool database_sweep(struct world *world, int64_t but_owner, int64_t age_ms);
void database_apply(struct world *world, struct transaction *transaction);
void held_open(struct world *world);        /* held.c */
bool held_empty(const struct world *world); /* no key is held */
void held_apply(struct world *world, const struct change *change);
struct intmap *database_attempts(struct world *world); /* as env->attempts wants them; NULL: none */

/* ---------------------------------------------------------------------------------------------------- connection.c */

void transaction_end(struct world *world, struct transaction *transaction, bool apply); /* its locks are free then */
void transactions_settle(struct world *world); /* orphans whose time has come */
void transaction_free(struct transaction *transaction);
void connection_open(struct connection *connection, struct world *world);
void connection_crash(struct connection *connection); /* its process died */
void connection_kill(struct connection *connection);  /* the server ended its transaction */
/* A round trip, in which anything may happen. Opens the transaction. */
enum store_result connection_trip(struct connection *connection, struct error *error);
struct change *connection_change(struct connection *connection, enum change_kind kind, uint32_t which, int64_t value);
/* Waits for whoever has it, or gives up: STORE_TRANSIENT. */
enum store_result connection_lock_event(struct connection *connection, uint32_t event, struct error *error);
enum store_result connection_lock_key(struct connection *connection, uint32_t key, struct error *error);
enum store_result connection_alone(struct connection *connection, struct error *error); /* outside a transaction */
enum store_result connection_lock_chain(struct connection *connection, uint32_t chain, struct error *error);
enum store_result connection_fail(struct connection *connection, enum store_result result, struct error *error,
                                  const char *why);

struct cell {
    int64_t number;
    struct span span;
    bool null;
};
struct rows { /* of connection->scratch */
    size_t count, columns;
    struct cell cells[];
};
struct rows *rows_make(struct connection *connection, size_t most, size_t columns);
struct cell *rows_add(struct rows *rows); /* the cells of one more row */

/* ---------------------------------------------------------------------------------------------------------- lane.c */

void lane_start(struct world *world, struct process *process, uint32_t number);
void lane_step(struct world *world, struct sim_lane *lane); /* until it stops again */
void lane_pause(struct world *world);                       /* of the lane that runs: here it stops */
bool lane_at_rest(const struct sim_lane *lane);             /* nothing runs, and no row of its own is left */
void lane_changed(struct sim_lane *lane);                   /* held keys are somebody else's, or will be found again */
void lane_stop(struct sim_lane *lane);                      /* its process died */

/* -------------------------------------------------------------------------------------------------------- process.c */

void process_start(struct world *world, struct process *process);
void process_crash(struct world *world, struct process *process);
void process_step(struct world *world, struct process *process);
void process_free(struct process *process);
bool process_idle(const struct world *world, const struct process *process); /* nothing in flight anywhere in it */
void process_fence(struct process *process);                                 /* a peer removes its membership */
bool process_holds_fence(const struct world *world, const struct process *process);
void item_release(struct process *process, struct sim_item *item);

/* --------------------------------------------------------------------------------------------------------- faults.c */

uint32_t faults_victim(struct world *world); /* any process */
void faults_some(struct world *world);
void faults_end(struct world *world); /* no more of them */

/* ---------------------------------------------------------------------------------------------------------- check.c */

void check_effect(struct world *world, uint32_t event);
void check_ended(struct world *world, uint32_t event);
void check_undo(struct world *world, const struct correlation *chain, const struct chain_facts *before, uint64_t emit);
void check_committed(struct world *world, uint32_t stream, const struct process *process);
void check_row_done(struct world *world, uint32_t row);
void check_end(struct world *world);

#endif
