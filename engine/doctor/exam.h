/*
 * exam.h - what a check is, what it is given, and how it says what it found.
 *
 * A check looks at one thing and says one or more findings about it, or why it could not look: it never returns without
 * a word. It changes nothing, and waits a few seconds at most: what it asks of the database goes through exam_rows(),
 * what it asks of brokers has the bus's own limits.
 */
#ifndef SLUICE_DOCTOR_EXAM_H
#define SLUICE_DOCTOR_EXAM_H

#include "bus/bus.h"
#include "pipeline/pipeline.h"
#include "store/migrate.h"
#include "store/store.h"

enum health { HEALTH_GOOD = 0, HEALTH_UNCHECKED, HEALTH_WARNS, HEALTH_BAD }; /* the worst last */

struct exam;
struct check {
    const char *name;  /* a stable word, for programs */
    const char *finds; /* for the page: what is not good, with its limits */
    const char *cure;  /* for the page; on the screen it stands under a finding that has no better one */
    void (*look)(struct exam *exam);
};

struct finding {
    enum health health;
    const char *text; /* one sentence */
    const char *cure; /* NULL: nothing to do */
};

enum { EXAM_STATEMENT_MS = 3000, EXAM_FINDINGS_MAX = 20 /* of a check; further ones are counted */ };

struct exam {           /* filled by its maker up to `arena`; zeroed behind that */
    const char *config; /* the file, as it was named */
    const struct pipeline *pipeline;
    const struct problems *problems;                        /* of the file */
    struct store *store;                                    /* NULL: the pipeline has none, or store_error says why */
    struct bus *bus;                                        /* kafka alone; NULL: bus_error says why */
    const struct migrations *migrations;                    /* NULL: migrations_error says why */
    const char *store_error, *bus_error, *migrations_error; /* sentences, or NULL */
    struct arena *arena;                                    /* texts live there */

    struct connection *connection;
    const char *store_away; /* why the database is not asked any more; NULL: it answers */
    struct topic_finding *topic_findings;
    size_t topic_finding_count;
    const char *brokers_away; /* the same of the brokers */
    bool topics_known;        /* topic_findings are there, or brokers_away is */

    const struct check *check; /* that looks now, and what it found so far */
    struct finding *findings;
    size_t finding_count, further; /* further: not kept */
    enum health health;            /* of the worst, of all */
};

/* What a check found. `cure` NULL: the check's own. */
void exam_good(struct exam *exam, const char *format, ...) __attribute__((format(printf, 2, 3)));
void exam_warns(struct exam *exam, const char *cure, const char *format, ...) __attribute__((format(printf, 3, 4)));
void exam_bad(struct exam *exam, const char *cure, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* It could not look: why. */
void exam_unchecked(struct exam *exam, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The rows of one statement on the pipeline's store, until the next one. NULL: it could not be asked, which is said. */
const struct rows *exam_rows(struct exam *exam, const struct statement *statement, size_t param_count,
                             const struct store_param *params);
/* The same, for a statement whose only parameter is a time. */
const struct rows *exam_rows_of_ms(struct exam *exam, const struct statement *statement, int64_t ms);
/* The same, for a statement whose only parameter is the names of the pipeline's groups. */
const struct rows *exam_rows_of_groups(struct exam *exam, const struct statement *statement);
/* Whether there is a store to ask that answered so far; what keeps it from being asked is said. */
bool exam_has_store(struct exam *exam);

/* For sentences, in the arena: "1 event", "3 events"; "12 s", "3 m", "5 h", "8 d". */
const char *exam_count(struct exam *exam, int64_t count, const char *noun);
const char *exam_duration(struct exam *exam, int64_t seconds);
/* A text column of a row. */
const char *exam_text(struct exam *exam, const struct rows *rows, size_t row, size_t column);

#endif
