/*
 * admin.c - what a load balancer or Prometheus asks. Everything here only reads, and waits for nothing.
 *
 *   /healthz    200 while the engine's threads move; 503 with the reasons: restart it
 *   /readyz     200 while it takes work, reads what is assigned to it and no handler is stopped; 503 with the reasons
 *   /metrics    Prometheus text format 0.0.4
 *   /pipeline   the graph of the pipeline, JSON, and what of it is paused
 *   /ui         a page that shows people all of this, ui.c
 */
#include "http/exchange.h"

#include "base/log.h"

enum { REASONS_MAX = 16 * 1024 };

struct admin {
    const char *path;
    enum { ADMIN_DATA, ADMIN_HEALTH, ADMIN_PAGE } kind;
    enum MHD_Result (*answer)(struct exchange *exchange);
};

static enum MHD_Result send_health(struct exchange *exchange, bool good, const char *word, const char *message,
                                   struct buffer *why)
{
    struct buffer body;
    buffer_init(&body, HTTP_PAGE_MAX);
    if (good)
        buffer_text(&body, "{\"status\":\"ok\"}\n");
    else
        reply_error_body(&body, word, message, buffer_view(why));
    buffer_free(why);
    return reply_send(exchange, good ? 200 : 503, "application/json", &body);
}

static enum MHD_Result answer_healthz(struct exchange *exchange)
{
    struct buffer why;
    buffer_init(&why, REASONS_MAX);
    bool good = engine_healthy(exchange->http->engine, &why);
    return send_health(exchange, good, "unhealthy", "The engine does not move.", &why);
}

static enum MHD_Result answer_readyz(struct exchange *exchange)
{
    struct buffer why;
    buffer_init(&why, REASONS_MAX);
    bool quiescing = atomic_load(&exchange->http->quiescing);
    if (quiescing)
        buffer_text(&why, "the engine is stopping: it finishes what it has\n");
    bool good = !quiescing && engine_ready(exchange->http->engine, &why);
    if (good) {
        bool reads = engine_reads(exchange->http->engine, &why);
        good = engine_handles(exchange->http->engine, &why) && reads;
    }
    return send_health(exchange, good, "not_ready", "The engine takes no work now.", &why);
}

static enum MHD_Result answer_metrics(struct exchange *exchange)
{
    struct buffer page;
    buffer_init(&page, HTTP_PAGE_MAX);
    metrics_print(exchange->http->metrics, &page);
    if (page.failed) {
        buffer_free(&page);
        log_rarely(60000, LOG_WARN, "http", "the page of /metrics is larger than %d bytes and was not sent",
                   HTTP_PAGE_MAX);
        refusal_set(&exchange->refusal, 500, "page_too_large", "The page of metrics is too large.");
        return reply_refusal(exchange);
    }
    return reply_send(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", &page);
}

static enum MHD_Result answer_pipeline(struct exchange *exchange)
{
    struct buffer page;
    struct span graph = buffer_view(&exchange->http->graph);
    buffer_init(&page, HTTP_PAGE_MAX);
    while (graph.length > 0 && graph.at[graph.length - 1] != '}')
        graph.length--;
    if (graph.length > 0)
        graph.length--; /* one more member, behind those that never change */
    buffer_span(&page, graph);
    buffer_text(&page, ",\"paused\":");
    engine_paused(exchange->http->engine, &page);
    buffer_text(&page, "}\n");
    return reply_send(exchange, 200, "application/json", &page);
}

static const struct admin admins[] = {
    {"/healthz", ADMIN_HEALTH, answer_healthz},
    {"/readyz", ADMIN_HEALTH, answer_readyz},
    {"/metrics", ADMIN_DATA, answer_metrics},
    {"/pipeline", ADMIN_DATA, answer_pipeline},
    {"/ui", ADMIN_PAGE, ui_answer},
};

enum { ADMIN_COUNT = sizeof admins / sizeof admins[0] };

const struct admin *admin_find(const struct target *target)
{
    for (size_t i = 0; target->segment_count == 1 && i < ADMIN_COUNT; i++)
        if (span_is(target->segments[0], admins[i].path + 1))
            return &admins[i];
    return NULL;
}

size_t admin_index(const struct admin *admin)
{
    return admin == NULL ? ADMIN_COUNT : (size_t)(admin - admins);
}

const char *admin_path(size_t index)
{
    return admins[index].path;
}

bool admin_is_health(const struct admin *admin)
{
    return admin != NULL && admin->kind == ADMIN_HEALTH;
}

bool admin_is_page(const struct admin *admin)
{
    return admin != NULL && admin->kind == ADMIN_PAGE;
}

enum MHD_Result admin_answer(struct exchange *exchange)
{
    return exchange->admin->answer(exchange);
}
