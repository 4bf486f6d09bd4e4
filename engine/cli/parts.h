/*
 * parts.h - what most commands start from: a checked pipeline, its store and its bus.
 */
#ifndef SLUICE_CLI_PARTS_H
#define SLUICE_CLI_PARTS_H

#include "bus/bus.h"
#include "cli/cli.h"
#include "cli/open.h"
#include "store/store.h"

struct parts {
    struct arena *arena;
    struct reading reading;
    const char *engine; /* see bus_options; set it between parts_open() and parts_attach() */
    struct pipeline *pipeline;
    const struct buses *buses;
    struct metrics *metrics;
    struct store *store; /* NULL when the pipeline has none */
    struct bus *bus;
    struct migrations *migrations; /* see parts_migrations() */
};

/* PARTS_LOOK: the bus, only to be looked at; PARTS_BUS: to publish, or to read for a group. */
enum parts_wanted { PARTS_PIPELINE, PARTS_STORE, PARTS_LOOK, PARTS_BUS };

/* Reads, checks and opens up to what is wanted; prints every problem to stderr. CLI_OK, CLI_CONFIG or CLI_FAILED.
 * Nothing is connected yet. `probe`: look at plugins in a child process first. */
int parts_open(const char *path, enum parts_wanted wanted, bool probe, const struct buses *buses, struct parts *ret);
/* The two halves of parts_open(..., PARTS_PIPELINE, ...): the first one only reads the files, and never fails. */
void parts_read(const char *path, const struct buses *buses, struct parts *ret);
int parts_check(struct parts *parts, bool probe);
void parts_print_problems(const struct parts *parts);
/* The same for parts that were opened before, but for more of them; ret->arena, ret->pipeline and ret->buses are set.
 * 0, or negative with a sentence. */
int parts_attach(struct parts *ret, enum parts_wanted wanted, struct error *error);
/* Reads the migrations of the pipeline's plugins, and adds the engine's, which are in the program. They stay NULL when
 * there is no store. 0, or negative with a sentence. */
int parts_migrations(struct parts *parts, struct error *error);
/* A plugin's migrations: plugins.NAME.migrations, or beside its library DIR/shout.so the folder DIR/shout/sql, or else
 * DIR/sql. NULL when it has none. */
const char *parts_migrations_folder(const struct parts *parts, const struct plugin_ref *ref);
/* A warning for each plugin with a bound handler that uses the store, and no folder of migrations: its tables may be
 * made elsewhere. */
void parts_warn_migrations(const struct parts *parts, struct problems *problems);
/* Prints to stderr that the pipeline has no such topic, and which of its names is nearest. */
void parts_no_topic(const struct parts *parts, const char *command, const char *config, const char *topic);
void parts_close(struct parts *parts); /* zeroed or half-open is fine */

#endif
