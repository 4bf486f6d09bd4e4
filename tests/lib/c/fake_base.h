/*
 * fake_base.h - base/clock.h and base/log.h as a test holds them: time passes only when the test says so, and what is
 * logged is kept. Linked before libbase.a, whose clock and log are then left out.
 */
#ifndef SLUICE_TESTS_FAKE_BASE_H
#define SLUICE_TESTS_FAKE_BASE_H

#include <stdbool.h>
#include <stdint.h>

/* Both clocks back to where every test begins; the log is empty. */
void fake_base_reset(void);
void fake_clock_advance(int64_t ms);
/* Whether a line holds this text. LOG_SHOW=1 in the environment prints lines as they come. */
bool fake_log_has(const char *text);

#endif
