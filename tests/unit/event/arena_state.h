/*
 * arena_state.h - the state of a group of tests is an arena.
 */
#ifndef SLUICE_TESTS_UNIT_EVENT_ARENA_STATE_H
#define SLUICE_TESTS_UNIT_EVENT_ARENA_STATE_H

#include "check.h"

#include "base/arena.h"

static inline int setup(void **state)
{
    *state = arena_create(64 * 1024, 64 * 1024 * 1024);
    return *state == NULL;
}

static inline int teardown(void **state)
{
    arena_destroy(*state);
    return 0;
}

#endif
