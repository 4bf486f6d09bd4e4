/*
 * opener.h - the thread that does what needs the database and the bus, until it succeeds: an engine may be started
 * before its database.
 *
 * It checks the database, looks up or inserts the names and their numbers, and starts the groups' readers; then the
 * engine is open. Until then lanes exist and wait, and /readyz says why.
 */
#ifndef SLUICE_RUN_OPENER_H
#define SLUICE_RUN_OPENER_H

struct engine;
struct error;

/* Instead of the thread, see engine_step(): one try. 0, or negative with a sentence. */
int opener_step(struct engine *engine, struct error *error);
void *opener_main(void *engine); /* a thread's function; it ends when the engine is open, stops or has a fault */

#endif
