/*
 * migrate.h - forward-only numbered SQL files, the engine's and each plugin's own.
 *
 * NNNN_words.sql: those of the engine are in the program, each plugin has a folder. They are applied in order, the
 * engine's first, each in its own transaction together with its row in sluice.migration (owner, number, name, checksum,
 * applied_at). A file that would end that transaction, a plugin's that changes something in schema sluice, an applied
 * file that has changed, a gap, or a database with a number that has no file (newer than this program) is refused, with
 * the line where there is one. Two migrators wait for each other (advisory lock).
 */
#ifndef SLUICE_STORE_MIGRATE_H
#define SLUICE_STORE_MIGRATE_H

#include "store/store.h"

struct migration_step {
    const char *owner; /* "engine" or the plugin's name */
    int number;        /* 0: it is no file, but the table of this name */
    const char *name;  /* file name */
};

struct migrations_of {
    const char *owner;  /* "engine" or the plugin's name */
    const char *folder; /* NULL: it has none */
    const char *looked; /* then: where there is none, for people: "A nor B" */
    bool engine;        /* the engine's: without a folder, those in the program; they make the schema sluice */
};

/* What the files say when they are read. */
struct migrations;
/* `owners` and what they point to must live as long. 0 or negative. */
int migrations_read(const struct migrations_of *owners, size_t count, struct migrations **ret, struct error *error);
/* Of owners, names and texts: the same for the same migrations. NULL is none. */
uint64_t migrations_digest(const struct migrations *migrations);
/* Each file, in the order in which they are applied; `folder` NULL: it is in the program. */
void migrations_each(const struct migrations *migrations,
                     void (*each)(void *context, const char *folder, const char *name, struct span text),
                     void *context);
void migrations_free(struct migrations *migrations); /* NULL is fine */
/* `outbox_table.name` of pipeline.yaml, which must live as long: after the files that table is made, and checked. */
void migrations_outbox_table(struct migrations *migrations, const char *table);

/* Applies what is missing. `each` (may be NULL) is called for every step after it is committed. */
enum store_result migrate_apply(struct store *store, const struct migrations *migrations,
                                void (*each)(const struct migration_step *step, void *context), void *context,
                                struct error *error);
/* STORE_OK when every file is applied and no other; STORE_DEPLOY with the sentence and the command to run when it is
 * behind, newer or changed. */
enum store_result migrate_check(struct store *store, const struct migrations *migrations, struct error *error);
/* The same by a connection that is there. */
enum store_result migrate_check_by(struct connection *connection, const struct migrations *migrations,
                                   struct error *error);
/* After migrate_check(): STORE_DEPLOY, with the sentence and what to do, when something that the files made and comment
 * on in schema sluice is not there any more: a table, column, index or function. */
enum store_result migrate_check_made(struct store *store, const struct migrations *migrations, struct error *error);

#endif
