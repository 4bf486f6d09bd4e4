/*
 * attention.c - see attention.h.
 */
#include "guard/attention.h"

#include "base/clock.h"
#include "guard/table.h"

#include <time.h>

enum {
    ATTENTION_LOOK_MS = 100,
    ATTENTION_REST_MS = 1000,
    ATTENTION_ACTIVE_MS = 1000, /* a look finds few calls of those that come one after the other */
};

int64_t attention_rest(struct attention *attention, struct suspects *suspects, bool active, int64_t most_ms)
{
    int64_t now = clock_monotonic_ms(), rest_ms = most_ms < ATTENTION_REST_MS ? most_ms : ATTENTION_REST_MS;
    atomic_store(&suspects->rests_until_ms, now + rest_ms); /* first: a call that begins now is seen, or wakes */
    if (active || suspects_near(suspects, now + rest_ms))
        attention->active_ms = now;
    if (now - attention->active_ms >= ATTENTION_ACTIVE_MS && rest_ms > ATTENTION_LOOK_MS)
        return rest_ms;
    attention_over(suspects);
    return ATTENTION_LOOK_MS;
}

void attention_over(struct suspects *suspects)
{
    atomic_store(&suspects->rests_until_ms, 0);
}

unsigned attention_said(const struct suspects *suspects)
{
    return suspects == NULL ? 0 : atomic_load(&suspects->said);
}

void attention_wait(struct suspects *suspects, unsigned said, int64_t ms)
{
    struct timespec wait = timespec_of_ms(ms);
    if (suspects == NULL)
        nanosleep(&wait, NULL);
    else
        syscall(SYS_futex, &suspects->said, FUTEX_WAIT, said, &wait, NULL, 0);
}

void attention_say(struct suspects *suspects)
{
    if (suspects != NULL)
        wake_worker(suspects);
}
