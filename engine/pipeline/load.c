/*
 * load.c - pipeline.yaml as plain data: the sections that describe the engine itself.
 *
 * load_flow.c reads topics, chains, taps, schedules and requests. Reading goes on past every problem, so that one run reports all.
 */
#include "pipeline/load.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

const char *load_name(struct load *load, const struct node *node, const char *what, size_t most)
{
    bool good = node->text.length > 0 && node->text.length <= most;
    for (size_t i = 0; i < node->text.length && good; i++)
        good = isalnum((unsigned char)node->text.at[i]) || strchr("._-", node->text.at[i]) != NULL;
    if (!good || span_is(node->text, ".") || span_is(node->text, "..")) {
        problem_add(load->problems, node->place, "bad_name", "%s '%.80s': expected 1 to %zu letters, digits, '.', '_' or '-'", what, node->text.at, most);
        return "?";
    }
    return node->text.at;
}

bool load_section(struct load *load, struct node *root, const char *key, struct node **ret)
{
    *ret = node_get(root, key);
    if (*ret != NULL && (*ret)->kind != NODE_MAPPING && !((*ret)->kind == NODE_SCALAR && (*ret)->text.length == 0 && !(*ret)->quoted)) {
        problem_add(load->problems, (*ret)->place, "bad_value", "%s: expected a mapping", key);
        *ret = NULL;
    }
    if (*ret != NULL && (*ret)->kind != NODE_MAPPING)
        *ret = NULL; /* `topics:` with nothing under it */
    return *ret != NULL;
}

void load_retry(struct load *load, struct node *mapping, const char *what, struct retry_policy *policy)
{
    struct node *retry = node_get(mapping, "retry");
    if (retry == NULL)
        return;
    struct node *attempts = node_get(retry, "max_attempts");
    if (attempts != NULL) {
        long count = strtol(attempts->text.at == NULL ? "" : attempts->text.at, NULL, 10);
        problem_add(load->problems, attempts->place, "max_attempts",
                    "%s.retry: there is no 'max_attempts', which counts the first try; write 'max_retries: %ld', which does not", what,
                    count > 0 ? count - 1 : 0);
        for (size_t i = 0; i < retry->count; i++) /* said already */
            if (span_is(retry->keys[i]->text, "max_attempts"))
                retry->keys[i]->text = SPAN("max_retries");
    }
    char *name = arena_format(load->arena, "%s.retry", what);
    /* What is not said keeps the value it has: the defaults'. */
    struct retry_policy kept = *policy;
    options_apply(retry_options, retry, retry->place, name, &kept, load->arena, load->problems);
    struct node *backoff = node_get(retry, "backoff");
    if (backoff != NULL)
        options_apply(backoff_options, backoff, backoff->place, arena_format(load->arena, "%s.backoff", name), &kept, load->arena, load->problems);
    *policy = kept;
}

static const char *const allowed_properties[] = {
    "bootstrap.servers", "metadata.broker.list", "client.id", "client.rack", "security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password",
    "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location", "ssl.certificate.pem", "ssl.key.location", "ssl.key.pem", "ssl.key.password",
    "ssl.endpoint.identification.algorithm", "ssl.cipher.suites", "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms",
    "group.instance.id", "group.protocol", "partition.assignment.strategy", "fetch.min.bytes", "fetch.max.bytes", "fetch.wait.max.ms",
    "max.partition.fetch.bytes", "queued.min.messages", "queued.max.messages.kbytes", "socket.timeout.ms", "socket.keepalive.enable",
    "reconnect.backoff.ms", "reconnect.backoff.max.ms", "metadata.max.age.ms", "topic.metadata.refresh.interval.ms", "message.max.bytes",
    "compression.type", "compression.codec", "compression.level", "linger.ms", "queue.buffering.max.ms", "batch.size", "batch.num.messages",
    "message.timeout.ms", "delivery.timeout.ms", "request.timeout.ms", "statistics.interval.ms", "broker.address.family", NULL};

static const char *refused_because(const char *name)
{
    static const char *const owned[] = {"enable.auto.commit", "enable.auto.offset.store", "group.id", "auto.offset.reset", "isolation.level", "acks",
                                        "request.required.acks", "enable.idempotence", "transactional.id", "check.crcs", "auto.commit.interval.ms", NULL};
    static const char *const code[] = {"plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.location", "ssl.engine.id", "ssl.providers", NULL};
    for (const char *const *each = owned; *each != NULL; each++)
        if (strcmp(name, *each) == 0)
            return strcmp(name, "group.id") == 0 ? "the engine owns it; say engine.group" : "the engine owns it: its delivery promise rests on it";
    for (const char *const *each = code; *each != NULL; each++)
        if (strcmp(name, *each) == 0)
            return "it loads code or runs a command";
    size_t length = strlen(name);
    if ((length > 3 && strcmp(name + length - 3, "_cb") == 0) || strcmp(name, "opaque") == 0 || strcmp(name, "default_topic_conf") == 0)
        return "it is for programs, not for configurations";
    if (strcmp(name, "debug") == 0 || strncmp(name, "test.mock.", 10) == 0)
        return "it is for librdkafka's own tests";
    return NULL;
}

static void load_properties(struct load *load, struct node *bus)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *properties = node_get(bus, "properties");
    if (properties == NULL)
        return;
    if (properties->kind != NODE_MAPPING || pipeline->bus.kind != BUS_CHOICE_KAFKA) {
        problem_add(load->problems, properties->place, "bad_value", "bus.properties: expected a mapping of librdkafka's properties, with kind: kafka");
        return;
    }
    pipeline->bus.properties = arena_alloc(load->arena, (properties->count + 1) * sizeof *pipeline->bus.properties);
    for (size_t i = 0; i < properties->count; i++) {
        const char *name = properties->keys[i]->text.at, *why = refused_because(name), *value = NULL;
        bool known = false;
        for (const char *const *each = allowed_properties; *each != NULL && !known; each++)
            known = strcmp(name, *each) == 0;
        if (!known) {
            const char *near = why == NULL ? nearest_name(name, allowed_properties) : NULL;
            problem_add(load->problems, properties->keys[i]->place, "property", "bus.properties: '%s' cannot be set here: %s%s%s", name,
                        why != NULL ? why : "it is not on the list of properties that pass through", near != NULL ? "; did you mean " : "",
                        near != NULL ? near : "");
        } else if (node_text(properties->items[i], arena_format(load->arena, "bus.properties.%s", name), &value, load->problems)) {
            size_t at = pipeline->bus.property_count++;
            pipeline->bus.properties[at].name = name;
            pipeline->bus.properties[at].value = value;
            pipeline->bus.properties[at].place = properties->keys[i]->place;
        }
    }
}

static void load_bus(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *bus = NULL, *kind;
    options_default(bus_options_table, pipeline);
    pipeline->bus.kind = BUS_CHOICE_MEMORY;
    if (!load_section(load, root, "bus", &bus)) {
        problem_add(load->problems, root->place, "missing_key", "'bus' is missing: expected bus: {kind: memory}, postgres or kafka");
        return;
    }
    pipeline->bus.place = bus->place;
    if ((kind = node_get(bus, "kind")) != NULL)
        pipeline->bus.kind = span_is(kind->text, "postgres") ? BUS_CHOICE_POSTGRES
                             : span_is(kind->text, "kafka")  ? BUS_CHOICE_KAFKA
                                                             : BUS_CHOICE_MEMORY;
    options_apply(bus_options_table, bus, bus->place, "bus", pipeline, load->arena, load->problems);
    load_properties(load, bus);
}

static void load_store(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *store = NULL;
    options_default(store_options_table, pipeline);
    if (load_section(load, root, "store", &store)) {
        pipeline->store.present = true;
        pipeline->store.place = store->place;
        options_apply(store_options_table, store, store->place, "store", pipeline, load->arena, load->problems);
        struct node *url = node_get(store, "url");
        if (url != NULL && !url->interpolated && strstr(url->text.at == NULL ? "" : url->text.at, "password=") != NULL)
            problem_warn(load->problems, url->place, "literal_secret", "store.url holds a password; take it from the environment: \"${DATABASE_URL}\"");
    } else if (pipeline->bus.kind == BUS_CHOICE_POSTGRES) {
        problem_add(load->problems, pipeline->bus.place, "missing_key", "bus: {kind: postgres} lives in the database of 'store:', which is missing");
    }
}

static void load_engine(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *engine = NULL, *node;
    int64_t most = 500;
    options_default(engine_options_table, pipeline);
    if (load_section(load, root, "engine", &engine)) {
        options_apply(engine_options_table, engine, engine->place, "engine", pipeline, load->arena, load->problems);
        if ((node = node_get(engine, "event_format")) != NULL)
            pipeline->engine.cloudevents = span_is(node->text, "cloudevents");
        if ((node = node_get(engine, "group")) != NULL && node->kind == NODE_SCALAR)
            pipeline->engine.group = load_name(load, node, "engine.group", 200);
        struct node *batch = node_get(engine, "batch");
        if (batch != NULL) {
            options_apply(batch_options, batch, batch->place, "engine.batch", NULL, load->arena, load->problems);
            if ((node = node_get(batch, "max_events")) != NULL)
                most = strtoll(node->text.at == NULL ? "0" : node->text.at, NULL, 10);
        }
    }
    pipeline->engine.max_events = most < 1 || most > 10000 ? 500 : (uint32_t)most;
    if (pipeline->engine.group == NULL)
        pipeline->engine.group = pipeline->name;
}

static void load_defaults(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *defaults = NULL;
    options_default(defaults_options, pipeline);
    options_default(retry_options, &pipeline->defaults.retry);
    options_default(backoff_options, &pipeline->defaults.retry);
    if (!load_section(load, root, "defaults", &defaults))
        return;
    options_apply(defaults_options, defaults, defaults->place, "defaults", pipeline, load->arena, load->problems);
    load_retry(load, defaults, "defaults", &pipeline->defaults.retry);
}

static void load_http(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *http = NULL, *listen, *token;
    options_default(http_options, pipeline);
    if (!load_section(load, root, "http", &http))
        return;
    pipeline->http.present = true;
    options_apply(http_options, http, http->place, "http", pipeline, load->arena, load->problems);
    if ((token = node_get(http, "token")) != NULL && !token->interpolated)
        problem_warn(load->problems, token->place, "literal_secret", "http.token is written out here; take it from the environment or a file");
    listen = node_get(http, "listen");
    const char *text = listen != NULL && listen->kind == NODE_SCALAR && listen->text.at != NULL ? listen->text.at : "127.0.0.1:8080";
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    long port = colon == NULL ? -1 : strtol(colon + 1, &end, 10);
    if (colon == NULL || colon == text || colon[1] == '\0' || *end != '\0' || port < 0 || port > 65535) {
        problem_add(load->problems, listen->place, "bad_value", "http.listen: expected HOST:PORT, like 127.0.0.1:8080, got '%s'", text);
        return;
    }
    pipeline->http.host = arena_string(load->arena, (struct span){text, (size_t)(colon - text)});
    pipeline->http.port = (int32_t)port;
}

static void load_plugins(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *plugins = NULL;
    if (!load_section(load, root, "plugins", &plugins)) {
        problem_add(load->problems, root->place, "missing_key", "'plugins' is missing: expected NAME: {library: NAME.so}");
        return;
    }
    pipeline->plugins = arena_array(load->arena, struct plugin_ref, plugins->count + 1);
    for (size_t i = 0; i < plugins->count; i++) {
        struct plugin_ref *ref = &pipeline->plugins[pipeline->plugin_count];
        ref->index = (uint32_t)pipeline->plugin_count++;
        ref->place = plugins->keys[i]->place;
        ref->name = load_name(load, plugins->keys[i], "plugin name", 64);
        options_apply(plugin_options, plugins->items[i], ref->place, arena_format(load->arena, "plugins.%s", ref->name), ref, load->arena, load->problems);
        ref->settings = node_get(plugins->items[i], "settings");
        if (ref->library != NULL)
            ref->path = load_plugin_path(load, ref->library);
    }
}

int pipeline_load(const char *path, struct arena *arena, struct problems *problems, struct pipeline **ret)
{
    struct load load = {.arena = arena, .problems = problems, .pipeline = arena_new(arena, struct pipeline)};
    struct pipeline *pipeline = load.pipeline;
    pipeline->file = arena_string(arena, span_of(path));
    pipeline->arena = arena;
    pipeline->name = "?";
    struct node *root = tree_read(pipeline->file, arena, problems), *name;
    if (root == NULL)
        return -EINVAL;
    options_apply(pipeline_options, root, root->place, "the pipeline", pipeline, arena, problems);
    if ((name = node_get(root, "pipeline")) != NULL && name->kind == NODE_SCALAR)
        pipeline->name = load_name(&load, name, "pipeline name", 100);
    load_bus(&load, root);
    load_store(&load, root);
    load_engine(&load, root);
    load_defaults(&load, root);
    load_http(&load, root);
    load_plugins(&load, root);
    load_flow(&load, root);
    *ret = pipeline;
    return 0;
}
