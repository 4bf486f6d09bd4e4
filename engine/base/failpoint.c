/*
 * failpoint.c - see failpoint.h. The sites are found through the bounds that the linker gives to their section; both
 * are weak, so that a program without a site links as well. Rules are counted by name, also when several sites share
 * it.
 */
#include "base/failpoint.h"

#include "base/clock.h"
#include "base/span.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

extern struct failpoint __start_failpoints[] __attribute__((weak, visibility("hidden")));
extern struct failpoint __stop_failpoints[] __attribute__((weak, visibility("hidden")));

enum { FAILPOINT_RULES_MAX = 64, FAILPOINT_DELAY_MAX_MS = 10 * 60 * 1000 };

enum failpoint_effect { EFFECT_CRASH, EFFECT_EXIT, EFFECT_ERROR, EFFECT_DELAY, EFFECT_FREEZE, EFFECT_SPIN };

static const char *const failpoint_effects[] = {"crash", "exit", "error", "delay", "freeze", "spin"};

struct failpoint_rule {
    enum failpoint_effect effect;
    long delay_ms;
    unsigned long nth;     /* 0: not limited to one hit */
    unsigned long percent; /* 100: always */
    atomic_ulong hits;
};

/* What is armed belongs to the process, as the sites do; written by failpoints_arm() before any thread runs. */
int failpoints_armed;
static struct failpoint_rule failpoint_rules[FAILPOINT_RULES_MAX];
static unsigned failpoint_seed;
static void (*failpoint_watcher)(const char *name, void *context);
static void *failpoint_watcher_context;

/* Reads a decimal number that fills `text` up to the next '@', '%' or the end; -1 when there is none in range. */
static long failpoint_number(const char **text, long max)
{
    const char *at = *text;
    long number = 0;
    if (*at < '0' || *at > '9')
        return -1;
    for (; *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (*at - '0');
        if (number > max)
            return -1;
    }
    *text = at;
    return number;
}

/* Reads "action[:MS][@n|%p]" up to `end` into the rule. */
static int failpoint_read(const char *text, const char *whole, struct failpoint_rule *rule, struct error *error)
{
    size_t effects = sizeof failpoint_effects / sizeof failpoint_effects[0], effect = 0, length = strcspn(text, ":@%");
    while (effect < effects &&
           (strlen(failpoint_effects[effect]) != length || strncmp(failpoint_effects[effect], text, length) != 0))
        effect++;
    if (effect == effects)
        return error_set(
            error, EINVAL,
            "SLUICE_FAILPOINTS: \"%s\" names no action; expected crash, exit, error, delay:MS, freeze or spin", whole);

    long delay_ms = 0, nth = 0, percent = 100;
    text += length;
    if (effect == EFFECT_DELAY) {
        if (*text++ != ':' || (delay_ms = failpoint_number(&text, FAILPOINT_DELAY_MAX_MS)) < 0)
            return error_set(error, EINVAL, "SLUICE_FAILPOINTS: \"%s\" wants delay:MS with 0 to %d milliseconds", whole,
                             FAILPOINT_DELAY_MAX_MS);
    }
    if (*text == '@') {
        text++;
        if ((nth = failpoint_number(&text, 1000000000)) < 1)
            return error_set(error, EINVAL, "SLUICE_FAILPOINTS: \"%s\" wants @n with n from 1 to 1000000000", whole);
    } else if (*text == '%') {
        text++;
        if ((percent = failpoint_number(&text, 100)) < 0)
            return error_set(error, EINVAL, "SLUICE_FAILPOINTS: \"%s\" wants %%p with p from 0 to 100", whole);
    }
    if (*text != '\0')
        return error_set(error, EINVAL, "SLUICE_FAILPOINTS: \"%s\" has \"%s\" too much at its end", whole, text);

    rule->effect = (enum failpoint_effect)effect;
    rule->delay_ms = delay_ms;
    rule->nth = (unsigned long)nth;
    rule->percent = (unsigned long)percent;
    atomic_store(&rule->hits, 0);
    return 0;
}

/* Arms every site called `name` with a rule; how many there are. */
static int failpoint_point(const char *name, size_t length, int rule)
{
    int found = 0;
    for (struct failpoint *point = __start_failpoints; point < __stop_failpoints; point++) {
        if (strlen(point->name) == length && memcmp(point->name, name, length) == 0) {
            __atomic_store_n(&point->armed, rule + 1, __ATOMIC_RELAXED);
            found++;
        }
    }
    return found;
}

static void failpoints_count(int rules)
{
    __atomic_store_n(&failpoints_armed, rules + (failpoint_watcher != NULL), __ATOMIC_RELAXED);
}

static void failpoints_disarm(void)
{
    failpoints_count(0);
    for (struct failpoint *point = __start_failpoints; point < __stop_failpoints; point++)
        __atomic_store_n(&point->armed, 0, __ATOMIC_RELAXED);
}

int failpoints_arm(const char *spec, unsigned seed, struct error *error)
{
    failpoints_disarm();
    if (spec == NULL || spec[0] == '\0')
        return 0;

    char *copy = strdup(spec);
    if (copy == NULL)
        return error_set(error, ENOMEM, "SLUICE_FAILPOINTS: no memory is left");
    int result = 0, rules = 0;
    char *rest = copy, *one;
    while (result == 0 && (one = strsep(&rest, ",")) != NULL) {
        const char *equals = strchr(one, '=');
        if (rules == FAILPOINT_RULES_MAX) {
            result = error_set(error, E2BIG, "SLUICE_FAILPOINTS: more than %d points are named", FAILPOINT_RULES_MAX);
        } else if (equals == NULL) {
            result = error_set(error, EINVAL, "SLUICE_FAILPOINTS: \"%s\" is not of the form name=action", one);
        } else if ((result = failpoint_read(equals + 1, one, &failpoint_rules[rules], error)) == 0) {
            if (failpoint_point(one, (size_t)(equals - one), rules) == 0) {
                result = error_set(error, ENOENT, "SLUICE_FAILPOINTS: no failpoint is called \"%.*s\"",
                                   (int)(equals - one), one);
                error_hint(error, "`sluice version --failpoints` lists them");
            }
            rules++;
        }
    }
    free(copy);
    if (result != 0) {
        failpoints_disarm();
        return result;
    }
    failpoint_seed = seed;
    failpoints_count(rules);
    return 0;
}

void failpoints_watch(void (*reached)(const char *name, void *context), void *context)
{
    int rules = failpoints_armed - (failpoint_watcher != NULL);
    failpoint_watcher = reached;
    failpoint_watcher_context = context;
    failpoints_count(rules);
}

/* The odds of a hit depend on the seed, the rule and the number of the hit alone, so that a seed repeats a run. */
static int failpoint_by_odds(const struct failpoint_rule *rule, unsigned long hit)
{
    struct {
        uint64_t seed, rule, hit;
    } key = {failpoint_seed, (uint64_t)(rule - failpoint_rules), hit};
    return span_hash((struct span){(const char *)&key, sizeof key}) % 100 < rule->percent;
}

static void failpoint_spin(void)
{
    for (volatile unsigned turns = 0;; turns++)
        ;
}

static void failpoint_delay(long delay_ms)
{
    struct timespec left = timespec_of_ms(delay_ms);
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

enum failpoint_action failpoint_fire(struct failpoint *point)
{
    int armed = __atomic_load_n(&point->armed, __ATOMIC_RELAXED);
    if (failpoint_watcher != NULL)
        failpoint_watcher(point->name, failpoint_watcher_context);
    if (armed == 0)
        return FAILPOINT_NONE;
    struct failpoint_rule *rule = &failpoint_rules[armed - 1];
    unsigned long hit = atomic_fetch_add(&rule->hits, 1) + 1;
    if (rule->nth != 0 ? hit != rule->nth : !failpoint_by_odds(rule, hit))
        return FAILPOINT_NONE;

    switch (rule->effect) {
    case EFFECT_CRASH:
        kill(getpid(), SIGKILL);
        break;
    case EFFECT_EXIT:
        _exit(EX_SOFTWARE);
    case EFFECT_ERROR:
        return FAILPOINT_ERROR;
    case EFFECT_DELAY:
        failpoint_delay(rule->delay_ms);
        break;
    case EFFECT_FREEZE:
        raise(SIGSTOP); /* stops before it returns; after kill() of the process this thread might take a step more */
        break;
    case EFFECT_SPIN:
        failpoint_spin();
    }
    return FAILPOINT_NONE;
}

void failpoints_list(void (*each)(const char *name, void *context), void *context)
{
    /* By name and each name once: the smallest that is larger than the one before. */
    const char *last = NULL;
    for (;;) {
        const char *next = NULL;
        for (const struct failpoint *point = __start_failpoints; point < __stop_failpoints; point++)
            if ((last == NULL || strcmp(point->name, last) > 0) && (next == NULL || strcmp(point->name, next) < 0))
                next = point->name;
        if (next == NULL)
            return;
        each(next, context);
        last = next;
    }
}
