/*
 * perform.c - see perform.h.
 */
#include "flowtest/perform.h"

#include "flowtest/clock_users.h"
#include "flowtest/coverage.h"
#include "flowtest/expect.h"
#include "flowtest/operator.h"
#include "flowtest/stand_in.h"
#include "flowtest/told.h"
#include "flowtest/value.h"

#include <errno.h>

enum { PERFORM_ARENA_BLOCK = 256 * 1024, PERFORM_ARENA_MAX = 1024 * 1024 * 1024 };

struct performance {
    struct drive drive;
    const struct flow *flow;
    struct told *told;
    size_t told_count;
    struct looked looked;
    const struct repetition *repetition;
    FILE *out;
};

static size_t event_count(struct performance *performance)
{
    struct seen *list;
    size_t count = 0;
    (void)drive_events(&performance->drive, &list, &count, NULL);
    return count;
}

static void tell(struct performance *performance, const char *text)
{
    performance->told = arena_grown(performance->drive.arena, performance->told, performance->told_count,
                                    sizeof *performance->told);
    performance->told[performance->told_count++] = (struct told){drive_elapsed_ms(), event_count(performance), text};
}

/* Before an engine's metrics are gone. */
static void note_coverage(struct performance *performance)
{
    if (performance->repetition->coverage && performance->repetition->notes != NULL)
        coverage_note(&performance->drive, performance->repetition->notes);
}

static void tell_death(void *context, const char *where)
{
    struct performance *performance = context;
    note_coverage(performance);
    tell(performance,
         arena_format(performance->drive.arena, "the process dies %s, and the engine starts again", where));
}

/* `crash: everywhere` is done by whoever repeats the flow. */
static int step_crash(struct performance *performance, const struct step *step, struct error *error)
{
    struct crash *crash = &performance->drive.crash;
    const struct repetition *repetition = performance->repetition;
    if (step->crash.kind != CRASH_EVERYWHERE)
        return crash_arm(crash, performance->drive.pipeline, step, error);
    if (repetition->place != NULL)
        crash_arm_place(crash, *repetition->place);
    else
        return drive_note_places(&performance->drive, error);
    return 0;
}

static int step_request(struct performance *performance, const struct step *step, struct reply *reply,
                        struct error *error)
{
    struct drive *drive = &performance->drive;
    size_t own = performance->told_count - 1; /* others may follow it, when the process dies */
    const char *body = step->body == NULL ? NULL : value_text(step->body, drive->arena);
    int code = drive_request(drive, step->method, step->path, span_of(body), step->idempotency_key, reply, error);
    struct told *told = &performance->told[own];
    told->text = arena_format(drive->arena, "%s → %d %.*s", told->text, reply->status, (int)reply->json.length,
                              reply->json.at == NULL ? "" : reply->json.at);
    return code;
}

static int step_do(struct performance *performance, const struct step *step, struct reply *reply, struct error *error)
{
    struct drive *drive = &performance->drive;
    char text[32];
    switch (step->kind) {
    case STEP_EXPECT:
        return 0;
    case STEP_REQUEST:
        tell(performance, arena_format(drive->arena, "request %s %s", step->method, step->path));
        return step_request(performance, step, reply, error);
    case STEP_EMIT:
        tell(performance, arena_format(drive->arena, "emit %s", step->topic));
        return drive_emit(drive, step->topic,
                          step->body == NULL ? SPAN("{}") : span_of(value_text(step->body, drive->arena)), step->key,
                          step->id, error);
    case STEP_DUPLICATE:
        tell(performance, arena_format(drive->arena, "duplicate %s", step->topic == NULL ? "last" : step->topic));
        return drive_duplicate(drive, step->topic, error);
    case STEP_SQL:
        tell(performance, arena_format(drive->arena, "sql %s", step->sql));
        return drive_sql(drive, step->sql, error);
    case STEP_FAIL:
        tell(performance, arena_format(drive->arena, "fail %s", step->fail.handler));
        return stand_in(drive->pipeline, step, drive->arena, error);
    case STEP_CRASH:
        tell(performance, arena_format(drive->arena, "crash %s%s",
                                       step->crash.kind == CRASH_AFTER ? "after "
                                       : step->crash.kind == CRASH_AT  ? "at "
                                                                       : "everywhere",
                                       step->crash.name == NULL ? "" : step->crash.name));
        return step_crash(performance, step, error);
    case STEP_PAUSE:
        tell(performance, arena_format(drive->arena, "pause %s", step->name));
        return operator_pause(drive, step->name, error);
    case STEP_RESUME:
        tell(performance, arena_format(drive->arena, "resume %s", step->name));
        return operator_resume(drive, step->name, error);
    case STEP_REPLAY:
        tell(performance, arena_format(drive->arena, "replay %s", step->topic));
        return operator_replay(drive, step->topic, error);
    case STEP_RELOAD:
        note_coverage(performance);
        tell(performance, arena_format(drive->arena, "reload %s", step->file));
        return drive_reload(drive, step->file, error);
    case STEP_ADVANCE:
        tell(performance, arena_format(drive->arena, "advance %s", duration_text(step->advance_ms, text)));
        return drive_advance(drive, step->advance_ms, error);
    case STEP_RUN:
        tell(performance, "run");
        return drive_run(drive, error);
    }
    return 0;
}

static bool print_miss(const struct performance *performance, const struct miss *miss)
{
    FILE *out = performance->out;
    fprintf(out, "    %s:%d:%d: %s\n", miss->place.file, miss->place.line, miss->place.column, miss->what);
    fprintf(out, "      expected  %s\n", miss->expected);
    fprintf(out, "      got       %s\n", miss->actual == NULL ? "nothing" : miss->actual);
    if (miss->nearest != NULL)
        fprintf(out, "      nearest   %s\n", miss->nearest);
    return false;
}

static bool print_error(const struct performance *performance, struct place place, const struct error *error)
{
    fprintf(performance->out, "    %s:%d:%d: %s%s%s\n", place.file, place.line, place.column, error->text,
            error->hint[0] == '\0' ? "" : "; ", error->hint);
    return false;
}

static bool perform_step(struct performance *performance, const struct step *step)
{
    const struct flow *flow = performance->flow;
    struct reply reply = {0};
    const struct looking looking = {
        .reply = step->kind == STEP_REQUEST ? &reply : NULL, .end = step->at_end, .distinct = flow->crashes};
    struct error error = {0};
    struct miss miss;
    int code = step_do(performance, step, &reply, &error);
    if (code != 0)
        return print_error(performance, step->place, &error);
    if (step->at_end && crash_missed(&performance->drive.crash) != NULL) {
        error_set(&error, ENOENT, "the process did not die %s: the flow did not come there after the step `crash`",
                  crash_missed(&performance->drive.crash));
        return print_error(performance, step->place, &error);
    }
    return (performance->repetition->place != NULL && !step->at_end) ||
           expect_holds(&performance->drive, &step->expect, &looking, &performance->looked, &miss) ||
           print_miss(performance, &miss);
}

static bool perform_steps(struct performance *performance)
{
    const struct flow *flow = performance->flow;
    for (size_t i = 0; i < flow->step_count; i++) {
        if (perform_step(performance, &flow->steps[i]))
            continue;
        told_print(&performance->drive, performance->told, performance->told_count, performance->out);
        return false;
    }
    return true;
}

bool flow_perform(const struct flow_file *file, const struct flow *flow, struct drive_parts *parts,
                  const struct repetition *repetition, FILE *out)
{
    struct arena *arena = arena_create(PERFORM_ARENA_BLOCK, PERFORM_ARENA_MAX);
    struct performance performance = {
        .drive = {.arena = arena, .died = tell_death}, .flow = flow, .repetition = repetition, .out = out};
    struct drive *drive = &performance.drive;
    struct error error = {0};
    drive->context = &performance;
    if (drive_start(drive, parts, &error) != 0 || (file->sql != NULL && drive_sql(drive, file->sql, &error) != 0) ||
        (flow->sql != NULL && drive_sql(drive, flow->sql, &error) != 0))
        return print_error(&performance, flow->place, &error);
    bool good = perform_steps(&performance);
    note_coverage(&performance);
    if (repetition->notes != NULL && drive->connection != NULL)
        (void)clock_users_prepared(drive->connection, repetition->notes, &error);
    for (size_t i = 0; good && repetition->notes != NULL && i < drive->crash.place_count; i++)
        fprintf(repetition->notes, "place %s %zu\n", drive->crash.places[i].failpoint, drive->crash.places[i].reach);
    return good;
}
