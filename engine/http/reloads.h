/*
 * reloads.h - POST /reload: hands the wish to the master, and waits for its answer beside lanes and listener. Private
 * to http/.
 *
 * The answer's status: 200 accepted, 409 a running engine cannot change that or runs another file, 422 refused, 501
 * there is no master to ask, 503 there was no answer. Its body is that of operate/reload.h, or an error as elsewhere.
 * A wish is asked for at once and never taken back: a client that leaves misses the answer only.
 *
 * Threads: any may submit; one of its own looks for answers while somebody waits.
 */
#ifndef SLUICE_HTTP_RELOADS_H
#define SLUICE_HTTP_RELOADS_H

#include "guard/reload.h"
#include "http/management.h"

struct reloads;

/* `store` may be NULL: nothing is said of chains then. */
int reloads_start(const struct pipeline *pipeline, struct store *store, struct reloads **ret, struct error *error);
void reloads_allow(struct reloads *reloads, struct reload *reload); /* NULL: there is no master, as before the call */
/* -EAGAIN: too many wait. */
int reloads_submit(struct reloads *reloads, struct management_request *request);
/* Whose answer is there gets it; who still waits then is answered 503, and nobody can ask any more. */
void reloads_end(struct reloads *reloads);
/* The same, and frees it. NULL is fine. */
void reloads_stop(struct reloads *reloads);

#endif
