/*
 * lane_test.c - see lane_test.h.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "base/map.h"

static void handle(void *state, struct sluice_call *call)
{
    struct lane_test *test = state;
    size_t at = strlen(test->calls);
    for (uint32_t i = 0; i < call->count && at < sizeof test->calls; i++)
        at += (size_t)snprintf(test->calls + at, sizeof test->calls - at, "%s%.*s%s", i == 0 ? "[" : " ",
                               (int)call->events[i].id.length, call->events[i].id.at, i + 1 == call->count ? "] " : "");
    test->handle(test, call);
}

static const struct sluice_outcome two_outcomes[] = {{.name = "done"}, {.name = "later"}, {0}};
static const struct sluice_outcome one_outcome[] = {{.name = "done"}, {0}};
static const struct sluice_field typed_fields[] = {SLUICE_INT64(struct lane_test_input, seat),
                                                   SLUICE_TEXT(struct lane_test_input, name, .flags = SLUICE_OPTIONAL),
                                                   {0}};
static const struct sluice_field ask_fields[] = {
    SLUICE_INT64(struct lane_test_input, seat, .flags = SLUICE_OPTIONAL),
    SLUICE_TEXT(struct lane_test_input, name, .flags = SLUICE_OPTIONAL),
    {0},
};
static const struct sluice_field set_fields[] = {SLUICE_SETS_TEXT("user"),
                                                 SLUICE_SETS_INT64("seat"),
                                                 SLUICE_SETS_TEXT("sale"),
                                                 SLUICE_SETS_TEXT("text"),
                                                 {.name = "list", .type = SLUICE_TYPE_JSON},
                                                 {0}};
static const struct sluice_handler handlers[] = {
    {.name = "handle", .outcomes = two_outcomes, .sets = set_fields, .handle = handle, .max_events = 100},
    {.name = "query",
     .outcomes = two_outcomes,
     .sets = set_fields,
     .handle = handle,
     .max_events = 100,
     .uses_store = 1},
    {.name = "single", .outcomes = two_outcomes, .sets = set_fields, .handle = handle, .max_events = 1},
    {.name = "typed",
     .outcomes = two_outcomes,
     .sets = set_fields,
     .input = typed_fields,
     .input_size = sizeof(struct lane_test_input),
     .handle = handle,
     .max_events = 100,
     .uses_store = 1},
    {.name = "watch", .outcomes = one_outcome, .sets = set_fields, .handle = handle, .max_events = 100},
    {.name = "ask",
     .outcomes = one_outcome,
     .sets = set_fields,
     .input = ask_fields,
     .input_size = sizeof(struct lane_test_input),
     .handle = handle,
     .max_events = 100,
     .kind = SLUICE_REQUEST},
    {.name = "ask_stored",
     .outcomes = one_outcome,
     .sets = set_fields,
     .input = ask_fields,
     .input_size = sizeof(struct lane_test_input),
     .handle = handle,
     .max_events = 100,
     .kind = SLUICE_REQUEST,
     .uses_store = 1},
    {.name = "tick",
     .outcomes = one_outcome,
     .sets = set_fields,
     .handle = handle,
     .max_events = 1,
     .kind = SLUICE_SCHEDULE},
    {0},
};
static const struct sluice_plugin plugin = {.name = "work", .version = "1", .handlers = handlers};

void lane_test_obey(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (uint32_t i = 0; i < call->count; i++) {
        const struct sluice_text data = call->events[i].data;
        struct span text = {data.at, data.length};
#define SAYS(word) (memmem(text.at, text.length, "\"do\":\"" word "\"", sizeof word + 6) != NULL)
        if (SAYS("later"))
            call->host->outcome(call, i, 1);
        else if (SAYS("retry"))
            call->host->retry(call, i, "not yet");
        else if (SAYS("reject"))
            call->host->reject(call, i, "never");
        else if (SAYS("unavailable"))
            call->host->unavailable(call, "the target is down");
        else if (SAYS("fault"))
            call->host->outcome(call, i, 99);
        else if (!SAYS("nothing"))
            call->host->outcome(call, i, 0);
#undef SAYS
    }
}

const char *lane_test_refuse = "";

void lane_test_refused(struct lane_test *test, struct sluice_call *call)
{
    static const struct sluice_sql sql = {"insert into early"};
    for (uint32_t i = 0; i < call->count; i++)
        if (strchr(lane_test_refuse, call->events[i].id.at[0]) != NULL)
            fake_store_fail(test->store, "exec", 0, 1, STORE_REFUSED, "no such table");
    if (call->host->query(call, &sql, 0, NULL) == NULL)
        return;
    for (uint32_t i = 0; i < call->count; i++)
        call->host->outcome(call, i, 0);
}

/* ----------------------------------------------------------------------------------- what batches ask of the engine */

static bool env_sleep(void *context, int64_t ms)
{
    struct lane_test *test = context;
    assert_true(test->sleep_count < sizeof test->slept_ms / sizeof test->slept_ms[0]);
    test->slept_ms[test->sleep_count++] = ms;
    fake_clock_advance(ms);
    return test->on_sleep == NULL || test->on_sleep(test, ms);
}

static void env_finish(void *context, struct item **items, size_t count, bool complete)
{
    struct lane_test *test = context;
    for (size_t i = 0; i < count; i++) {
        assert_true(test->end_count < LANE_TEST_ENDS_MAX);
        test->ends[test->end_count++] = (struct lane_test_end){items[i]->position.high, complete};
    }
    items_free(items, count);
}

static void env_waits(void *context, const struct item *item)
{
    assert_true(item->waits);
    ((struct lane_test *)context)->waits++;
}

static void env_parked(void *context, int64_t due_wall_ms)
{
    ((struct lane_test *)context)->parked_ms = due_wall_ms;
}

static void env_ready(void *context)
{
    ((struct lane_test *)context)->ready_count++;
}

static size_t env_streams(void *context, struct arena *arena, struct span **ret)
{
    const struct lane_test *test = context;
    *ret = arena_array(arena, struct span, 1);
    (*ret)[0] = span_of(arena_format(arena, "%d", LANE_TEST_STREAM));
    return test->revoked ? 0 : 1;
}

/* -------------------------------------------------------------------------------------------------------- the lane */

static struct pipeline *pipeline_read(struct arena *arena, const char *yaml)
{
    static const char head[] = "pipeline: test\nbus: {kind: memory}\nplugins: {work: {library: ./work.so}}\n";
    char path[] = "/tmp/sluice-batch-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, head, sizeof head - 1), sizeof head - 1);
    assert_int_equal(write(file, yaml, strlen(yaml)), strlen(yaml));
    close(file);
    struct problems problems;
    struct pipeline *config = NULL;
    problems_init(&problems, arena);
    int code = pipeline_load(path, arena, &problems, &config);
    unlink(path);
    if (code == 0) {
        config->plugins[0].plugin = &plugin;
        pipeline_resolve(config, &problems);
    }
    struct buffer text;
    buffer_init(&text, 1 << 20);
    problems_print(&problems, false, &text);
    if (problems.errors > 0)
        fail_msg("%.*s", (int)text.length, text.at);
    buffer_free(&text);
    assert_true(config->whole);
    return config;
}

static int16_t *numbers_from(struct arena *arena, size_t count, int16_t first)
{
    int16_t *numbers = arena_array(arena, int16_t, count + 1);
    for (size_t i = 0; i < count; i++)
        numbers[i] = (int16_t)(first + (int16_t)i);
    return numbers;
}

static void build_runs(struct lane_test *test)
{
    const struct pipeline *config = test->config;
    struct metrics *metrics = test->metrics;
    test->env.bindings = arena_array(test->arena, struct binding_run, config->binding_count + 1);
    test->env.topics = arena_array(test->arena, struct topic_run, config->topic_count + config->retired_count + 1);
    for (size_t i = 0; i < config->binding_count; i++) {
        const struct binding *binding = config->bindings[i];
        struct binding_run *run = &test->env.bindings[i];
        run->number = (int16_t)(1 + i);
        run->records = binding_is_recorded(binding);
        run->by_outcome = arena_array(test->arena, struct series *, binding->outcome_count + 1);
        for (size_t o = 0; o < binding->outcome_count; o++)
            run->by_outcome[o] = metrics_series(metrics, METRIC_EVENTS, binding->id, binding->outcomes[o].name);
        run->dead = metrics_series(metrics, METRIC_EVENTS, binding->id, "dead");
        run->refused = metrics_series(metrics, METRIC_EVENTS, binding->id, "refused");
        run->failed = metrics_series(metrics, METRIC_EVENTS, binding->id, "failed");
        run->again = metrics_series(metrics, METRIC_REPLAYED, binding->id, NULL);
        run->duplicates = metrics_series(metrics, METRIC_DUPLICATES, binding->id, NULL);
        run->retries = metrics_series(metrics, METRIC_RETRIES, binding->id, NULL);
        run->stop.series = metrics_series(metrics, METRIC_HANDLER_STOPPED, binding->id, NULL);
        run->seconds = metrics_series(metrics, METRIC_HANDLER_SECONDS, binding->id, NULL);
    }
    for (size_t i = 0; i < config->topic_count; i++) {
        test->env.topics[i].emitted = metrics_series(metrics, METRIC_EMITTED, config->topics[i]->name, NULL);
        test->env.topics[i].dead = metrics_series(metrics, METRIC_DEAD, config->topics[i]->name, NULL);
    }
    for (size_t i = 0; i < config->answer_count; i++)
        if (config->answers[i].topic != NULL)
            test->env.topics[config->answers[i].topic->index].dead = metrics_series(metrics, METRIC_DEAD,
                                                                                    config->answers[i].old, NULL);
}

static struct map *topic_names(const struct pipeline *config)
{
    struct map *names = map_create(config->topic_count);
    for (size_t i = 0; i < config->topic_count; i++)
        map_set(names, span_of(config->topics[i]->name), config->topics[i]);
    return names;
}

struct lane_test *lane_test_create(const char *yaml, enum lane_test_kind kind)
{
    struct lane_test *test = calloc(1, sizeof *test);
    assert_non_null(test);
    fake_base_reset();
    test->arena = arena_create(64 * 1024, 256u << 20);
    test->config = pipeline_read(test->arena, yaml);
    test->store = test->config->store.present ? fake_store_create() : NULL;
    test->metrics = metrics_create();
    test->handle = lane_test_obey;
    pthread_rwlock_init(&test->quarantine, NULL);
    fake_bus_init(&test->bus, kind == LANE_TEST_TRANSACTIONAL);
    test->numbers = (struct batch_numbers){
        .groups = numbers_from(test->arena, test->config->group_count, 200),
        .chains = numbers_from(test->arena, test->config->chain_count, 300),
        .definitions = arena_array(test->arena, int32_t, test->config->chain_count + 1),
        .schedules = numbers_from(test->arena, test->config->schedule_count, 400),
        .chain_handler = 100};
    struct plugin_state *plugins = arena_array(test->arena, struct plugin_state, 1);
    *plugins = (struct plugin_state){.plugin = &plugin, .state = test};
    test->env = (struct batch_env){.config = test->config,
                                   .numbers = &test->numbers,
                                   .lane_number = 1,
                                   .lane = lane_create(),
                                   .connection = test->store,
                                   .plugins = plugins,
                                   .arena = arena_create(64 * 1024, 256u << 20),
                                   .outbox.owner = LANE_TEST_OWNER,
                                   .random = 42,
                                   .group = &test->config->groups[0],
                                   .consumer = &test->consumer,
                                   .member = &test->member,
                                   .attempts = &test->attempts,
                                   .batches = metrics_series(test->metrics, METRIC_BATCHES, "g", NULL),
                                   .batch_events = metrics_series(test->metrics, METRIC_BATCH_EVENTS, "g", NULL),
                                   .batch_seconds = metrics_series(test->metrics, METRIC_BATCH_SECONDS, "g", NULL),
                                   .bus = &test->bus.bus,
                                   .quarantine = &test->quarantine,
                                   .draining = &test->draining,
                                   .context = test,
                                   .sleep = env_sleep,
                                   .finish = env_finish,
                                   .waits = env_waits,
                                   .parked = env_parked,
                                   .ready = env_ready,
                                   .lane_count = 1,
                                   .topic_names = topic_names(test->config),
                                   .streams = env_streams};
    if (test->store != NULL)
        lane_use_store(test->env.lane, LANE_TEST_FOLLOWERS_MAX, LANE_TEST_STORED_MAX, LANE_TEST_STORED_MAX);
    buffer_init(&test->env.bytes, 64u << 20);
    buffer_init(&test->env.packed, 64u << 20);
    build_runs(test);
    return test;
}

void lane_test_of_tap(struct lane_test *test, size_t tap)
{
    test->env.group = &test->config->groups[1 + tap];
}

void lane_test_of_gateway(struct lane_test *test)
{
    test->env.group = NULL;
    test->env.consumer = NULL;
    test->env.member = NULL;
    test->env.attempts = NULL;
    test->env.outbox.owner = 0;
}

static bool drop_all(const struct lane_entry *entry, void *context)
{
    (void)entry, (void)context;
    return true;
}

static void drop_one(struct lane_entry *entry, void *context)
{
    struct item *item = (struct item *)entry;
    (void)context;
    items_free(&item, 1);
}

void lane_test_destroy(struct lane_test *test)
{
    lane_drop(test->env.lane, drop_all, drop_one, test);
    lane_destroy(test->env.lane);
    map_destroy((struct map *)test->env.topic_names);
    arena_destroy(test->env.arena);
    buffer_free(&test->env.bytes);
    buffer_free(&test->env.packed);
    outbox_free(&test->env.outbox);
    held_free(&test->env);
    limits_free(&test->env);
    fake_bus_free(&test->bus);
    fake_store_destroy(test->store);
    metrics_destroy(test->metrics);
    intmap_destroy(atomic_load(&test->attempts));
    pthread_rwlock_destroy(&test->quarantine);
    arena_destroy(test->arena);
    free(test);
}

void lane_test_hold_in_memory(struct lane_test *test)
{
    lane_use_store(test->env.lane, 0, 0, 0);
}

size_t lane_test_run(struct lane_test *test)
{
    struct lane_entry *taken[LANE_TEST_BATCH_MAX];
    if (test->store != NULL && test->env.group != NULL)
        held_fetch(&test->env);
    size_t count = lane_take(test->env.lane, clock_monotonic_ms(), LANE_TEST_BATCH_MAX, taken);
    if (count > 0)
        batch_run(&test->env, taken, count);
    arena_reset(test->env.arena);
    assert_true(test->store == NULL || !test->store->open); /* a batch leaves no transaction behind */
    return count;
}

size_t lane_test_run_all(struct lane_test *test)
{
    size_t batches = 0;
    while (lane_test_run(test) > 0)
        assert_true(++batches < 100);
    return batches;
}

bool lane_test_load(struct lane_test *test, bool all)
{
    struct held_page page = {0};
    do
        if (!held_load(&test->env, all, &page))
            return false;
    while (page.under_way);
    return true;
}

void lane_test_wait(struct lane_test *test)
{
    int64_t now = clock_monotonic_ms(), due = lane_due(test->env.lane, now);
    assert_true(due != INT64_MAX);
    if (due > now)
        fake_clock_advance(due - now);
}
