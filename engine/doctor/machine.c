/*
 * machine.c - checks of the machine: limits of files and memory. They are those of a running engine; without one, those
 * of this command, which are its shell's.
 */
#include "doctor/doctor.h"

#include "doctor/process.h"
#include "run/engine.h"

#include <unistd.h>

enum {
    MACHINE_FILES = 64,        /* beside connections: plugins, the log, epoll, pipes */
    MACHINE_CLIENTS = 1024,    /* of HTTP, at most half of the files */
    MACHINE_BROKER_FILES = 16, /* of each client of librdkafka: its brokers and pipes */
};

/* Whose limits are looked at. */
static int looked_at(const struct exam *exam, const char **ret_whose)
{
    struct process engine = process_running(exam->config);
    *ret_whose = engine.pid > 0 ? "the running engine" : "this shell";
    return engine.pid > 0 ? engine.pid : (int)getpid();
}

static void look_files(struct exam *exam)
{
    const struct pipeline *pipeline = exam->pipeline;
    const char *whose;
    int64_t limit = process_limit(looked_at(exam, &whose), "Max open files");
    int64_t needed = MACHINE_FILES + (pipeline->store.present ? engine_connections(pipeline) : 0);
    if (pipeline->bus.kind == BUS_CHOICE_KAFKA)
        needed += MACHINE_BROKER_FILES * ((int64_t)pipeline->group_count + 1);
    int64_t clients = pipeline->http.present ? MACHINE_CLIENTS : 0, most = needed + clients;
    int64_t left = pipeline->http.present ? limit / 2 : limit; /* the listener takes no more than the other half */
    if (left < needed)
        exam_bad(exam, NULL,
                 "%s may open %lld files, and an engine needs %lld beside those of HTTP clients, which may "
                 "have half",
                 whose, (long long)limit, (long long)needed);
    else if (limit - needed < clients)
        exam_warns(exam, NULL, "%s may open %lld files: HTTP has %lld connections instead of %d", whose,
                   (long long)limit, (long long)limit / 2, MACHINE_CLIENTS);
    else
        exam_good(exam, "%s may open %lld files, and an engine needs %lld", whose, (long long)limit, (long long)most);
}

static void look_memory(struct exam *exam)
{
    const char *whose;
    int pid = looked_at(exam, &whose);
    int64_t limit = process_memory("", pid), space = process_limit(pid, "Max address space");
    int64_t needed = engine_memory(exam->pipeline);
    limit = space < limit ? space : limit;
    if (limit < needed)
        exam_warns(exam, NULL,
                   "%s may have %lld MiB (its cgroup, its limits, or the machine), and buffers of this file may take "
                   "%lld MiB under load",
                   whose, (long long)limit >> 20, (long long)needed >> 20);
    else
        exam_good(exam, "%s may have %lld MiB, and buffers of this file take %lld MiB at most", whose,
                  (long long)limit >> 20, (long long)needed >> 20);
}

static const struct check checks[] = {
    {"open_files",
     "the limit of open files leaves too few for the engine's connections; it warns when HTTP has fewer "
     "than 1024",
     "raise it: LimitNOFILE= in the unit, or ulimit -n", look_files},
    {"memory", "the cgroup, `ulimit -v` or the machine has less memory than the buffers of the file take at most",
     "raise the limit (MemoryMax=), or use fewer lanes and taps", look_memory},
};
const struct checks machine_checks = {"this machine", checks, sizeof checks / sizeof checks[0]};
