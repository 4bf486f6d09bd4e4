/*
 * file.c - checks of pipeline.yaml and its plugins, without a server.
 */
#include "doctor/doctor.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_POLL_MS = 300000 /* librdkafka's max.poll.interval.ms */ };

static void look_file(struct exam *exam)
{
    const struct problems *problems = exam->problems;
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->list[i];
        if (problem->warning)
            exam_warns(exam, NULL, "%s:%d:%d: %s", problem->place.file, problem->place.line, problem->place.column,
                       problem->text);
        else
            exam_bad(exam, NULL, "%s:%d:%d: %s", problem->place.file, problem->place.line, problem->place.column,
                     problem->text);
    }
    if (problems->count == 0)
        exam_good(exam, "the file and its plugins are good");
}

/* Of a member of a group of Kafka; 0: the bus is another. */
static int64_t longest_poll_ms(const struct pipeline *pipeline)
{
    if (pipeline->bus.kind != BUS_CHOICE_KAFKA)
        return 0;
    for (size_t i = 0; i < pipeline->bus.property_count; i++)
        if (strcmp(pipeline->bus.properties[i].name, "max.poll.interval.ms") == 0)
            return strtoll(pipeline->bus.properties[i].value, NULL, 10);
    return FILE_POLL_MS;
}

static void look_timeouts(struct exam *exam)
{
    const struct pipeline *pipeline = exam->pipeline;
    int64_t drain_ms = pipeline->engine.drain_timeout_ms, http_ms = pipeline->http.timeout_ms;
    if (!pipeline->whole) {
        exam_unchecked(exam, "the file has errors");
        return;
    }
    for (size_t i = 0; i < pipeline->binding_count; i++) {
        const struct binding *binding = pipeline->bindings[i];
        if (binding->timeout_ms > drain_ms)
            exam_warns(
                exam, "make engine.drain_timeout as long as the longest `timeout`",
                "%s may take %lld ms, and a stop waits %lld ms (engine.drain_timeout): it is interrupted, and its "
                "events are redelivered",
                binding->id, (long long)binding->timeout_ms, (long long)drain_ms);
    }
    int64_t call_ms = pipeline_longest_call_ms(pipeline), poll_ms = longest_poll_ms(pipeline);
    if (poll_ms > 0 && call_ms > poll_ms)
        exam_warns(
            exam, "make max.poll.interval.ms in bus.properties longer than the longest `timeout`",
            "a handler may take %lld ms, and a group puts a member out that keeps a rebalance waiting for %lld ms "
            "(max.poll.interval.ms)",
            (long long)call_ms, (long long)poll_ms);
    for (size_t i = 0; i < pipeline->request_count; i++) {
        const struct request *request = &pipeline->requests[i];
        if (request->binding->timeout_ms > http_ms)
            exam_warns(exam, "make http.timeout longer than the handler's `timeout`",
                       "%s %s: its handler may take %lld ms, and the client is told after %lld ms (http.timeout) that "
                       "there is no answer",
                       request->method, request->path, (long long)request->binding->timeout_ms, (long long)http_ms);
    }
    if (exam->finding_count == 0)
        exam_good(exam, "no timeout ends what another one lets go on");
}

static const struct check checks[] = {
    {"file",
     "what `sluice validate CONFIG` says: errors are bad, warnings warn; a plugin with another contract is an error",
     "mend that place; `sluice validate CONFIG` looks again", look_file},
    {"timeouts",
     "a handler's `timeout` is longer than `engine.drain_timeout`, than Kafka's `max.poll.interval.ms`, or that of a "
     "request than `http.timeout`",
     "change one of the two", look_timeouts},
};
const struct checks file_checks = {"the file", checks, sizeof checks / sizeof checks[0]};
