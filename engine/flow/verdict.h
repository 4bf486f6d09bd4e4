/*
 * verdict.h - what becomes of an event with this verdict: one table, which every step of a batch reads.
 *
 * A verdict is given to an event while its batch runs. claim.c, handle.c, call.c, chains.c, record.c and finish.c
 * (batch/) ask the row for what they have to do; they name a verdict only for what no other has. Nothing depends on
 * the order of the enum. Pure data; tests/unit/flow/test_verdict.c holds the rules that tie the columns.
 */
#ifndef SLUICE_FLOW_VERDICT_H
#define SLUICE_FLOW_VERDICT_H

#include <stdbool.h>

enum verdict {
    VERDICT_NONE = 0,   /* not judged: to be handled */
    VERDICT_OUTCOME,    /* the handler decided on an outcome */
    VERDICT_NO_OUTCOME, /* a request or tick that was handled and needs none */
    VERDICT_NO_HANDLER, /* nothing here is bound to its topic; a chain may watch it */
    VERDICT_RETRY,      /* transient failure: tried again in place when it is due, and the try counts */
    VERDICT_DELAY,      /* not now (unavailable, not due, paused): again in place when it is due; no try is counted */
    VERDICT_HOLD_RETRY, /* the same as RETRY, for longer than a moment: in the database, with its key behind it */
    VERDICT_HOLD_DELAY, /* the same as DELAY */
    VERDICT_BEHIND,     /* behind one of those, or what is behind them already: written there, not handled */
    VERDICT_PARK,       /* waits in the database until it is due; its key goes on */
    VERDICT_WAIT,       /* the same without a database: in the lane's memory, its position not complete */
    /* nothing here is bound to its topic, and something was: parked until the file says what becomes of it */
    VERDICT_UNKNOWN,
    VERDICT_PARK_RETRY,  /* the same after a failed try, of one that was parked before */
    VERDICT_PARK_PAUSED, /* of one that was parked before: waits in the database until a pause is over */
    VERDICT_STUCK,       /* an undo that failed for good under `on_undo_failure: pause`: parked for an operator */
    VERDICT_DEAD,        /* dead letter */
    VERDICT_DUPLICATE,   /* its claim was there before */
    VERDICT_FOR_OTHERS,  /* the replay of another group's dead letter: this one had the event when it first came */
    VERDICT_REFUSED,     /* a request that is answered without its handler, and recorded nowhere */
    /* As if never taken: an earlier event of its key, or the same event a second time in the batch, must end first;
     * or it was condemned, and the whole batch is rolled back. */
    VERDICT_REQUEUE,
    VERDICT_ISOLATE, /* suspected of a crash: comes again in a batch of its own */
    VERDICT_COUNT,
};

/* Whether an event whose verdict this is at the time of the claim gets an inbox row. */
enum verdict_claim {
    CLAIM_NEVER = 0,
    CLAIM_IF_RECORDED, /* when its binding's events are recorded, or its request has an Idempotency-Key */
    CLAIM_IF_WATCHED,  /* when a chain watches its topic */
    CLAIM_ALWAYS,
};

/* What it emits in its transaction. */
enum verdict_output { OUTPUT_NOTHING = 0, OUTPUT_ROUTES, OUTPUT_DEAD_LETTER };

/* Its row in sluice.parked or sluice.held, if it gets one; what was read from there has it already. */
enum verdict_parking {
    PARKING_NONE = 0,
    PARKING_UNTIL_DUE,
    PARKING_STUCK,
    PARKING_UNKNOWN,
    PARKING_PAUSED,
    PARKING_HEAD,
    PARKING_BEHIND
};

/* How its item goes back to the lane after COMMIT. */
enum verdict_way {
    WAY_DONE = 1, /* out of the lane; its position is complete */
    WAY_STORED,   /* likewise, but what it was read from in the database stands: its key is stored */
    WAY_RETRY,    /* holds its key until it is due */
    WAY_WAIT,     /* in the lane until it is due, while its key goes on */
    WAY_REQUEUE,  /* to the front of its key */
    WAY_ISOLATE,  /* likewise, and runs in a batch of its own */
};

struct verdict_row {
    const char *word; /* for logs and tests */
    enum verdict_claim claim;
    bool keeps_claim; /* at COMMIT its inbox row stays; else it is deleted, as if it had not been claimed */
    bool keeps_reply; /* the same of a request with an Idempotency-Key: its claim stays, with an answer that is final */
    enum verdict_output output;
    bool chains;    /* chains that watch its topic hear of it */
    bool replies;   /* a request must have been answered by its handler */
    bool holds_key; /* later events of its key, in this batch, are requeued */
    bool counts_try;
    enum verdict_parking parking;
    enum verdict_way way;
};

extern const struct verdict_row verdict_rows[VERDICT_COUNT];

#endif
