/*
 * crash.c - see crash.h. The engine is left by longjmp() in the watcher of failpoints (base/failpoint.h).
 */
#include "flowtest/crash.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "flowtest/stand_in.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum { AWAIT_MS = 30000, AWAIT_LOOK_MS = 2 };

struct armed {
    struct armed *next;
    const char *failpoint, *text;
    size_t left;  /* reaches; 0: it has been */
    bool *called; /* only when it is true: the handler was called in this batch; NULL: in any case */
};

/* How many transactions that wrote something have ended in the server. */
static const struct statement statement_ended = {
    "select pg_snapshot_xmax(s)::text::int8 - (select count(*) from pg_snapshot_xip(s)) from pg_current_snapshot() s",
    false};

static bool database_has_changed(struct crash *crash)
{
    struct rows *rows;
    struct error error;
    if (crash->looks == NULL)
        return false;
    enum store_result result = connection_once(crash->looks, &statement_ended, 0, NULL, AWAIT_MS, &rows, &error);
    int64_t ended = result == STORE_OK ? rows_int64(rows, 0, 0) : -1;
    bool changed = ended != crash->ended;
    crash->ended = ended;
    return changed;
}

/* Behind these the bus changes, or whatever a handler changes beside its transaction. */
static bool may_change(const char *name)
{
    return strcmp(name, "bus.append.before") == 0 || strcmp(name, "bus.commit.before") == 0 ||
           strcmp(name, "lane.handler.before") == 0;
}

static size_t count_reach(struct crash *crash, const char *name)
{
    size_t i = 0;
    while (i < crash->name_count && strcmp(crash->names[i].failpoint, name) != 0)
        i++;
    if (i == crash->name_count) {
        crash->names = arena_grown(crash->arena, crash->names, i, sizeof *crash->names);
        crash->names[crash->name_count++] = (struct crash_place){.failpoint = name};
    }
    return ++crash->names[i].reach;
}

static void note(struct crash *crash, const char *name)
{
    size_t reach = count_reach(crash, name);
    crash->inside = false; /* what this does here is not the engine's */
    bool changed = database_has_changed(crash) || crash->changed;
    crash->inside = true;
    if (reach == 1 || changed) {
        crash->places = arena_grown(crash->arena, crash->places, crash->place_count, sizeof *crash->places);
        crash->places[crash->place_count++] = (struct crash_place){name, reach};
    }
    crash->changed = may_change(name);
}

static void reached(const char *name, void *context)
{
    struct crash *crash = context;
    if (!crash->inside)
        return;
    if (crash->notes)
        note(crash, name);
    for (struct armed *armed = crash->armed; armed != NULL; armed = armed->next) {
        if (armed->called != NULL && strcmp(name, "lane.claim.before") == 0)
            *armed->called = false; /* a batch begins */
        if (armed->left == 0 || strcmp(armed->failpoint, name) != 0 || (armed->called != NULL && !*armed->called) ||
            --armed->left > 0)
            continue;
        crash->died = armed->text;
        crash->inside = false;
        longjmp(crash->out, 1);
    }
}

/* Calls each with the descriptor of every open socket. */
static void each_socket(void (*each)(struct crash *crash, int descriptor), struct crash *crash)
{
    DIR *folder = opendir("/proc/self/fd");
    struct stat status;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        char *end;
        long descriptor = strtol(entry->d_name, &end, 10);
        if (end != entry->d_name && descriptor < CRASH_DESCRIPTORS_MAX && fstat((int)descriptor, &status) == 0 &&
            S_ISSOCK(status.st_mode))
            each(crash, (int)descriptor);
    }
    if (folder != NULL)
        closedir(folder);
}

static void keep_socket(struct crash *crash, int descriptor)
{
    crash->kept[descriptor] = true;
}

/* It stays open: the number of a closed one could be given to another connection, which a plugin that outlived the
 * death would take for its own. */
static void cut_socket(struct crash *crash, int descriptor)
{
    if (!crash->kept[descriptor])
        (void)shutdown(descriptor, SHUT_RDWR);
}

void crash_begin(struct crash *crash, struct arena *arena)
{
    *crash = (struct crash){.arena = arena};
    each_socket(keep_socket, crash);
    failpoints_watch(reached, crash);
}

void crash_note(struct crash *crash, struct connection *looks)
{
    crash->notes = true;
    crash->looks = looks;
    crash->ended = -1;
}

static struct armed *arm(struct crash *crash, const char *failpoint, size_t reach, const char *text)
{
    struct armed *armed = arena_new(crash->arena, struct armed);
    struct armed **last = &crash->armed;
    while (*last != NULL)
        last = &(*last)->next;
    *armed = (struct armed){.failpoint = failpoint, .text = text, .left = reach};
    *last = armed;
    return armed;
}

int crash_arm(struct crash *crash, const struct pipeline *pipeline, const struct step *step, struct error *error)
{
    const char *name = step->crash.name;
    if (step->crash.kind == CRASH_AT) {
        (void)arm(crash, name, 1, arena_format(crash->arena, "at %s", name));
        return 0;
    }
    const char *text = arena_format(crash->arena, "after %s", name);
    for (const struct armed *other = crash->armed; other != NULL; other = other->next)
        if (strcmp(other->text, text) == 0) { /* its next call but one */
            arm(crash, other->failpoint, 1, text)->called = other->called;
            return 0;
        }
    bool recorded = false, *called = arena_new(crash->arena, bool);
    if (stand_in_watch(pipeline, name, called, &recorded, crash->arena, error) != 0)
        return -EINVAL;
    arm(crash, recorded && pipeline->store.present ? "lane.commit.after" : "lane.handler.after", 1, text)->called =
        called;
    return 0;
}

void crash_arm_place(struct crash *crash, struct crash_place place)
{
    (void)arm(crash, place.failpoint, place.reach,
              arena_format(crash->arena, "at %s, reach %zu", place.failpoint, place.reach));
}

const char *crash_missed(const struct crash *crash)
{
    for (const struct armed *armed = crash->armed; armed != NULL; armed = armed->next)
        if (armed->left > 0)
            return armed->text;
    return NULL;
}

int crash_run(struct crash *crash, int (*run)(void *context), void *context)
{
    if (setjmp(crash->out) != 0)
        return -EOWNERDEAD;
    (void)database_has_changed(crash); /* by the test itself */
    crash->inside = true;
    int code = run(context);
    crash->inside = false;
    crash->changed = database_has_changed(crash) || crash->changed;
    return code;
}

static const struct statement statement_sessions = {
    "select count(*) from pg_stat_activity "
    "where datname = current_database() and usename = current_user and pid <> pg_backend_pid()",
    false};

void crash_cut(struct crash *crash)
{
    each_socket(cut_socket, crash);
}

int crash_await(struct connection *connection, struct error *error)
{
    const struct timespec pause = timespec_of_ms(AWAIT_LOOK_MS); /* of real time: the server's is */
    for (int looks = 0; looks < AWAIT_MS / AWAIT_LOOK_MS; looks++) {
        struct rows *rows;
        if (connection_once(connection, &statement_sessions, 0, NULL, AWAIT_MS, &rows, error) != STORE_OK)
            return -EIO;
        if (rows_int64(rows, 0, 0) == 0)
            return 0;
        nanosleep(&pause, NULL);
    }
    return error_set(error, ETIMEDOUT, "the server does not end the sessions of a process that died");
}
