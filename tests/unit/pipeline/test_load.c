/*
 * test_load.c - a file as plain data: defaults, topics that exist because they are named, ladders, dead letters,
 * chains, groups.
 */
#include "place.h"

#define TICKETING                                                                                                      \
    "pipeline: ticketing\n"                                                                                            \
    "bus: {kind: postgres}\n"                                                                                          \
    "store: {url: \"postgresql:///x\"}\n"                                                                              \
    "plugins: {shop: {library: ./shop.so, settings: {hold: 5m}}}\n"                                                    \
    "topics:\n"                                                                                                        \
    "  pay:\n"                                                                                                         \
    "    key: \"{orderId}\"\n"                                                                                         \
    "    handler: shop.charge\n"                                                                                       \
    "    retry: {max_retries: 9, backoff: {multiplier: 3}}\n"                                                          \
    "    routes: {success: paid, duplicate: drop, declined: {retry: pay.again, initial_interval: 1s, max_retries: 3, " \
    "exhausted: lost}}\n"                                                                                              \
    "  paid: {handler: shop.confirm, routes: {success: kept, failure: gone}, dead_letter: paid.dead}\n"                \
    "  back: {handler: shop.refund, routes: {refunded: drop}, timeout: 3s}\n"                                          \
    "  lost: {final: true}\n"                                                                                          \
    "chains:\n"                                                                                                        \
    "  order:\n"                                                                                                       \
    "    correlate: orderId\n"                                                                                         \
    "    steps: [{name: pay, done: paid, undo: back}, {name: keep, done: kept, undo: none}]\n"                         \
    "    abort_on: [gone]\n"                                                                                           \
    "taps: {watch: {topics: [\"pa*\", kept], handler: shop.send, batch: {max_events: 20, max_wait: 1s}}}\n"            \
    "schedules: {old: {every: 2s, handler: shop.expire, routes: {timeout: gone}}}\n"                                   \
    "http:\n"                                                                                                          \
    "  listen: 127.0.0.1:0\n"                                                                                          \
    "  requests:\n"                                                                                                    \
    "    \"POST /orders\": {handler: shop.accept, routes: {accepted: pay}}\n"                                          \
    "    \"GET /orders/{orderId}\": {handler: shop.ask}\n"

static const struct sluice_field order_input[] = {
    {.name = "orderId", .type = SLUICE_TYPE_TEXT}, {.name = "amount", .type = SLUICE_TYPE_INT64}, {0}};
static const struct sluice_field id_input[] = {{.name = "orderId", .type = SLUICE_TYPE_TEXT}, {0}};
static const struct sluice_field amount_sets[] = {{.name = "amount", .type = SLUICE_TYPE_INT64}, {0}};
static const struct sluice_outcome charge_outcomes[] = {
    {"success", "paid"}, {"declined", "no money"}, {"duplicate", "again"}, {0}};
static const struct sluice_outcome confirm_outcomes[] = {{"success", "ok"}, {"failure", "gone"}, {0}};
static const struct sluice_outcome refund_outcomes[] = {{"refunded", "ok"}, {0}};
static const struct sluice_outcome accept_outcomes[] = {{"accepted", "ok"}, {0}};
static const struct sluice_outcome expire_outcomes[] = {{"timeout", "late"}, {0}};
static const struct sluice_outcome send_outcomes[] = {{"sent", "ok"}, {0}};
static const struct sluice_handler handlers[] = {
    {.name = "charge", .input = order_input, .outcomes = charge_outcomes, .max_events = 100},
    {.name = "confirm", .input = id_input, .outcomes = confirm_outcomes, .max_events = 100},
    {.name = "refund", .input = order_input, .outcomes = refund_outcomes, .max_events = 1, .uses_store = 1},
    {.name = "send", .outcomes = send_outcomes, .max_events = 100},
    {.name = "accept",
     .kind = SLUICE_REQUEST,
     .input = id_input,
     .outcomes = accept_outcomes,
     .sets = amount_sets,
     .max_events = 1},
    {.name = "ask", .kind = SLUICE_REQUEST, .input = id_input, .max_events = 1},
    {.name = "expire", .kind = SLUICE_SCHEDULE, .outcomes = expire_outcomes, .sets = id_input, .max_events = 1},
    {0},
};
static const struct sluice_plugin shop = {.name = "shop", .version = "1", .handlers = handlers};

static struct read *resolved(const char *text)
{
    struct read *read = read_pipeline(text);
    for (size_t i = 0; i < read->pipeline->plugin_count; i++)
        read->pipeline->plugins[i].plugin = &shop;
    pipeline_resolve(read->pipeline, &read->problems);
    return read;
}

static void the_least(void **state)
{
    (void)state;
    struct read *read = read_pipeline("pipeline: x\nbus: {kind: memory}\nplugins:\n  p: {library: /p.so}\n");
    const struct pipeline *p = read->pipeline;
    assert_string_equal(said(read), "");
    assert_string_equal(p->name, "x");
    assert_string_equal(p->engine.group, "x");
    assert_int_equal(p->bus.kind, BUS_CHOICE_MEMORY);
    assert_int_equal(p->bus.partitions, 16);
    assert_int_equal(p->bus.retention_ms, 86400000);
    assert_false(p->store.present);
    assert_int_equal(p->store.connect_timeout_ms, 5000);
    assert_int_equal(p->store.statement_timeout_ms, 10000);
    assert_int_equal(p->store.inbox_retention_ms, INT64_C(168) * 3600000);
    assert_int_equal(p->engine.lanes, 4);
    assert_int_equal(p->engine.max_events, 500);
    assert_int_equal(p->engine.hop_limit, 32);
    assert_int_equal(p->engine.max_event_size, 1024 * 1024);
    assert_int_equal(p->engine.drain_timeout_ms, 10000);
    assert_int_equal(p->engine.sweep_after_ms, 5000);
    assert_int_equal(p->engine.event_format, FORMAT_SLUICE);
    assert_int_equal(p->defaults.retry.max_retries, 5);
    assert_int_equal(p->defaults.retry.initial_interval_ms, 200);
    assert_true(p->defaults.retry.multiplier == 2 && p->defaults.retry.jitter == 0.2);
    assert_int_equal(p->defaults.retry.max_interval_ms, 30000);
    assert_string_equal(p->defaults.dead_letter, "{topic}-dlt");
    assert_int_equal(p->defaults.timeout_ms, 10000);
    assert_false(p->http.present);
    assert_int_equal(p->http.timeout_ms, 10000);
    assert_int_equal(p->http.max_body, 65536);
    assert_string_equal(p->plugins[0].path, "/p.so");
    read_end(read);
}

static void topics(void **state)
{
    (void)state;
    struct read *read = read_pipeline(TICKETING);
    const struct pipeline *p = read->pipeline;
    assert_string_equal(said(read), "");
    const struct topic *pay = pipeline_topic(p, "pay"), *again = pipeline_topic(p, "pay.again"),
                       *paid = pipeline_topic(p, "paid"), *kept = pipeline_topic(p, "kept"),
                       *lost = pipeline_topic(p, "lost");
    assert_true(pay->declared && !kept->declared && lost->final && !kept->final);
    assert_null(pipeline_topic(p, "nobody"));
    for (size_t i = 0; i < p->topic_count; i++)
        assert_int_equal(p->topics[i]->index, i);
    assert_string_equal(pay->binding->handler_name, "shop.charge");
    assert_string_equal(pay->binding->id, "shop.charge");
    assert_int_equal(pay->binding->retry.max_retries, 9);
    assert_true(pay->binding->retry.multiplier == 3);
    assert_int_equal(pay->binding->retry.initial_interval_ms, 200); /* what is not said is the defaults' */
    assert_int_equal(pipeline_topic(p, "back")->binding->timeout_ms, 3000);
    assert_int_equal(paid->binding->timeout_ms, 10000);
    /* A retry topic is its origin's, with the same use and key. */
    assert_ptr_equal(again->ladder_of, pay);
    assert_ptr_equal(again->binding, pay->binding);
    assert_ptr_equal(again->key, pay->key);
    assert_int_equal(again->ladder->max_retries, 3);
    assert_int_equal(again->ladder->initial_interval_ms, 1000);
    assert_int_equal(again->ladder->max_interval_ms, INT64_C(30) * 86400000);
    assert_string_equal(again->ladder->counter, "retryCount");
    assert_ptr_equal(again->ladder->exhausted, lost);
    /* Each topic has a dead letter topic, which has none. */
    assert_string_equal(pay->dead_letter->name, "pay-dlt");
    assert_string_equal(again->dead_letter->name, "pay.again-dlt");
    assert_string_equal(paid->dead_letter->name, "paid.dead");
    assert_true(paid->dead_letter->is_dead_letter && paid->dead_letter->final);
    assert_null(paid->dead_letter->dead_letter);
    assert_null(pipeline_topic(p, "paid-dlt"));
    assert_null(pipeline_topic(p, "paid.dead-dlt"));
    read_end(read);
}

static void entries(void **state)
{
    (void)state;
    struct read *read = read_pipeline(TICKETING);
    const struct pipeline *p = read->pipeline;
    assert_int_equal(p->tap_count, 1);
    assert_string_equal(p->taps[0].binding->id, "watch/shop.send");
    assert_int_equal(p->taps[0].binding->max_events, 20);
    assert_int_equal(p->taps[0].binding->max_wait_ms, 1000);
    assert_int_equal(p->taps[0].lanes, 1);
    assert_int_equal(p->taps[0].topic_count, 2);
    assert_string_equal(p->schedules[0].binding->id, "schedule/old");
    assert_int_equal(p->schedules[0].every_ms, 2000);
    assert_int_equal(p->request_count, 2);
    assert_string_equal(p->requests[1].method, "GET");
    assert_string_equal(p->requests[1].path, "/orders/{orderId}");
    assert_int_equal(p->requests[1].segment_count, 2);
    assert_string_equal(p->requests[1].segments[1], "{orderId}");
    assert_string_equal(p->http.host, "127.0.0.1");
    assert_int_equal(p->http.port, 0);
    assert_true(p->http.present);
    for (size_t i = 0; i < p->binding_count; i++)
        assert_int_equal(p->bindings[i]->index, i);
    assert_int_equal(p->binding_count, 7);
    read_end(read);
}

static void chains(void **state)
{
    (void)state;
    struct read *read = read_pipeline(TICKETING);
    const struct chain *chain = &read->pipeline->chains[0];
    assert_int_equal(chain->step_count, 2);
    assert_string_equal(chain->steps[0].undo->name, "back");
    assert_null(chain->steps[1].undo);
    assert_int_equal(chain->on_undo_failure, UNDO_PAUSE);
    const struct topic *paid = pipeline_topic(read->pipeline, "paid"), *gone = pipeline_topic(read->pipeline, "gone"),
                       *back = pipeline_topic(read->pipeline, "back");
    assert_int_equal(paid->watch_count, 1);
    assert_int_equal(paid->watches[0].role, CHAIN_DONE);
    assert_int_equal(paid->watches[0].step, 0);
    assert_int_equal(gone->watches[0].role, CHAIN_ABORT);
    assert_int_equal(gone->watches[0].step, -1);
    assert_int_equal(back->watches[0].role, CHAIN_UNDO);
    read_end(read);
}

static bool has_topic(const struct group *group, const char *name)
{
    for (size_t i = 0; i < group->topic_count; i++)
        if (strcmp(group->topics[i], name) == 0)
            return true;
    return false;
}

static void groups(void **state)
{
    (void)state;
    struct read *read = resolved(TICKETING);
    const struct pipeline *p = read->pipeline;
    assert_string_equal(said(read), "");
    assert_int_equal(p->group_count, 2);
    const struct group *own = &p->groups[0], *tap = &p->groups[1];
    assert_string_equal(own->name, "ticketing");
    assert_string_equal(tap->name, "ticketing.watch");
    assert_ptr_equal(tap->tap, &p->taps[0]);
    assert_ptr_equal(p->taps[0].binding->group, tap);
    /* Work: a handler, an abort; not the step whose undo is none, nor what is final, nor dead letters. */
    static const char *const work[] = {"pay", "pay.again", "paid", "back", "gone"};
    for (size_t i = 0; i < sizeof work / sizeof work[0]; i++)
        assert_true(has_topic(own, work[i]));
    assert_int_equal(own->topic_count, sizeof work / sizeof work[0]);
    assert_null(p->requests[0].binding->group);
    const struct binding *charge = pipeline_topic(p, "pay")->binding;
    assert_ptr_equal(charge->group, own);
    assert_int_equal(charge->outcome_count, 3);
    assert_int_equal(charge->by_outcome[0]->kind, ROUTE_TOPIC);
    assert_int_equal(charge->by_outcome[1]->kind, ROUTE_LADDER);
    assert_int_equal(charge->by_outcome[2]->kind, ROUTE_DROP);
    assert_ptr_equal(charge->ladder, &charge->by_outcome[1]->ladder);
    assert_int_equal(p->taps[0].binding->by_outcome[0]->kind,
                     ROUTE_DROP); /* a tap's outcomes lead nowhere unless said */
    assert_true(p->whole);
    read_end(read);
}

static void what_a_tap_sees(void **state)
{
    (void)state;
    struct read *read = read_pipeline(TICKETING);
    struct tap *tap = &read->pipeline->taps[0];
    assert_true(tap_sees(tap, pipeline_topic(read->pipeline, "pay.again")));
    assert_true(tap_sees(tap, pipeline_topic(read->pipeline, "kept")));
    assert_false(tap_sees(tap, pipeline_topic(read->pipeline, "back")));
    assert_false(
        tap_sees(tap, pipeline_topic(read->pipeline, "pay-dlt"))); /* fits the pattern, and is for dead letters */
    static const char *const named[] = {"pay-dlt", NULL};
    tap->topics = named;
    tap->topic_count = 1;
    assert_true(tap_sees(tap, pipeline_topic(read->pipeline, "pay-dlt")));
    read_end(read);
}

static void not_whole(void **state)
{
    (void)state;
    struct read *read = resolved(
        "pipeline: x\nbus: {kind: memory}\nengine: {lanes: 0}\nplugins: {shop: {library: /x}}\n"
        "topics: {a: {handler: shop.send, routes: {sent: drop}}}\n");
    assert_int_equal(read->problems.errors, 1);
    assert_true(read->pipeline->whole); /* what is wrong is not with the flow */
    read_end(read);
    read = resolved(
        "pipeline: x\nbus: {kind: memory}\nplugins: {shop: {library: /x}}\ntopics: {a: {handler: shop.send}}\n");
    assert_false(read->pipeline->whole);
    read_end(read);
    read = read_pipeline("");
    assert_non_null(read->pipeline); /* even then */
    assert_false(read->pipeline->whole);
    read_end(read);
}

static void good_flow_has_no_findings(void **state)
{
    (void)state;
    struct read *read = resolved(TICKETING);
    pipeline_check(read->pipeline, &read->problems);
    assert_string_equal(said(read), "");
    read_end(read);
}

static void a_long_cycle_is_shown_in_part(void **state)
{
    (void)state;
    struct buffer text;
    buffer_init(&text, 1024 * 1024);
    buffer_text(&text, "pipeline: x\nbus: {kind: memory}\nplugins: {shop: {library: /x}}\ntopics:\n");
    for (int i = 0; i < 300; i++)
        buffer_format(&text, "  t%03d: {handler: shop.send, routes: {sent: t%03d}}\n", i, (i + 1) % 300);
    buffer_byte(&text, '\0');
    struct read *read = resolved(text.at);
    pipeline_check(read->pipeline, &read->problems);
    assert_int_equal(read->problems.errors, 1);
    assert_non_null(strstr(read->problems.list[0].text, "t000 → t001 → "));
    assert_non_null(strstr(read->problems.list[0].text, " → … 288 more … → t000;"));
    buffer_free(&text);
    read_end(read);
}

static void where_plugins_are(void **state)
{
    (void)state;
    struct read *read = read_pipeline("pipeline: x\nbus: {kind: memory}\nengine: {plugin_dir: /opt/p}\nplugins:\n  a: "
                                      "{library: a.so}\n  b: {library: ./b.so}\n"
                                      "  c: {library: /c.so}\n");
    const char *path = read->pipeline->plugins[1].path;
    assert_string_equal(read->pipeline->plugins[0].path, "/opt/p/a.so");
    assert_string_equal(path + strlen(path) - strlen("/./b.so"), "/./b.so"); /* beside the file */
    assert_true(strncmp(path, "/tmp/sluice-pipeline-", 21) == 0);
    assert_string_equal(read->pipeline->plugins[2].path, "/c.so");
    read_end(read);
    read = read_pipeline("pipeline: x\nbus: {kind: memory}\nplugins:\n  a: {library: there-is-no-such.so}\n");
    assert_null(read->pipeline->plugins[0].path);
    assert_non_null(strstr(said(read), "/../lib/sluice/plugins/there-is-no-such.so"));
    read_end(read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least),
        cmocka_unit_test(topics),
        cmocka_unit_test(entries),
        cmocka_unit_test(chains),
        cmocka_unit_test(groups),
        cmocka_unit_test(what_a_tap_sees),
        cmocka_unit_test(not_whole),
        cmocka_unit_test(good_flow_has_no_findings),
        cmocka_unit_test(a_long_cycle_is_shown_in_part),
        cmocka_unit_test(where_plugins_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
