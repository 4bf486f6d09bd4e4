/*
 * generation.c - see generation.h.
 */
#include "guard/generation.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    GENERATION_SHORT_MS = 2000, /* a worker that ran for less did not run for long */
    GENERATION_PAUSE_MS = 100,
    GENERATION_PAUSE_MAX_MS = 5000,
};

bool generation_make(struct generation *ret, void *files, struct suspects *suspects)
{
    *ret = (struct generation){.files = files, .suspects = suspects, .leaves = memfd_create("sluice", MFD_CLOEXEC)};
    return suspects != NULL && ret->leaves >= 0;
}

void generation_end(const struct master_work *work, struct generation *generation)
{
    if (generation->files != NULL)
        work->forget(work->context, generation->files);
    suspects_end(generation->suspects);
    if (generation->leaves >= 0)
        close(generation->leaves);
    *generation = (struct generation){.leaves = -1};
}

bool generation_start(const struct master_work *work, struct generation *generation, const sigset_t *unblocked,
                      bool successor, int finds)
{
    if (ftruncate(generation->leaves, 0) != 0)
        return false;
    handover_make_successor(generation->suspects, successor);
    work->use(work->context, generation->files);
    pid_t pid = process_start(generation->suspects, unblocked, &generation->worker);
    if (pid == 0) {
        const struct master_worker me = {generation->suspects, generation->leaves, finds};
        int code = work->run(&me, generation->files);
        suspects_decide(generation->suspects);
        exit(code);
    }
    errno = pid < 0 ? -pid : 0;
    return pid > 0;
}

bool generation_resume(const struct master_work *work, struct generation *generation, const sigset_t *unblocked)
{
    int finds = generation->leaves;
    generation->leaves = memfd_create("sluice", MFD_CLOEXEC);
    bool started = generation->leaves >= 0 && generation_start(work, generation, unblocked, false, finds);
    int code = errno;
    close(finds);
    errno = code;
    return started;
}

/* Why a new worker starts, in the log. */
static void report(const struct process_ending *ending, size_t named)
{
    char words[ENDING_WORDS_MAX];
    ending_text(ending, words);
    if (named > 0)
        log_line(ending_is_kill(ending) ? LOG_WARN : LOG_ERROR, "master",
                 "the worker ended in a handler's call: %s; %zu event%s %s; a new worker starts", words, named,
                 named == 1 ? " is" : "s are", ending_is_kill(ending) ? "watched" : "suspected");
    else if (ending_is_kill(ending))
        log_warn("master", "the worker ended: %s; a new worker starts", words);
    else
        log_line(LOG_ERROR, "master", "the worker ended, with no handler's call to blame: %s; a new worker starts",
                 words);
}

/* How long until the next worker starts: not at all when somebody is to blame, when this one ran for long, or when it
 * is the first one that did not. */
static int64_t next_pause_ms(unsigned short_lives, int64_t pause_ms)
{
    if (short_lives <= 1)
        return 0;
    pause_ms = pause_ms == 0 ? GENERATION_PAUSE_MS : pause_ms * 2;
    return pause_ms > GENERATION_PAUSE_MAX_MS ? GENERATION_PAUSE_MAX_MS : pause_ms;
}

void generation_judge(struct generation *generation, struct process_ending *ending)
{
    size_t named = suspects_judge(generation->suspects, ending);
    report(ending, named);
    int64_t lived_ms = clock_monotonic_ms() - generation->worker.born_ms;
    bool short_life = named == 0 && lived_ms <= GENERATION_SHORT_MS;
    generation->short_lives = short_life ? generation->short_lives + 1 : 0;
    generation->pause_ms = next_pause_ms(generation->short_lives, generation->pause_ms);
    generation->again_ms = clock_monotonic_ms() + generation->pause_ms;
}
