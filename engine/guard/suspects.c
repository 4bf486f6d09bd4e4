/*
 * suspects.c - the shared table, the handler of fault signals, and who is convicted.
 */
#include "guard/suspects.h"

#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct slot {          /* the call that a lane is in */
    atomic_uint count; /* 0: none */
    struct event_id ids[SUSPECT_CALL_MAX];
};

struct suspect_row {
    struct event_id id;
    uint32_t convictions;
    bool used;
};

struct suspects {
    atomic_int faulted;   /* lane + 1 of the call that faulted; 0: none */
    atomic_int clean;     /* the worker leaves on purpose */
    atomic_uint count;    /* rows in use */
    pthread_mutex_t lock; /* rows; shared between processes and robust */
    struct suspect_row rows[SUSPECT_TABLE_MAX];
    struct slot slots[SUSPECT_LANES_MAX];
};

static struct suspects *watched;               /* for the signal handler alone */
static _Thread_local int32_t thread_lane = -1; /* for the signal handler alone */

struct suspects *suspects_create(void)
{
    struct suspects *suspects = mmap(NULL, sizeof *suspects, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (suspects == MAP_FAILED)
        return NULL;
    pthread_mutexattr_t shared;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&suspects->lock, &shared);
    pthread_mutexattr_destroy(&shared);
    return suspects;
}

static void on_fault(int signal)
{
    if (watched != NULL && thread_lane >= 0 && atomic_load(&watched->slots[thread_lane].count) > 0) {
        int none = 0;
        atomic_compare_exchange_strong(&watched->faulted, &none, thread_lane + 1);
    }
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(signal, &plain, NULL);
    raise(signal);
}

/* exit() where the engine did not call it: a plugin did. */
static void on_exit_called(void)
{
    if (watched != NULL && atomic_load(&watched->clean) == 0 && thread_lane >= 0)
        abort();
}

void suspects_watch(struct suspects *suspects)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK | SA_NODEFER};
    watched = suspects;
    atomic_store(&suspects->faulted, 0);
    atomic_store(&suspects->clean, 0);
    for (size_t i = 0; i < SUSPECT_LANES_MAX; i++)
        atomic_store(&suspects->slots[i].count, 0);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigaction(faults[i], &action, NULL);
    atexit(on_exit_called);
}

void suspects_clean(struct suspects *suspects)
{
    if (suspects != NULL)
        atomic_store(&suspects->clean, 1);
}

void suspects_lane(struct suspects *suspects, uint32_t lane)
{
    enum { STACK_SIZE = 64 * 1024 };
    if (suspects == NULL || lane >= SUSPECT_LANES_MAX)
        return;
    /* Pages of its own: the sanitizers give a thread's signal stack back to the kernel when it ends. */
    stack_t stack = {.ss_size = STACK_SIZE,
                     .ss_sp = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
    if (stack.ss_sp != MAP_FAILED)
        sigaltstack(&stack, NULL); /* kept as long as the thread, and that is as long as the process */
    thread_lane = (int32_t)lane;
}

void suspects_begin(struct suspects *suspects, uint32_t lane, size_t count)
{
    if (suspects != NULL && lane < SUSPECT_LANES_MAX)
        atomic_store_explicit(&suspects->slots[lane].count,
                              count > SUSPECT_CALL_MAX ? SUSPECT_CALL_MAX : (unsigned)count, memory_order_release);
}

void suspects_add(struct suspects *suspects, uint32_t lane, size_t index, struct event_id id)
{
    if (suspects != NULL && lane < SUSPECT_LANES_MAX && index < SUSPECT_CALL_MAX)
        suspects->slots[lane].ids[index] = id;
}

void suspects_end(struct suspects *suspects, uint32_t lane)
{
    if (suspects != NULL && lane < SUSPECT_LANES_MAX)
        atomic_store_explicit(&suspects->slots[lane].count, 0, memory_order_release);
}

void suspects_hang(struct suspects *suspects, uint32_t lane)
{
    if (suspects != NULL && lane < SUSPECT_LANES_MAX) {
        int none = 0;
        atomic_compare_exchange_strong(&suspects->faulted, &none, (int)lane + 1);
    }
    abort();
}

static void rows_lock(struct suspects *suspects)
{
    if (pthread_mutex_lock(&suspects->lock) == EOWNERDEAD)
        pthread_mutex_consistent(
            &suspects->lock); /* rows are written whole: a dead writer leaves at worst one unused */
}

static struct suspect_row *row_find(struct suspects *suspects, struct event_id id, bool make)
{
    struct suspect_row *free_row = NULL;
    for (size_t i = 0; i < SUSPECT_TABLE_MAX; i++) {
        struct suspect_row *row = &suspects->rows[i];
        if (row->used && memcmp(&row->id, &id, sizeof id) == 0)
            return row;
        if (!row->used && free_row == NULL)
            free_row = row;
    }
    if (!make || free_row == NULL)
        return NULL;
    *free_row = (struct suspect_row){.id = id, .used = true};
    atomic_fetch_add(&suspects->count, 1);
    return free_row;
}

static size_t blame(struct suspects *suspects, const struct slot *slot, bool alone)
{
    unsigned count = atomic_load(&slot->count);
    size_t named = 0;
    for (; named < count; named++) {
        struct suspect_row *row = row_find(suspects, slot->ids[named], true);
        if (row == NULL)
            break;
        row->convictions += alone;
    }
    return named;
}

size_t suspects_judge(struct suspects *suspects, bool *ret_crashed)
{
    int lane = atomic_load(&suspects->faulted) - 1;
    size_t named = 0, events = 0;
    *ret_crashed = lane >= 0;
    for (size_t i = 0; i < SUSPECT_LANES_MAX; i++)
        events += atomic_load(&suspects->slots[i].count);
    rows_lock(suspects);
    if (lane >= 0)
        named = blame(suspects, &suspects->slots[lane], atomic_load(&suspects->slots[lane].count) == 1);
    for (size_t i = 0; lane < 0 && i < SUSPECT_LANES_MAX; i++)
        named += blame(suspects, &suspects->slots[i], events == 1);
    pthread_mutex_unlock(&suspects->lock);
    atomic_store(&suspects->faulted, 0);
    return named;
}

bool suspects_any(const struct suspects *suspects)
{
    return suspects != NULL && atomic_load_explicit(&suspects->count, memory_order_relaxed) > 0;
}

enum suspicion suspects_look(struct suspects *suspects, struct event_id id)
{
    if (!suspects_any(suspects))
        return SUSPECT_NONE;
    rows_lock(suspects);
    const struct suspect_row *row = row_find(suspects, id, false);
    enum suspicion suspicion = row == NULL                               ? SUSPECT_NONE
                               : row->convictions >= SUSPECT_CONVICTIONS ? SUSPECT_CONVICTED
                                                                         : SUSPECT_ALONE;
    pthread_mutex_unlock(&suspects->lock);
    return suspicion;
}

void suspects_acquit(struct suspects *suspects, struct event_id id)
{
    rows_lock(suspects);
    struct suspect_row *row = row_find(suspects, id, false);
    if (row != NULL) {
        row->used = false;
        atomic_fetch_sub(&suspects->count, 1);
    }
    pthread_mutex_unlock(&suspects->lock);
}
