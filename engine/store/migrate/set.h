/*
 * set.h - what the files of migrate/ share: the migrations as they were read.
 *
 * files.c reads them, apply.c compares them with the database and applies them, guard.c sees that a plugin's leave the
 * schema of the engine alone, made.c looks whether what they made is still there.
 */
#ifndef SLUICE_STORE_MIGRATE_SET_H
#define SLUICE_STORE_MIGRATE_SET_H

#include "store/connection/connection.h"
#include "store/migrate.h"

struct migration_file {
    const struct migrations_of *of;
    int64_t number;
    char *name;
    char *text;
    struct span bytes, owner_span, name_span;
};

struct migrations {
    const struct migrations_of *owners;
    size_t owner_count;
    struct migration_file *files;
    size_t count;
    const char *outbox_table; /* NULL: none */
};

/* --- apply.c */
struct connection *migrate_connect(struct store *store, struct error *error); /* NULL: out of memory */

/* --- guard.c */
struct guard {
    int64_t transaction; /* its id */
    char *before;        /* JSON; NULL: not whole */
    bool ended;          /* by the file; guard_end() says it */
};
/* Before a file is run: which transaction it is, and (whole) what there is in schema sluice. The caller ends it with
 * guard_free(). */
enum store_result guard_begin(struct connection *connection, bool whole, struct guard *ret, struct error *error);
/* After it: STORE_DEPLOY when the transaction is another one, or with the first thing in schema sluice that the file
 * has changed. */
enum store_result guard_end(struct connection *connection, struct guard *guard, struct error *error);
/* After a file that failed, in a transaction of its own: the sequences of schema sluice that are behind what they were
 * are set there again. Says in the hint of `error` when that cannot be done. */
void guard_undo(struct connection *connection, const struct guard *guard, struct error *error);
void guard_free(struct guard *guard); /* zeroed is fine */

#endif
