/*
 * operator.c - see operator.h.
 */
#include "flowtest/operator.h"

#include "operate/pause.h"
#include "operate/replay.h"

#include <errno.h>

static struct operation operation_of(struct drive *drive)
{
    return (struct operation){.pipeline = drive->pipeline,
                              .bus = drive->bus,
                              .connection = drive->connection,
                              .arena = drive->arena,
                              .actor = SPAN("a flow test")};
}

int operator_pause(struct drive *drive, const char *name, struct error *error)
{
    const struct operation operation = operation_of(drive);
    struct pause pause;
    int code = pause_make(&operation, name, 0, &pause, error);
    return code != 0 ? code : drive_settle(drive, error);
}

int operator_resume(struct drive *drive, const char *name, struct error *error)
{
    const struct operation operation = operation_of(drive);
    struct pauses_listed ended;
    int code = pause_end(&operation, name, &ended, error);
    return code != 0 ? code : drive_settle(drive, error);
}

int operator_replay(struct drive *drive, const char *topic, struct error *error)
{
    const struct operation operation = operation_of(drive);
    const struct replay replay = {.filter = {.topic = span_of(topic)},
                                  .chosen = arena_format(drive->arena, "--topic %s", topic)};
    struct replay_progress progress = {0};
    int code = dead_letters_replay(&operation, &replay, &progress, error);
    if (code == 0 && progress.moved == 0)
        return progress.unfit > 0 ? error_set(error, EINVAL, "no dead letter of %s can be replayed: %s", topic,
                                              progress.unfit_why.text)
                                  : error_set(error, ENOENT, "there is no open dead letter of %s to replay", topic);
    return code != 0 ? code : drive_settle(drive, error);
}
