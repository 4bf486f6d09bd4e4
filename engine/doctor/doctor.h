/*
 * doctor.h - `sluice doctor`: what is wrong with a pipeline's file, database, brokers, waiting events and machine, and
 * the cure of each.
 *
 * A check is a row of a table (exam.h): a name, what it finds, the cure, the function that looks. A subject is a file:
 * file.c, server.c (PostgreSQL), brokers.c (Kafka), state.c (the engine's tables), machine.c, running.c (the engine on
 * this machine); doctor.c goes through them. docs/doctor.md is made from the same tables.
 *
 * Nothing is written to the database or the brokers: so the postgres bus, which maintains its log when it is
 * opened, is not opened. What does not answer is asked once; the checks behind it say that they could not look.
 */
#ifndef SLUICE_DOCTOR_DOCTOR_H
#define SLUICE_DOCTOR_DOCTOR_H

#include "doctor/exam.h"

struct checks { /* of one subject */
    const char *subject;
    const struct check *list;
    size_t count;
};
extern const struct checks file_checks, server_checks, state_checks, broker_checks, machine_checks, running_checks;

/* What came out of one check; it lives until the next one. */
struct examined {
    const char *subject;
    const struct check *check;
    enum health health; /* of the worst finding */
    const struct finding *findings;
    size_t count, further; /* further: findings that are not listed */
};
struct doctor_view {
    void (*begins)(const struct check *check, void *context); /* NULL: nothing is told */
    void (*ends)(const struct examined *examined, void *context);
    void *context;
};

/* Every check, one after the other. Returns the worst of all. */
enum health doctor_examine(struct exam *exam, const struct doctor_view *view);
const char *health_word(enum health health); /* "good", "warns", "bad", "not checked" */
void doctor_reference(struct buffer *out);   /* docs/doctor.md */

#endif
