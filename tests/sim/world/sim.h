/*
 * sim.h - a world in one thread: a virtual clock, a bus, a database and some processes, all fake, and the engine's
 * real decisions (engine/flow) between them.
 *
 *   ../sim.c   the command, one run, its faults
 *   bus.c      partitions, assignments with epochs, positions, publishing
 *   store.c    what survives: inbox, effects, attempts, parked, chains, outbox; locks of open transactions
 *   process.c  a reader, its trackers and lanes; dies and comes back
 *   batch.c    the life of a batch in a lane, one step a call (docs: delivery)
 *   heap.c     the delayed events, the earliest first
 *   check.c    what must hold at every moment and at the end
 *
 * Everything follows from the seed. A process may die, or be overtaken by a rebalance, between any two steps.
 */
#ifndef SLUICE_SIM_H
#define SLUICE_SIM_H

#include "base/arena.h"
#include "flow/chain.h"
#include "flow/lane.h"
#include "flow/plan.h"
#include "flow/retry.h"
#include "flow/tracker.h"
#include "heap.h"
#include "store/ledger.h"

enum {
    SIM_STREAMS = 8,
    SIM_PROCESSES = 4,
    SIM_LANES = 4,
    SIM_BATCH = 64,
    SIM_STEPS = 4,      /* most steps of a chain */
    SIM_DONE_ROWS = 32, /* outbox rows a lane knows to be published */
    SIM_OUTPUTS = SIM_BATCH * (SIM_STEPS + 3),
};
#define SIM_NONE UINT32_MAX

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
    PLANT_HIT_PASSES_A_HELD_KEY,
    PLANT_COUNT,
};

/* The topics. What nobody handles is not delivered, and leaves a gap. */
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
enum { BINDING_NOBODY = KIND_COUNT }; /* the handler of a topic has the topic's number */

/* What will happen to an event when it is handled; `count` times, where that makes sense. */
enum fate { FATE_GOOD, FATE_TRANSIENT, FATE_AWAY, FATE_POISON, FATE_DATA, FATE_LADDER, FATE_STUCK };
enum outcome { NOT_ENDED, ENDED_GOOD, ENDED_LADDER, ENDED_DEAD };
enum parking { NOT_PARKED, PARKED, PARKED_HELD };

struct event_state {
    int64_t not_before_ms; /* 0: at once */
    int64_t parked_due_ms;
    uint32_t key;
    uint32_t first_index; /* where it was first published in its stream; SIM_NONE: not yet */
    uint32_t outbox;      /* row of the batch that ended it, or SIM_NONE */
    uint32_t locked_by;   /* transaction that has claimed it; 0: none */
    uint32_t chain;
    uint32_t parent;
    uint16_t effects, attempts, children, dead_letters;
    uint8_t kind, fate, fate_count, resumed, climbed, step, outcome, parking, was_parked;
};

/* A transaction's word about an event that it makes. */
struct output {
    int64_t not_before_ms;
    uint32_t parent, chain;
    uint8_t kind, step, climbed;
};

struct correlation {
    struct chain_facts facts, working; /* committed; of the transaction that has it locked */
    struct chain_shape shape;
    uint32_t locked_by;
    uint32_t undo[SIM_STEPS]; /* the undo events, SIM_NONE while there is none */
    bool aborted;             /* an abort has ended well */
};

struct outbox_row {
    int64_t at_ms;
    uint32_t first, count; /* in world.outbox_events */
    bool live, published;
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
    bool revoking;
};

enum verdict {
    VERDICT_NONE,
    VERDICT_DONE,
    VERDICT_LADDER,
    VERDICT_DEAD,
    VERDICT_RETRY,
    VERDICT_LATER,
    VERDICT_PARK,
    VERDICT_STUCK,
    VERDICT_BACK,
    VERDICT_HIT
};

struct item {                /* a delivery inside a process */
    struct lane_entry entry; /* first: one is the other */
    uint64_t ticket;
    struct item *next_free;
    uint32_t event, stream, epoch;
    uint16_t tries;
    bool parked; /* came from the parked table, not from the bus */
    bool condemned;
};

struct work {
    struct item *item;
    enum verdict verdict;
    bool claimed;
    int64_t due_ms;
};

enum phase { PHASE_IDLE, PHASE_CLAIM, PHASE_HANDLE, PHASE_CHAINS, PHASE_COMMIT, PHASE_EMIT, PHASE_COMPLETE };

struct sim_lane {
    struct lane *lane;
    struct arena *arena;
    enum phase phase;
    uint32_t tx; /* 0: none is open */
    bool killed; /* the server ended the transaction */
    int waits;
    int64_t since_ms, pause_ms;
    size_t count, output_count, done_count, again_count;
    struct work works[SIM_BATCH];
    struct output outputs[SIM_OUTPUTS];
    uint32_t row;                      /* outbox row of this batch, or SIM_NONE */
    uint32_t again[SIM_BATCH];         /* rows of hits, to be emitted again */
    uint32_t done_rows[SIM_DONE_ROWS]; /* published; their rows go with the next transaction */
};

struct process {
    bool alive;
    int64_t back_ms;   /* dead: when it starts again */
    int64_t frozen_ms; /* does nothing until then */
    struct tracker *trackers[SIM_STREAMS];
    uint32_t epochs[SIM_STREAMS];
    size_t next_index[SIM_STREAMS]; /* to be delivered */
    struct position pending[SIM_STREAMS];
    bool commit_pending[SIM_STREAMS];
    struct sim_lane lanes[SIM_LANES];
    struct item **blocks;
    size_t block_count, in_flight;
    struct item *free_items;
};

struct settings { /* of a run, drawn from its seed */
    uint32_t streams, processes, lanes, keys, batch, in_flight;
    uint32_t max_by_binding[KIND_COUNT + 1];
    uint32_t crash, rebalance, outage, reply_lost, freeze, duplicate; /* odds of one in so many; 0 never */
    /* of a hundred events, how many have a fate but good */
    uint32_t trouble;
    uint32_t chains; /* of a hundred inputs, how many begin a chain */
    struct retry_policy retry;
    struct ladder ladder;
    int64_t sweep_after_ms, hold_ms;
};

struct world {
    uint64_t seed, random;
    enum plant plant;
    int64_t now_ms;
    struct settings settings;
    bool calm; /* no more faults: what is left must come to its end */

    struct stream streams[SIM_STREAMS];
    int64_t bus_down_ms, store_down_ms; /* until when */
    struct process processes[SIM_PROCESSES];

    struct event_state *events;
    size_t event_count, event_size;
    struct correlation *chains;
    size_t chain_count, chain_size;
    struct outbox_row *outbox;
    size_t outbox_count, outbox_size, outbox_oldest, outbox_live;
    uint32_t *outbox_events;
    size_t outbox_event_count, outbox_event_size;
    struct heap *parked; /* events by due time; stale ones among them */
    size_t parked_count, held_count;
    uint32_t *held; /* events that wait for an operator */
    size_t held_list_count, held_list_size;
    uint32_t *key_last; /* by key: first_index of the last one that ended */
    uint32_t next_tx, next_epoch;

    size_t inputs, inputs_wanted, progress;
    struct {
        size_t deliveries, crashes, rebalances, unknown, hits, retries, parked, solos, undos, sweeps, outages;
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
uint32_t sim_event_new(struct world *world, struct event_state event);
void sim_fate(struct world *world, struct event_state *event);

/* ----------------------------------------------------------------------------------------------------------- bus.c */

uint32_t bus_stream_of(const struct world *world, uint32_t key);
uint64_t bus_key_hash(uint32_t key);
void bus_append(struct world *world, uint32_t event);
/* True when all were acknowledged; else any of them may have been published. */
bool bus_publish(struct world *world, const uint32_t *events, size_t count);
void bus_commit(struct world *world, uint32_t stream, uint32_t epoch, struct position position);
void bus_assign(struct world *world, uint32_t stream, uint32_t process);
bool bus_drained(const struct world *world);

/* ---------------------------------------------------------------------------------------------------------- store.c */

bool store_up(const struct world *world);
void store_park(struct world *world, uint32_t event, enum parking parking, int64_t due_ms);
void store_unpark(struct world *world, uint32_t event);
uint32_t store_parked_take(struct world *world); /* one that is due, or SIM_NONE */
void store_operator(struct world *world);        /* lets one held event go on */
uint32_t store_outbox_add(struct world *world, int64_t at_ms, const struct output *outputs, size_t count);
void store_outbox_done(struct world *world, uint32_t row);
bool store_publish_row(struct world *world, uint32_t row);
void store_sweep(struct world *world);

/* -------------------------------------------------------------------------------------------------------- process.c */

void process_start(struct world *world, struct process *process);
void process_crash(struct world *world, struct process *process);
void process_step(struct world *world, struct process *process);
void process_free(struct process *process);
bool process_idle(const struct process *process); /* nothing in flight anywhere in it */

/* ---------------------------------------------------------------------------------------------------------- batch.c */

void lane_step(struct world *world, struct process *process, struct sim_lane *lane);
void lane_rollback(struct world *world, struct sim_lane *lane);
void item_release(struct process *process, struct item *item);

/* ---------------------------------------------------------------------------------------------------------- check.c */

void check_ended(struct world *world, const struct item *item, uint32_t event, enum outcome outcome);
void check_undo(struct world *world, const struct correlation *chain, const struct chain_facts *before, uint32_t emit);
void check_committed(struct world *world, uint32_t stream);
void check_end(struct world *world);

#endif
