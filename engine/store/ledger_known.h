/*
 * ledger_known.h - names that pipelines had when they were last started, and what waits for them. See ledger.h for who
 * executes when.
 */
#ifndef SLUICE_STORE_LEDGER_KNOWN_H
#define SLUICE_STORE_LEDGER_KNOWN_H

#include "store/ledger.h"

/* What a pipeline had when it was last started (sluice.pipeline_name), so that a name that left its file is noticed. */
struct known_name {
    struct span kind;    /* "t" topic of a group, "e" one to which timers emit, "g" group, "h" handler, "c" chain */
    struct span group;   /* of a topic: who reads it, or emits to it; else empty */
    struct span name;    /* of a group its whole name */
    struct span handler; /* of a topic and of a tap's group: under which name it is recorded; else empty */
    struct span file;    /* the `pipeline:` of the file that had it */
};
/* On its own: the turn of a group's processes, which one session has at a time, until it ends. *ret: this one has it
 * now. */
enum store_result ledger_turn(struct connection *connection, struct span group, bool *ret, struct error *error);
/* Executed: begins a transaction whose statements, and the pauses between them, may take this long: what counts. */
enum store_result ledger_begin_long(struct connection *connection, int64_t deadline_ms, int64_t timeout_ms,
                                    struct error *error);
/* Executed. Rows: kind, group, name, handler, file text. `lock`: until the transaction ends no other start does so. */
enum store_result ledger_known(struct connection *connection, const struct span *pipelines, size_t count, bool lock,
                               struct rows **ret, struct error *error);
enum store_result ledger_known_save(struct connection *connection, struct span pipeline, const struct known_name *names,
                                    size_t count, struct error *error); /* queued */
enum store_result ledger_known_forget(struct connection *connection, struct span pipeline,
                                      const struct known_name *names, size_t count, struct error *error); /* queued */
/* Executed. Rows: topic text, a pipeline's own group, other than but_group, that reads it text. */
enum store_result ledger_known_readers(struct connection *connection, const struct span *topics, size_t count,
                                       struct span but_group, struct rows **ret, struct error *error);
/* Queued: what is recorded or waits under the old name is the new one's. kind as in ledger_names(). */
enum store_result ledger_rename(struct connection *connection, char kind, struct span old, struct span new_name,
                                struct error *error);
enum store_result ledger_known_rename(struct connection *connection, struct span old, struct span new_name,
                                      struct error *error); /* queued: of a pipeline, its own group's name */
enum store_result ledger_known_file(struct connection *connection, struct span pipeline, struct span old,
                                    struct span new_name, struct error *error); /* queued: of a file, its name */
/* Executed; reads all that is parked or held. Rows: group text, topic text, parked int8, held int8, timers
 * that will emit to it int8. */
enum store_result ledger_parked_topics(struct connection *connection, const struct span *groups, size_t count,
                                       struct rows **ret, struct error *error);
/* Executed: whether there is a PARKED_UNKNOWN one of these groups. */
enum store_result ledger_parked_unknown(struct connection *connection, const struct span *groups, size_t count,
                                        bool *ret, struct error *error);
enum store_result ledger_parked_again(struct connection *connection, const struct span *groups, size_t count,
                                      struct error *error); /* queued: PARKED_UNKNOWN ones are due */
/* Executed. kind 'h': events whose tries a handler counted; 'c': chains that are not over. Rows: name text, how many
 * int8. */
enum store_result ledger_waiting(struct connection *connection, char kind, const struct span *names, size_t count,
                                 struct rows **ret, struct error *error);
enum store_result ledger_chains_close(struct connection *connection, struct span chain, struct span reason,
                                      struct error *error); /* queued: they and their timers are over, with a reason */
/* Executed. Rows: batch bytea, of the oldest `limit` rows of the outbox. */
enum store_result ledger_outbox_all(struct connection *connection, int32_t limit, struct rows **ret,
                                    struct error *error);

#endif
