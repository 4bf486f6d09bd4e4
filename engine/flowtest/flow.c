/*
 * flow.c - see flow.h.
 */
#include "flowtest/flow.h"

#include "base/failpoint.h"

#include <string.h>

static const int64_t ADVANCE_MAX_MS = 100LL * 366 * 24 * 3600 * 1000;

struct reading {
    struct arena *arena;
    struct problems *problems;
    const char *file;
};

static struct node *want(struct reading *reading, struct node *node, enum node_kind kind, const char *what)
{
    static const char *const kinds[] = {
        [NODE_SCALAR] = "a text", [NODE_MAPPING] = "a mapping", [NODE_SEQUENCE] = "a list"};
    if (node == NULL || node->kind == kind)
        return node;
    if (!node->broken)
        problem_add(reading->problems, node->place, "wrong_type", "%s must be %s, got %s", what, kinds[kind],
                    node_shown(node, reading->arena));
    return NULL;
}

static const char *text_at(struct reading *reading, const struct node *mapping, const char *key, const char *what)
{
    const char *text = NULL;
    struct node *node = node_get(mapping, key);
    if (node != NULL)
        (void)node_text(node, what, &text, reading->problems);
    return text;
}

/* `given: {sql: TEXT}` */
static const char *read_given(struct reading *reading, const struct node *mapping)
{
    static const char *const known[] = {"sql", NULL};
    struct node *given = want(reading, node_get(mapping, "given"), NODE_MAPPING, "given");
    if (given == NULL)
        return NULL;
    const char *sql = text_at(reading, given, "sql", "given.sql");
    node_refuse_unknown(given, "given", known, reading->problems);
    return sql;
}

static void read_expect(struct reading *reading, struct node *node, bool of_request, struct expectation *ret)
{
    static const char *const known[] = {"status", "reply", "events", "dead_letters", "sql", "chains", "metrics", NULL};
    if (want(reading, node, NODE_MAPPING, "expect") == NULL)
        return;
    *ret = (struct expectation){
        .status = want(reading, node_get(node, "status"), NODE_SCALAR, "expect.status"),
        .reply = node_get(node, "reply"),
        .events = want(reading, node_get(node, "events"), NODE_SEQUENCE, "expect.events"),
        .dead_letters = want(reading, node_get(node, "dead_letters"), NODE_SEQUENCE, "expect.dead_letters"),
        .sql = want(reading, node_get(node, "sql"), NODE_MAPPING, "expect.sql"),
        .chains = want(reading, node_get(node, "chains"), NODE_MAPPING, "expect.chains"),
        .metrics = want(reading, node_get(node, "metrics"), NODE_MAPPING, "expect.metrics"),
    };
    node_refuse_unknown(node, "expect", known, reading->problems);
    const struct node *reply = ret->status != NULL ? ret->status : ret->reply;
    if (reply != NULL && !of_request)
        problem_add(reading->problems, reply->place, "no_request",
                    "status and reply are of a request; write them into the `expect` of its step");
}

static void read_request(struct reading *reading, struct node *node, struct step *step)
{
    static const char *const methods[][2] = {
        {"get", "GET"}, {"post", "POST"}, {"put", "PUT"}, {"patch", "PATCH"}, {"delete", "DELETE"}};
    static const char *const known[] = {"get", "post", "put", "patch", "delete", "body", "idempotency_key", NULL};
    step->kind = STEP_REQUEST;
    if (want(reading, node, NODE_MAPPING, "request") == NULL)
        return;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        const char *path = text_at(reading, node, methods[i][0], "the path of a request");
        if (path != NULL && step->path != NULL)
            problem_add(reading->problems, node->place, "two_methods",
                        "a request has one method and path, got %s and %s", step->method, methods[i][1]);
        if (path != NULL) {
            step->method = methods[i][1];
            step->path = path;
        }
    }
    step->body = node_get(node, "body");
    step->idempotency_key = text_at(reading, node, "idempotency_key", "idempotency_key");
    node_refuse_unknown(node, "request", known, reading->problems);
    if (step->path == NULL)
        problem_add(reading->problems, node->place, "no_method",
                    "a request needs a method and path, as in {post: /payments}");
}

static void read_emit(struct reading *reading, struct node *node, struct step *step)
{
    static const char *const known[] = {"topic", "data", "key", "id", NULL};
    step->kind = STEP_EMIT;
    if (want(reading, node, NODE_MAPPING, "emit") == NULL)
        return;
    step->topic = text_at(reading, node, "topic", "emit.topic");
    step->body = want(reading, node_get(node, "data"), NODE_MAPPING, "emit.data");
    step->key = text_at(reading, node, "key", "emit.key");
    step->id = text_at(reading, node, "id", "emit.id");
    node_refuse_unknown(node, "emit", known, reading->problems);
    if (step->topic == NULL)
        problem_add(reading->problems, node->place, "no_topic",
                    "emit needs a topic, as in {topic: payment.try, data: {…}}");
}

static void read_duplicate(struct reading *reading, struct node *node, struct step *step)
{
    step->kind = STEP_DUPLICATE;
    (void)node_text(node, "duplicate", &step->topic, reading->problems);
    if (step->topic != NULL && strcmp(step->topic, "last") == 0)
        step->topic = NULL;
}

static void read_fail(struct reading *reading, struct node *node, struct step *step)
{
    static const char *const known[] = {"handler", "outcome", "retry", "unavailable", "times", NULL};
    size_t ways = 0;
    step->kind = STEP_FAIL;
    step->fail.times = 1;
    if (want(reading, node, NODE_MAPPING, "fail") == NULL)
        return;
    step->fail.handler = text_at(reading, node, "handler", "fail.handler");
    for (enum fail_kind kind = FAIL_OUTCOME; kind <= FAIL_UNAVAILABLE; kind++) {
        const char *word = text_at(reading, node, known[kind], known[kind]);
        if (word == NULL)
            continue;
        step->fail.kind = kind;
        step->fail.word = word;
        ways++;
    }
    struct node *times = node_get(node, "times");
    if (times != NULL)
        (void)node_int(times, "times", 1, 1000000, &step->fail.times, reading->problems);
    node_refuse_unknown(node, "fail", known, reading->problems);
    if (step->fail.handler == NULL || ways != 1)
        problem_add(reading->problems, node->place, "no_failure",
                    "fail needs a handler and one of outcome, retry and unavailable, as in "
                    "{handler: payment.charge, retry: a lock, times: 2}");
}

struct names {
    const char **list; /* NULL-terminated */
    size_t count;
    struct arena *arena;
};

static void add_name(const char *name, void *context)
{
    struct names *names = context;
    names->list = arena_grown(names->arena, names->list, names->count + 1, sizeof *names->list);
    names->list[names->count++] = name;
    names->list[names->count] = NULL;
}

static void check_failpoint(struct reading *reading, const struct node *node, const char *name)
{
    struct names names = {.list = arena_array(reading->arena, const char *, 1), .arena = reading->arena};
    failpoints_list(add_name, &names);
    for (size_t i = 0; i < names.count; i++)
        if (strcmp(names.list[i], name) == 0)
            return;
    const char *near = nearest_name(name, names.list);
    problem_add(reading->problems, node->place, "no_failpoint",
                "no failpoint is called '%s'%s%s%s; `sluice version --failpoints` lists them", name,
                near == NULL ? "" : "; did you mean '", near == NULL ? "" : near, near == NULL ? "" : "'?");
}

static void read_crash(struct reading *reading, struct node *node, struct step *step)
{
    const char *text = NULL;
    step->kind = STEP_CRASH;
    if (!node_text(node, "crash", &text, reading->problems))
        return;
    if (strcmp(text, "everywhere") == 0) {
        step->crash.kind = CRASH_EVERYWHERE;
        return;
    }
    bool at = strncmp(text, "at ", 3) == 0;
    if (!at && strncmp(text, "after ", 6) != 0) {
        problem_add(reading->problems, node->place, "no_crash",
                    "crash must be `after HANDLER`, `at FAILPOINT` or `everywhere`, got '%s'", text);
        return;
    }
    step->crash.kind = at ? CRASH_AT : CRASH_AFTER;
    step->crash.name = text + (at ? 3 : 6) + strspn(text + (at ? 3 : 6), " ");
    if (at)
        check_failpoint(reading, node, step->crash.name);
}

/* A path that is relative to the file's folder. */
static const char *beside(struct reading *reading, const char *path)
{
    const char *slash = strrchr(reading->file, '/');
    return path[0] == '/' || slash == NULL
               ? path
               : arena_format(reading->arena, "%.*s/%s", (int)(slash - reading->file), reading->file, path);
}

/* A step that has a text and nothing else. 0: it is none. */
static size_t read_text(struct reading *reading, const struct node *node, const char *key, enum step_kind kind,
                        struct step *step, const char **ret)
{
    struct node *text = node_get(node, key);
    if (text == NULL)
        return 0;
    step->kind = kind;
    (void)node_text(text, key, ret, reading->problems);
    return 1;
}

static void read_step(struct reading *reading, struct node *node, struct step *step)
{
    static const char *const known[] = {"request", "emit",   "duplicate", "sql",     "fail", "crash",  "pause",
                                        "resume",  "replay", "reload",    "advance", "run",  "expect", NULL};
    size_t kinds = 0;
    step->place = node->place;
    if (node->kind == NODE_SCALAR && span_is(node->text, "run")) {
        step->kind = STEP_RUN;
        return;
    }
    if (want(reading, node, NODE_MAPPING, "a step") == NULL)
        return;
    struct node *request = node_get(node, "request"), *emit = node_get(node, "emit"),
                *advance = node_get(node, "advance"), *duplicate = node_get(node, "duplicate"),
                *fail = node_get(node, "fail"), *crash = node_get(node, "crash"), *reload = node_get(node, "reload");
    if (request != NULL && ++kinds)
        read_request(reading, request, step);
    if (emit != NULL && ++kinds)
        read_emit(reading, emit, step);
    if (duplicate != NULL && ++kinds)
        read_duplicate(reading, duplicate, step);
    if (fail != NULL && ++kinds)
        read_fail(reading, fail, step);
    if (crash != NULL && ++kinds)
        read_crash(reading, crash, step);
    if (reload != NULL && ++kinds) {
        step->kind = STEP_RELOAD;
        if (node_text(reload, "reload", &step->file, reading->problems))
            step->file = beside(reading, step->file);
    }
    kinds += read_text(reading, node, "sql", STEP_SQL, step, &step->sql) +
             read_text(reading, node, "pause", STEP_PAUSE, step, &step->name) +
             read_text(reading, node, "resume", STEP_RESUME, step, &step->name) +
             read_text(reading, node, "replay", STEP_REPLAY, step, &step->topic);
    if (advance != NULL && ++kinds) {
        step->kind = STEP_ADVANCE;
        (void)node_duration(advance, "advance", 0, ADVANCE_MAX_MS, &step->advance_ms, reading->problems);
    }
    read_expect(reading, node_get(node, "expect"), request != NULL, &step->expect);
    node_refuse_unknown(node, "a step", known, reading->problems);
    if (kinds > 1)
        problem_add(reading->problems, node->place, "two_steps", "a step does one thing; write two steps");
}

static bool looks_at_something(const struct expectation *looks)
{
    return looks->status != NULL || looks->reply != NULL || looks->events != NULL || looks->dead_letters != NULL ||
           looks->sql != NULL || looks->chains != NULL || looks->metrics != NULL;
}

/* What `crash: everywhere` needs of the rest of its test. */
static void check_everywhere(struct reading *reading, const struct flow *flow, struct place place, size_t crashes)
{
    const struct step *last = &flow->steps[flow->step_count - 1];
    if (crashes > 1)
        problem_add(reading->problems, place, "two_crashes",
                    "a test with `crash: everywhere` has no other step `crash`: each repetition has one crash");
    if (!last->at_end || !looks_at_something(&last->expect))
        problem_add(reading->problems, place, "no_end",
                    "`crash: everywhere` compares the test's end; add `expect` to the test, beside `steps`");
    else if (last->expect.metrics != NULL)
        problem_add(reading->problems, last->expect.metrics->place, "metrics_end",
                    "metrics begin again with a process, so that they differ after a crash; expect them in a step, or "
                    "in a test without `crash: everywhere`");
}

static void look_for_crashes(struct reading *reading, struct flow *flow)
{
    const struct step *everywhere = NULL;
    size_t crashes = 0;
    for (size_t i = 0; i < flow->step_count; i++) {
        crashes += flow->steps[i].kind == STEP_CRASH;
        if (flow->steps[i].kind == STEP_CRASH && flow->steps[i].crash.kind == CRASH_EVERYWHERE)
            everywhere = &flow->steps[i];
    }
    flow->crashes = crashes > 0;
    flow->everywhere = everywhere != NULL;
    if (everywhere != NULL)
        check_everywhere(reading, flow, everywhere->place, crashes);
}

static void read_flow(struct reading *reading, struct node *node, struct flow *flow)
{
    static const char *const known[] = {"name", "given", "steps", "expect", NULL};
    flow->place = node->place;
    flow->name = "?";
    if (want(reading, node, NODE_MAPPING, "a test") == NULL)
        return;
    const char *name = text_at(reading, node, "name", "name");
    if (name == NULL)
        problem_add(reading->problems, node->place, "no_name", "a test needs a name");
    else
        flow->name = name;
    flow->sql = read_given(reading, node);
    struct node *steps = want(reading, node_get(node, "steps"), NODE_SEQUENCE, "steps");
    struct node *expect = node_get(node, "expect");
    flow->steps = arena_array(reading->arena, struct step, (steps == NULL ? 0 : steps->count) + 1);
    for (; steps != NULL && flow->step_count < steps->count; flow->step_count++)
        read_step(reading, steps->items[flow->step_count], &flow->steps[flow->step_count]);
    if (expect != NULL) {
        struct step *last = &flow->steps[flow->step_count++];
        last->place = expect->place;
        last->at_end = true;
        read_expect(reading, expect, false, &last->expect);
    }
    node_refuse_unknown(node, "a test", known, reading->problems);
    look_for_crashes(reading, flow);
    for (size_t i = 0; i < flow->step_count; i++)
        if (looks_at_something(&flow->steps[i].expect))
            return;
    problem_add(reading->problems, node->place, "no_expectation",
                "test '%s' expects nothing, so that it cannot fail; add `expect`", flow->name);
}

static void read_taps(struct reading *reading, struct node *root, struct flow_file *ret)
{
    struct node *taps = want(reading, node_get(root, "taps"), NODE_SEQUENCE, "taps");
    size_t count = taps == NULL ? 0 : taps->count, kept = 0;
    ret->taps = arena_array(reading->arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++)
        kept += node_text(taps->items[i], "the name of a tap", &ret->taps[kept], reading->problems);
}

bool flow_read(const char *path, struct arena *arena, struct problems *problems, struct flow_file *ret)
{
    static const char *const known[] = {"pipeline", "taps", "given", "tests", NULL};
    struct reading reading = {arena, problems, path};
    *ret = (struct flow_file){.path = path, .place = {path, 1, 1}};
    struct node *root = tree_read(path, arena, problems);
    if (root == NULL || want(&reading, root, NODE_MAPPING, "a file of flow tests") == NULL)
        return false;
    ret->pipeline = text_at(&reading, root, "pipeline", "pipeline");
    if (ret->pipeline == NULL)
        problem_add(problems, ret->place, "no_pipeline",
                    "`pipeline:` is missing: the configuration that is tested, relative to this file");
    else
        ret->pipeline = beside(&reading, ret->pipeline);
    ret->sql = read_given(&reading, root);
    read_taps(&reading, root, ret);
    struct node *tests = want(&reading, node_get(root, "tests"), NODE_SEQUENCE, "tests");
    node_refuse_unknown(root, "a file of flow tests", known, problems);
    if (tests == NULL || tests->count == 0) {
        problem_add(problems, ret->place, "no_tests", "`tests:` is missing or empty: a list of tests");
        return false;
    }
    ret->flows = arena_array(arena, struct flow, tests->count);
    for (; ret->count < tests->count; ret->count++)
        read_flow(&reading, tests->items[ret->count], &ret->flows[ret->count]);
    return problems->errors == 0;
}
