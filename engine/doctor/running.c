/*
 * running.c - checks of the engine that runs the file on this machine: what it says of itself over HTTP, and whether it
 * runs what the files are now.
 */
#include "doctor/doctor.h"

#include "doctor/process.h"
#include "event/json.h"
#include "trace/sender.h"

#include <stdlib.h>
#include <sys/stat.h>

enum {
    RUNNING_ANSWER_MS = 3000,
    RUNNING_START_MS = 200, /* the start of a process is known to a tick, and it reads its files then */
};

/* False: it does not run here, which is said. */
static bool find(struct exam *exam, struct process *ret)
{
    *ret = process_running(exam->config);
    if (ret->pid == 0)
        exam_unchecked(exam, "no `sluice run` of this file on this machine");
    return ret->pid != 0;
}

/* ------------------------------------------------------------------------------------------------------ over HTTP */

/* NULL: there is no address to ask at. */
static const char *url_of(const struct exam *exam, const char *path)
{
    const struct pipeline *pipeline = exam->pipeline;
    if (!pipeline->http.present || pipeline->http.port == 0)
        return NULL;
    return arena_format(exam->arena, "%s%s", pipeline_url(pipeline, exam->arena), path);
}

/* The body of the answer, in the arena. A status of 0: there was none, and `why` says why. */
static struct span ask(const struct exam *exam, const char *url, struct sender_answer *ret)
{
    struct sender *sender = NULL;
    struct error error = {0};
    *ret = (struct sender_answer){0};
    if (sender_create_engine(url, exam->pipeline->http.token, RUNNING_ANSWER_MS, &sender, &error) != 0) {
        snprintf(ret->why, sizeof ret->why, "%.*s", SENDER_WHY_MAX - 1, error.text);
        return (struct span){0};
    }
    sender_get(sender, ret);
    struct span body = span_of(arena_string(exam->arena, sender_body(sender)));
    sender_destroy(sender);
    return body;
}

/* {"error":…, "message":…, "reasons":[…]} of /readyz. */
static void say_reasons(struct exam *exam, struct span body)
{
    struct json_object object, reasons = {0};
    const struct json_member *list = json_scan(body, exam->arena, &object, NULL) == 0
                                         ? json_find(&object, SPAN("reasons"))
                                         : NULL;
    if (list != NULL && list->kind == JSON_KIND_ARRAY)
        json_elements(list->value, exam->arena, &reasons);
    for (size_t i = 0; i < reasons.count; i++) {
        const struct json_member *reason = &reasons.members[i];
        if (reason->kind == JSON_KIND_STRING)
            exam_bad(exam, NULL, "%s",
                     arena_string(exam->arena, json_unescape(reason->value, reason->value_escaped, exam->arena)));
    }
    if (exam->finding_count == 0)
        exam_bad(exam, NULL, "/readyz answers 503, without a reason");
}

static void look_ready(struct exam *exam)
{
    struct process engine;
    struct sender_answer answer;
    const char *url = url_of(exam, "/readyz");
    if (!find(exam, &engine))
        return;
    if (url == NULL) {
        exam_unchecked(exam, exam->pipeline->http.present
                                 ? "http.listen has port 0: the engine took any free one, which its log names"
                                 : "the file has no 'http:', so the engine answers nowhere");
        return;
    }
    struct span body = ask(exam, url, &answer);
    if (answer.status == 200)
        exam_good(exam, "the engine (pid %d) takes work, reads what it is assigned, and no handler has stopped",
                  engine.pid);
    else if (answer.status == 503)
        say_reasons(exam, body);
    else if (answer.status == 0)
        exam_warns(exam, "read its log; where it listens elsewhere, set the variables that it was started with",
                   "the engine (pid %d) does not answer at %s: %s", engine.pid, url, answer.why);
    else
        exam_bad(exam, "find out who listens there", "%s answers %d, as no engine does", url, answer.status);
}

/* ---------------------------------------------------------------------------------------------------------- files */

/* When what the engine runs was read, since 1970; 0: it does not say. */
static int64_t read_ms(const struct exam *exam)
{
    static const char name[] = "\nsluice_files_read_timestamp_seconds ";
    struct sender_answer answer;
    const char *url = url_of(exam, "/metrics");
    if (url == NULL)
        return 0;
    struct span body = ask(exam, url, &answer);
    const char *line = answer.status == 200 && body.at != NULL ? strstr(body.at, name) : NULL;
    return line == NULL ? 0 : strtoll(line + sizeof name - 1, NULL, 10) * 1000;
}

static void look_changed(struct exam *exam)
{
    const struct pipeline *pipeline = exam->pipeline;
    struct process engine;
    if (!find(exam, &engine))
        return;
    int64_t taken_ms = read_ms(exam);
    if (taken_ms == 0)
        taken_ms = engine.started_ms + RUNNING_START_MS;
    for (size_t i = 0; i <= pipeline->plugin_count; i++) {
        const char *path = i == pipeline->plugin_count ? exam->config : pipeline->plugins[i].path;
        struct stat status;
        if (path == NULL || stat(path, &status) != 0)
            continue;
        int64_t changed_ms = (int64_t)status.st_ctim.tv_sec * 1000 + status.st_ctim.tv_nsec / 1000000;
        if (changed_ms > taken_ms)
            exam_warns(exam, NULL,
                       "%s was changed %s after the engine (pid %d) read it, which goes on with what it was", path,
                       exam_duration(exam, (changed_ms - taken_ms) / 1000), engine.pid);
    }
    if (exam->finding_count == 0)
        exam_good(exam, "the engine (pid %d) runs what the file and its plugins are now", engine.pid);
}

static const struct check checks[] = {
    {"ready",
     "`/readyz` of the engine on this machine: each reason why it takes no work, does not read a partition, or why "
     "a handler has stopped; or it does not answer",
     "mend what the sentence names; its log has the history", look_ready},
    {"changed_files",
     "the file or a plugin was changed or replaced after the engine on this machine read it, at its start or at its "
     "latest "
     "reload",
     "`sluice reload CONFIG` takes it up", look_changed},
};
const struct checks running_checks = {"the running engine", checks, sizeof checks / sizeof checks[0]};
