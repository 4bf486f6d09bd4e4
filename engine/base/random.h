/*
 * random.h - pseudo-random numbers for jitter, from a state word that the caller owns (xorshift64). One state a thread;
 * the same seed gives the same numbers. Not for anything that must not be guessed.
 */
#ifndef SLUICE_BASE_RANDOM_H
#define SLUICE_BASE_RANDOM_H

#include <stdint.h>

double random_unit(uint64_t *state); /* [0, 1); the state is seeded with any number but 0, which would stay 0 */

#endif
