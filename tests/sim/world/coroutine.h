/*
 * coroutine.h - code that stops in the middle and goes on later, all on one thread.
 *
 * A coroutine has a stack of its own, taken from a pool and given back to it. One that is abandoned never goes on: what
 * it had on its stack is forgotten, as a crash forgets it.
 */
#ifndef SLUICE_SIM_COROUTINE_H
#define SLUICE_SIM_COROUTINE_H

struct coroutine;
/* body(context) must not return. It does not run before the first resume. Out of memory ends the program. */
struct coroutine *coroutine_create(void (*body)(void *context), void *context);
void coroutine_resume(struct coroutine *coroutine);  /* until it yields; not from within a coroutine */
void coroutine_yield(void);                          /* of the one that runs */
void coroutine_abandon(struct coroutine *coroutine); /* not the one that runs; NULL is fine */

#endif
