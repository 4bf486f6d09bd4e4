/*
 * chain.h - chains as operators list and move them.
 *
 * A chain is meant by its name and its correlation. What is listed is known not to be over, unless a state is asked
 * for: whether a chain is complete is only known of those with a timeout, or that a dead letter aborts.
 */
#ifndef SLUICE_OPERATE_CHAIN_H
#define SLUICE_OPERATE_CHAIN_H

#include "operate/chain_timers.h"
#include "operate/operation.h"

enum { CHAIN_LIMIT = 100, CHAIN_LIMIT_MAX = 1000 };

struct chain_filter { /* begins with chain_filter_none */
    const char *chain;
    int state; /* enum chain_state; -1: what is known not to be over */
    int64_t older_ms, limit;
    struct span after; /* of a page before */
};
extern const struct chain_filter chain_filter_none;
/* One condition: "chain", "state", "older", "limit" or "after", as options and query parameters call them. 0, or
 * -EINVAL with what was expected. */
int chain_filter_set(const struct operation *operation, struct chain_filter *filter, struct span name,
                     struct span value, struct error *error);

struct chain_doing {
    const char *step, *state; /* "done", "undoing", "undone" */
};
struct chain_view {
    const char *chain, *correlation;
    /* "running", "complete", "aborted", "stuck", "undone" or "closed"; aborted until its undos were handled, as far as
     * handlers of the file have them */
    const char *state;
    const char *reason; /* why it was aborted or closed; NULL: it was not */
    int64_t began_ms, changed_ms;
    int64_t due_ms; /* when it is aborted unless it is complete; 0: never */
    int32_t generation;
    bool older_definition; /* than the file's: it is undone by that one */
    struct chain_doing *doings;
    size_t doing_count;
    const char **missing; /* steps that were not done yet, of a chain that is followed to its end */
    size_t missing_count;
    struct chain_timer_view *timers; /* that wait, of one that was looked for by its correlation */
    size_t timer_count;
    const char *asked;  /* why an operator wants it aborted, which no engine has done yet; NULL: nobody does */
    const char *place;  /* where a page behind it begins */
    int16_t number;     /* of the chain's name in the store */
    const char **undos; /* topics of the undos of its definition */
    size_t undo_count;
    const char *correlate; /* the field */
};
struct chain_page {
    struct chain_view *list;
    size_t count;
    const char *next; /* for "after"; NULL: this is the last page */
};

int chain_list(const struct operation *operation, const struct chain_filter *filter, struct chain_page *ret,
               struct error *error);
/* `chain` NULL: of whichever chain has that correlation; -EINVAL when several have. */
int chain_find(const struct operation *operation, const char *chain, struct span correlation, struct chain_view *ret,
               struct error *error);

/* Appends a JSON array: of chains that are known not to be over, how many began with which definition: {"chain":NAME,
 * "definition":HASH or null, "current":true when it is that of the pipeline, "in_flight":COUNT}. */
int chain_counts(const struct operation *operation, struct buffer *out, struct error *error);

/* What is done to one that was found. -EBUSY: it is not in a state for that. */
enum chain_act {
    CHAIN_RESUME,    /* the undos that failed are tried again, from their first try */
    CHAIN_ABORT_ASK, /* a running engine undoes what was done, as after an event of `abort_on` */
    CHAIN_CLOSE,     /* it is over; undos that wait in the database become dead letters */
};
struct chain_did {
    const char *did;
    size_t undos; /* that were resumed, or cancelled */
};
int chain_act(const struct operation *operation, enum chain_act what, const struct chain_view *view,
              struct chain_did *ret, struct error *error);

void chain_did_json(const struct chain_view *view, const struct chain_did *did, struct buffer *out);
void chain_json(const struct chain_view *view, struct buffer *out);
void chain_page_json(const struct chain_page *page, struct buffer *out);

#endif
