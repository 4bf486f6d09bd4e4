/*
 * fake_store.h - store/store.h and store/ledger.h in memory, for the linker: what batch/ calls, and nothing else.
 *
 * One connection has the tables; rollback puts back what begin() found. As strict as the contract: a statement outside
 * a transaction, after one that failed, claims out of order or behind a queued statement, an outcome of a claim that is
 * not this transaction's: each ends the test. The failure of a queued statement comes with the next one that is
 * executed, or with COMMIT. Tests read the tables as they are.
 */
#ifndef SLUICE_TESTS_FAKE_STORE_H
#define SLUICE_TESTS_FAKE_STORE_H

#include "event/event.h"
#include "store/ledger.h"
#include "store/ledger_after.h"

enum { FAKE_TABLE_MAX = 64, FAKE_CHAINS_MAX = 8, FAKE_FAILURES_MAX = 8, FAKE_ANSWERS_MAX = 8, FAKE_CALLS_MAX = 8192 };

struct fake_cell { /* the one of its column's type */
    bool null;
    int64_t number;
    double real;
    struct span text;
};

struct fake_outbox {
    int64_t id, owner;
    struct span batch;
    bool refused;
    struct span reason;
};

struct fake_chain {
    struct chain_row row;
    struct span correlation, reason;
    struct span data[CHAIN_DOINGS_MAX];
};

struct fake_held {
    int16_t group;
    int64_t id, at_ms;
    struct held_event row;
    struct event_id needs; /* when it waits */
    struct span rule;
    bool waits, ready;
};

struct fake_held_key {
    int16_t group;
    int64_t due_ms; /* wall; 0: at once */
    struct held_key key;
};

struct fake_tick {
    int16_t schedule;
    int64_t slot_ms;
};

struct fake_tables {
    struct claim claims[FAKE_TABLE_MAX];
    struct fake_outbox outbox[FAKE_TABLE_MAX];
    struct parked parked[FAKE_TABLE_MAX];
    struct fake_held held[FAKE_TABLE_MAX]; /* by id */
    struct fake_held_key held_keys[FAKE_TABLE_MAX];
    struct needed needed[FAKE_TABLE_MAX];
    struct attempt attempts[FAKE_TABLE_MAX];
    struct fake_chain chains[FAKE_CHAINS_MAX];
    struct kept_reply replies[FAKE_TABLE_MAX];
    struct fake_tick ticks[FAKE_TABLE_MAX];
    struct span effects[FAKE_TABLE_MAX];     /* statements of plugins */
    struct span outgoing[FAKE_TABLE_MAX];    /* rows of `outbox_table: {name: outgoing}`, as one text each */
    struct span log[FAKE_TABLE_MAX];         /* record batches that a transactional bus appended */
    struct span definitions[FAKE_TABLE_MAX]; /* of chains, by their numbers, from 1 on; the test's */
    size_t definition_count;
    size_t held_count, held_key_count, needed_count;
    enum { FAKE_CLOSED = 0, FAKE_OPEN, FAKE_HALF_OPEN } breaker; /* the only one */
    bool breaker_locked;                                         /* by another process */
    size_t claim_count, outbox_count, parked_count, attempt_count, chain_count, reply_count, tick_count, effect_count,
        outgoing_count, log_count;
};

struct fake_failure {
    const char *function; /* "claim", "commit" …; NULL: any */
    int skip, times;
    enum store_result result;
    const char *text;
};

enum fake_commit { FAKE_COMMIT_KEPT = 0, FAKE_COMMIT_APPLIED, FAKE_COMMIT_DROPPED };

struct connection {
    struct arena *arena;
    struct fake_tables tables, before;
    bool open, failed, tampered;
    size_t queued;
    enum store_result pending; /* of a queued statement */
    const char *pending_text;
    uint64_t outages, crashes;
    bool crash_elsewhere;
    const char *changed; /* what plugins changed in the session; NULL: nothing */
    const char *leaves;  /* what each handler of a plugin leaves to the next one; NULL: nothing */
    const char *left;    /* what one has left before this statement */
    bool separate;
    bool lost_socket;              /* a failure has also closed the connection */
    bool fenced;                   /* every claim of a member answers so */
    int32_t page_most, page_asked; /* held keys of a page (0: as many as are asked for), and the most that were */
    struct fake_failure failures[FAKE_FAILURES_MAX];
    size_t failure_count;
    enum fake_commit lost; /* the next COMMIT's reply is lost, with the transaction applied or dropped */
    struct rows *answers[FAKE_ANSWERS_MAX]; /* of the plugins' next statements; empty ones after them */
    size_t answer_count, answer_next;
    int64_t next_row, deadline_ms;
    int64_t next_slot_us;                        /* of the limit */
    size_t suspects;                             /* rows of sluice.suspect */
    int32_t taken;                               /* its places, by others */
    int64_t takes_ms;                            /* each statement that is executed, by the fake clock */
    struct store_param params[STORE_PARAMS_MAX]; /* of the last statement of a plugin */
    size_t param_count;
    char calls[FAKE_CALLS_MAX]; /* "begin claim:2 outbox_add commit " */
    size_t calls_length;
};

struct connection *fake_store_create(void);
void fake_store_destroy(struct connection *connection);
/* From now on, after `skip` calls of the function, the next `times` fail. */
void fake_store_fail(struct connection *connection, const char *function, int skip, int times, enum store_result result,
                     const char *text);
/* The answer to a plugin's next statement: `cells` row by row. A type of 0 is one that store.h does not know. */
void fake_store_answer(struct connection *connection, size_t columns, const enum param_type *types, size_t rows,
                       const struct fake_cell *cells);
/* What was called since the last time. */
const char *fake_store_calls(struct connection *connection);
/* What the fake bus appends to the open transaction, as a record batch. */
enum store_result fake_store_log(struct connection *connection, struct span batch, struct error *error);
const struct claim *fake_store_claim(const struct connection *connection, const char *id_text);
const struct fake_chain *fake_store_chain(const struct connection *connection, const char *correlation);

#endif
