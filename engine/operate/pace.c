/*
 * pace.c - see pace.h.
 */
#include "operate/pace.h"

#include "base/clock.h"

#include <time.h>

enum {
    REPLAY_PAUSE_MS = 50,  /* the longest sleep between two looks at `stop` */
    REPLAY_SLICE_MS = 100, /* with a rate, a batch is what so much time allows */
};

bool replay_stopped(const struct replay *replay)
{
    return (replay->stop != NULL && *replay->stop) ||
           (replay->until_ms > 0 && clock_monotonic_ms() >= replay->until_ms);
}

void replay_keep_rate(const struct replay *replay, int64_t moved, int64_t began_ms)
{
    int64_t due_ms = began_ms + (replay->rate > 0 ? moved * 1000 / replay->rate : 0);
    for (int64_t left; !replay_stopped(replay) && (left = due_ms - clock_monotonic_ms()) > 0;) {
        struct timespec pause = timespec_of_ms(left < REPLAY_PAUSE_MS ? left : REPLAY_PAUSE_MS);
        nanosleep(&pause, NULL);
    }
}

int64_t replay_batch_size(const struct replay *replay, int64_t moved, int64_t most)
{
    int64_t slice = replay->rate * REPLAY_SLICE_MS / 1000, left = replay->limit - moved;
    if (replay->rate > 0 && slice < most)
        most = slice < 1 ? 1 : slice;
    return replay->limit > 0 && left < most ? left : most;
}

void replay_note_unfit(struct replay_progress *progress, const char *id, const struct error *why)
{
    if (progress->unfit++ > 0)
        return;
    progress->unfit_why = *why;
    error_prefix(&progress->unfit_why, "dead letter %s", id);
}
