/*
 * suspects.c - the table: open calls, suspects, and who is convicted.
 */
#include "guard/suspects.h"

#include "base/clock.h"
#include "guard/table.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

enum {
    SUSPECT_LONG_MS = 1000,        /* a call open for longer may be what another one waits for */
    SUSPECT_KILLS_SEEN = 2,        /* kills in its call before an event is isolated: the first comes from outside */
    SUSPECT_SUSPEND_MS = 10000,    /* after the first conviction; doubles */
    SUSPECT_SUSPEND_DOUBLINGS = 6, /* then it stays */
    SUSPECT_FORGET_MS = 20 * 60 * 1000, /* more than the longest suspension */
};

static void *map_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static struct suspect_rows *rows_create(void)
{
    struct suspect_rows *known = map_shared(sizeof *known);
    pthread_mutexattr_t shared;
    if (known == NULL)
        return NULL;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&known->lock, &shared);
    pthread_mutexattr_destroy(&shared);
    return known;
}

static struct suspects *suspects_of(struct suspect_rows *known)
{
    struct suspects *suspects = known == NULL ? NULL : map_shared(sizeof *suspects);
    if (suspects != NULL) {
        suspects->known = known;
        suspects->master = getpid();
    }
    return suspects;
}

struct suspects *suspects_create(void)
{
    struct suspect_rows *known = rows_create();
    struct suspects *suspects = suspects_of(known);
    if (suspects == NULL && known != NULL)
        munmap(known, sizeof *known);
    return suspects;
}

struct suspects *suspects_beside(const struct suspects *other)
{
    return suspects_of(other->known);
}

void suspects_end(struct suspects *suspects)
{
    if (suspects != NULL)
        munmap(suspects, sizeof *suspects);
}

/* ----------------------------------------------------------------------------------------------------------- calls */

static struct lane_call *call_of(struct suspects *suspects, uint32_t lane)
{
    return suspects != NULL && lane < SUSPECT_LANES_MAX ? &suspects->calls[lane] : NULL;
}

struct event_id suspects_id(struct event_id id, struct span handler)
{
    uint64_t hash = span_hash(handler);
    for (size_t i = 0; i < sizeof hash; i++)
        id.bytes[i] ^= (uint8_t)(hash >> 8 * i);
    return id;
}

void suspects_add(struct suspects *suspects, uint32_t lane, size_t index, struct event_id id)
{
    struct lane_call *call = call_of(suspects, lane);
    if (call != NULL && index < SUSPECT_CALL_MAX)
        call->ids[index] = id;
}

void suspects_open(struct suspects *suspects, uint32_t lane, size_t count, int64_t deadline_ms, bool quarantined)
{
    struct lane_call *call = call_of(suspects, lane);
    if (call == NULL)
        return;
    atomic_store_explicit(&call->count, count > SUSPECT_CALL_MAX ? SUSPECT_CALL_MAX : (unsigned)count,
                          memory_order_relaxed);
    atomic_store_explicit(&call->progress, 0, memory_order_relaxed);
    atomic_store_explicit(&call->opened_ms, clock_monotonic_ms(), memory_order_relaxed);
    atomic_store_explicit(&call->deadline_ms, deadline_ms, memory_order_relaxed);
    atomic_store_explicit(&call->quarantined, quarantined, memory_order_relaxed);
    atomic_store(&call->phase, CALL_OPEN);
    if (deadline_ms - SUSPECT_NEAR_MS < atomic_load(&suspects->rests_until_ms))
        wake_master(suspects->master);
}

void suspects_progress(struct suspects *suspects, uint32_t lane, size_t index)
{
    struct lane_call *call = call_of(suspects, lane);
    if (call != NULL && index < SUSPECT_CALL_MAX)
        atomic_store_explicit(&call->progress, (unsigned)index + 1, memory_order_relaxed);
}

void suspects_returned(struct suspects *suspects, uint32_t lane)
{
    struct lane_call *call = call_of(suspects, lane);
    if (call != NULL)
        atomic_store_explicit(&call->phase, CALL_RETURNED, memory_order_release);
}

void suspects_over(struct suspects *suspects, uint32_t lane)
{
    struct lane_call *call = call_of(suspects, lane);
    if (call != NULL)
        atomic_store_explicit(&call->phase, CALL_OVER, memory_order_release);
}

/* ------------------------------------------------------------------------------------------------------------ rows */

static void rows_lock(struct suspects *suspects)
{
    if (pthread_mutex_lock(&suspects->known->lock) == EOWNERDEAD)
        /* rows are written whole: a writer that ended leaves at worst one unused */
        pthread_mutex_consistent(&suspects->known->lock);
}

static struct suspect_row *row_find(struct suspects *suspects, struct event_id id)
{
    for (size_t i = 0, end = atomic_load(&suspects->known->end); i < end; i++)
        if (suspects->known->rows[i].used && memcmp(&suspects->known->rows[i].id, &id, sizeof id) == 0)
            return &suspects->known->rows[i];
    return NULL;
}

static struct suspect_row *row_make(struct suspects *suspects, struct event_id id)
{
    struct suspect_row *row = row_find(suspects, id);
    size_t i = 0;
    if (row != NULL)
        return row;
    while (i < SUSPECT_TABLE_MAX && suspects->known->rows[i].used)
        i++;
    if (i == SUSPECT_TABLE_MAX)
        return NULL;
    suspects->known->rows[i] = (struct suspect_row){.id = id, .used = true};
    if (i >= atomic_load(&suspects->known->end))
        atomic_store(&suspects->known->end, (unsigned)i + 1);
    atomic_fetch_add(&suspects->known->count, 1);
    return &suspects->known->rows[i];
}

static void row_free(struct suspects *suspects, struct suspect_row *row)
{
    row->used = false;
    atomic_fetch_sub(&suspects->known->count, 1);
}

static uint32_t row_convictions(const struct suspect_row *row)
{
    return row->hangs >= SUSPECT_HANGS     ? row->hangs
           : row->faults >= SUSPECT_FAULTS ? row->faults
           : row->kills >= SUSPECT_KILLS   ? row->kills
                                           : 0;
}

bool suspects_any(const struct suspects *suspects)
{
    return suspects != NULL && atomic_load_explicit(&suspects->known->count, memory_order_relaxed) > 0;
}

static enum suspicion row_suspicion(const struct suspect_row *row)
{
    if (row_convictions(row) == 0)
        return row->alone ? SUSPECT_ALONE : row->last ? SUSPECT_LAST : row->apart ? SUSPECT_APART : SUSPECT_NONE;
    bool over = row->suspended_until_ms != 0 && clock_monotonic_ms() >= row->suspended_until_ms;
    return !over ? SUSPECT_CONVICTED : row->ending.plugin ? SUSPECT_APART : SUSPECT_ALONE;
}

/* How often the process must end as it did last in its call alone, until it is convicted. */
static uint32_t row_left(const struct suspect_row *row)
{
    return ending_is_kill(&row->ending)   ? SUSPECT_KILLS - row->kills
           : ending_is_late(&row->ending) ? SUSPECT_HANGS - row->hangs
                                          : SUSPECT_FAULTS - row->faults;
}

static void row_tell(const struct suspect_row *row, enum suspicion suspicion, struct suspect_story *ret)
{
    char words[ENDING_WORDS_MAX];
    const char *process = row->ending.plugin ? "process of its plugin" : "worker process";
    uint32_t times = suspicion == SUSPECT_CONVICTED ? row_convictions(row) : row->times, left = row_left(row);
    ret->times = row->times;
    ending_text(&row->ending, words);
    if (suspicion == SUSPECT_CONVICTED)
        snprintf(ret->why, sizeof ret->why, "its handler ended the %s, alone, %u time%s: %.120s", process, times,
                 times == 1 ? "" : "s", words);
    else
        snprintf(ret->why, sizeof ret->why,
                 "the %s ended %u time%s in its handler's call: %.120s; it is tried in a batch of its own%s, and is a "
                 "dead letter when that ends the process %u more time%s",
                 process, times, times == 1 ? "" : "s", words,
                 suspicion == SUSPECT_ALONE ? " while no other lane runs" : "", left, left == 1 ? "" : "s");
}

enum suspicion suspects_look(struct suspects *suspects, struct event_id id, struct suspect_story *ret)
{
    if (!suspects_any(suspects))
        return SUSPECT_NONE;
    rows_lock(suspects);
    const struct suspect_row *row = row_find(suspects, id);
    enum suspicion suspicion = row == NULL ? SUSPECT_NONE : row_suspicion(row);
    if (suspicion != SUSPECT_NONE && ret != NULL)
        row_tell(row, suspicion, ret);
    pthread_mutex_unlock(&suspects->known->lock);
    return suspicion;
}

void suspects_acquit(struct suspects *suspects, struct event_id id)
{
    rows_lock(suspects);
    struct suspect_row *row = row_find(suspects, id);
    if (row != NULL)
        row_free(suspects, row);
    pthread_mutex_unlock(&suspects->known->lock);
}

void suspects_convicted(struct suspects *suspects, struct event_id id, bool comes_again)
{
    rows_lock(suspects);
    struct suspect_row *row = row_find(suspects, id);
    if (row != NULL)
        row->touched_ms = clock_monotonic_ms();
    if (row != NULL && comes_again && row->suspended_until_ms == 0) {
        row->suspended_until_ms = row->touched_ms + ((int64_t)SUSPECT_SUSPEND_MS << row->suspensions);
        row->suspensions += row->suspensions < SUSPECT_SUSPEND_DOUBLINGS;
    }
    pthread_mutex_unlock(&suspects->known->lock);
}

void suspects_forget(struct suspects *suspects)
{
    int64_t now = clock_monotonic_ms();
    if (!suspects_any(suspects))
        return;
    rows_lock(suspects);
    for (size_t i = 0, end = atomic_load(&suspects->known->end); i < end; i++)
        if (suspects->known->rows[i].used && now - suspects->known->rows[i].touched_ms > SUSPECT_FORGET_MS)
            row_free(suspects, &suspects->known->rows[i]);
    pthread_mutex_unlock(&suspects->known->lock);
}

/* ------------------------------------------------------------------------------------------------------ the process */

int suspects_asked(const struct suspects *suspects)
{
    return atomic_load(&suspects->asked);
}

void suspects_ask(struct suspects *suspects)
{
    atomic_fetch_add(&suspects->asked, 1);
    wake_worker(suspects);
}

void suspects_decide(struct suspects *suspects)
{
    if (suspects != NULL)
        atomic_store(&suspects->decided, true);
}

bool suspects_decided(const struct suspects *suspects)
{
    return atomic_load(&suspects->decided);
}

void suspects_alive(struct suspects *suspects, bool ready)
{
    if (suspects == NULL)
        return;
    atomic_store(&suspects->ready, ready);
    atomic_fetch_add(&suspects->alive, 1);
}

bool suspects_ready(const struct suspects *suspects)
{
    return atomic_load(&suspects->ready);
}

unsigned suspects_lives(const struct suspects *suspects)
{
    return atomic_load(&suspects->alive);
}

void suspects_reset(struct suspects *suspects)
{
    atomic_store(&suspects->decided, false);
    atomic_store(&suspects->ready, false);
    atomic_store(&suspects->noted_lane, 0);
    atomic_store(&suspects->handover.stage, HANDOVER_NONE);
    for (size_t i = 0; i < SUSPECT_LANES_MAX; i++) {
        atomic_store(&suspects->calls[i].phase, CALL_OVER);
        atomic_store(&suspects->calls[i].count, 0);
    }
}

/* ------------------------------------------------------------------------------------------------------- judgement */

bool suspects_overdue(const struct suspects *suspects, int64_t now_ms, int64_t grace_ms, struct process_ending *ret)
{
    int32_t overdue = -1;
    size_t open_long = 0;
    for (int32_t i = 0; i < SUSPECT_LANES_MAX; i++) {
        const struct lane_call *call = &suspects->calls[i];
        if (atomic_load_explicit(&call->phase, memory_order_acquire) != CALL_OPEN)
            continue;
        open_long += now_ms - atomic_load(&call->opened_ms) > SUSPECT_LONG_MS;
        if (now_ms > atomic_load(&call->deadline_ms) + grace_ms &&
            (overdue < 0 || atomic_load(&call->deadline_ms) < atomic_load(&suspects->calls[overdue].deadline_ms)))
            overdue = i;
    }
    if (overdue < 0)
        return false;
    *ret = (struct process_ending){.kind = ENDING_HANG,
                                   .number = (int)(now_ms - atomic_load(&suspects->calls[overdue].deadline_ms)),
                                   .lane = overdue,
                                   .unsure = open_long > 1};
    return true;
}

bool suspects_near(const struct suspects *suspects, int64_t until_ms)
{
    for (size_t i = 0; i < SUSPECT_LANES_MAX; i++)
        if (atomic_load(&suspects->calls[i].phase) == CALL_OPEN &&
            atomic_load(&suspects->calls[i].deadline_ms) - SUSPECT_NEAR_MS < until_ms)
            return true;
    return false;
}

bool suspects_one_alone(const struct suspects *suspects)
{
    for (size_t i = 0; i < SUSPECT_LANES_MAX; i++)
        if (atomic_load(&suspects->calls[i].phase) == CALL_OPEN && atomic_load(&suspects->calls[i].quarantined))
            return atomic_load(&suspects->calls[i].count) == 1;
    return false;
}

/* The calls that an ending of unknown origin is blamed on: those that are open, or when there are none those whose
 * batch goes on. SIGKILL is blamed on open ones only: mostly it comes from outside. */
static int blamed_phase(const struct suspects *suspects, const struct process_ending *ending)
{
    int phase = CALL_OVER;
    for (size_t i = 0; i < SUSPECT_LANES_MAX; i++)
        if (atomic_load(&suspects->calls[i].phase) > phase)
            phase = atomic_load(&suspects->calls[i].phase);
    return ending_is_kill(ending) && phase < CALL_OPEN ? CALL_OVER : phase;
}

static void row_blame(struct suspect_row *row, const struct process_ending *ending, bool alone)
{
    row->touched_ms = clock_monotonic_ms();
    row->suspended_until_ms = 0;
    row->ending = *ending;
    row->times++;
    bool kill = ending_is_kill(ending), hang = ending_is_late(ending);
    uint32_t *ends = kill ? &row->kills : hang ? &row->hangs : &row->faults;
    *ends += alone;
    row->apart = row->apart || hang || ending->plugin;
    if (ending->plugin)
        return; /* it is known whose call it was */
    row->alone = row->alone || (kill ? ++row->kills_seen >= SUSPECT_KILLS_SEEN : !hang || ending->unsure);
}

bool suspects_blame(struct suspects *suspects, struct event_id id, const struct process_ending *ending, bool alone)
{
    if (suspects == NULL)
        return false;
    rows_lock(suspects);
    struct suspect_row *row = row_make(suspects, id);
    if (row != NULL)
        row_blame(row, ending, alone);
    pthread_mutex_unlock(&suspects->known->lock);
    return row != NULL;
}

/* Of a call that hangs, the first event without a verdict is the most likely culprit, and those before it are none. */
static size_t blame_call(struct suspects *suspects, const struct lane_call *call, const struct process_ending *ending,
                         bool alone)
{
    unsigned count = atomic_load(&call->count), progress = atomic_load(&call->progress);
    size_t named = 0, first = ending->kind == ENDING_HANG && progress < count ? progress : 0;
    for (; first + named < count; named++) {
        struct suspect_row *row = row_make(suspects, call->ids[first + named]);
        if (row == NULL)
            break;
        row_blame(row, ending, alone);
        row->last = ending->kind == ENDING_HANG && named == 0;
    }
    return named;
}

size_t suspects_judge(struct suspects *suspects, struct process_ending *ending)
{
    size_t named = 0, events = 0, running = 0;
    int noted = atomic_load(&suspects->noted_lane);
    if (noted > 0) {
        ending->lane = noted - 1;
        if (atomic_load(&suspects->noted_kind) != 0) {
            ending->kind = (enum ending_kind)atomic_load(&suspects->noted_kind);
            ending->number = atomic_load(&suspects->noted_number);
        }
    }
    int phase = blamed_phase(suspects, ending);
    for (size_t i = 0; i < SUSPECT_LANES_MAX; i++) {
        int mine = atomic_load(&suspects->calls[i].phase);
        running += mine != CALL_OVER;
        events += mine == phase && phase != CALL_OVER ? atomic_load(&suspects->calls[i].count) : 0;
    }
    rows_lock(suspects);
    if (ending->lane >= 0) {
        const struct lane_call *call = &suspects->calls[ending->lane];
        named = blame_call(suspects, call, ending,
                           atomic_load(&call->count) == 1 && (!ending->unsure || atomic_load(&call->quarantined)));
    }
    for (size_t i = 0; ending->lane < 0 && phase != CALL_OVER && i < SUSPECT_LANES_MAX; i++)
        if (atomic_load(&suspects->calls[i].phase) == phase)
            named += blame_call(suspects, &suspects->calls[i], ending, events == 1 && running == 1);
    pthread_mutex_unlock(&suspects->known->lock);
    return named;
}
