/*
 * check_timers.c - can the timers of chains fire, and not before what they wait for can have happened?
 */
#include "pipeline/check.h"

static const char *timer_text(const struct check *check, const struct chain *chain, const struct chain_timer *timer)
{
    char after[32];
    return arena_format(check->arena, "the timer of chain '%s' emits '%s' %s after '%s'", chain->name,
                        timer->emit->name, duration_text(timer->after_ms, after), timer->from->name);
}

/* What makes it never fire. */
static void check_never(const struct check *check, const struct chain *chain, const struct chain_timer *timer)
{
    char after[32], timeout[32];
    const char *from = timer->from->name;
    if ((timer->cancel_steps >> timer->from_step & 1) != 0)
        problem_add(check->problems, timer->place, "bad_timer",
                    "a timer of chain '%s' begins and ends with '%s', so it never fires; take that out of cancel_on",
                    chain->name, from);
    else if (chain->step_count == 1)
        problem_add(check->problems, timer->place, "bad_timer",
                    "a timer of chain '%s' begins with '%s', its only step: the chain is complete then, and its timers "
                    "end; add the step that the timer waits for",
                    chain->name, from);
    if (chain->timeout_ms > 0 && timer->after_ms >= chain->timeout_ms)
        problem_add(
            check->problems, timer->place, "bad_timer",
            "a timer of chain '%s' takes %s, and the chain is aborted %s after it began, which ends its timers: "
            "it never fires; make the timer shorter, or the chain's timeout longer",
            chain->name, duration_text(timer->after_ms, after), duration_text(chain->timeout_ms, timeout));
}

/* What it waits for takes time: it must not fire before that had its time. */
static void check_lasting(const struct check *check, const struct chain *chain, const struct chain_timer *timer)
{
    struct chain awaited = *chain; /* only the steps that end the timer */
    char total[32];
    awaited.steps = arena_array(check->arena, struct chain_step, chain->step_count);
    awaited.step_count = 0;
    for (size_t s = 0; s < chain->step_count; s++)
        if ((timer->cancel_steps >> s & 1) != 0)
            awaited.steps[awaited.step_count++] = chain->steps[s];
    struct way way = check_longest_way(check, &awaited, timer->from, timer->place);
    if (way.total_ms > 0 && way.total_ms >= timer->after_ms)
        problem_add(check->problems, timer->place, "timer_too_short",
                    "what it waits for may take %s (%s), and %s: it would fire while that is on its way; make the "
                    "timer longer, or the way shorter",
                    duration_text(way.total_ms, total), way.text, timer_text(check, chain, timer));
}

void check_timers(const struct check *check)
{
    for (size_t p = 0; p < check->count; p++)
        for (size_t c = 0; c < check->pipelines[p]->chain_count; c++) {
            const struct chain *chain = &check->pipelines[p]->chains[c];
            for (size_t t = 0; t < chain->timer_count; t++) {
                check_never(check, chain, &chain->timers[t]);
                check_lasting(check, chain, &chain->timers[t]);
            }
        }
}
