/*
 * load.c - pipeline.yaml as plain data: the sections that describe the engine itself.
 *
 * load_flow.c reads topics, chains, taps, schedules and requests. Reading continues after every problem, so that one
 * run reports all.
 */
#include "pipeline/load.h"

#include "base/sha256.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void load_bus(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *bus = NULL, *kind;
    options_default(bus_options_table, pipeline);
    pipeline->bus.kind = BUS_CHOICE_MEMORY;
    size_t before = load->problems->errors;
    if (!load_section(load, root, "bus", &bus))
        return;
    pipeline->bus.place = bus->place;
    int choice = (kind = node_get(bus, "kind")) == NULL ? -1 : choice_index("memory|postgres|kafka", kind->text);
    if (choice >= 0)
        pipeline->bus.kind = (enum bus_choice)(BUS_CHOICE_MEMORY + choice);
    options_apply(bus_options_table, bus, bus->place, "bus", pipeline, load->arena, load->problems);
    load_properties(load, bus);
    pipeline->bus.whole = load->problems->errors == before && !node_broken(bus);
}

/* "password=…" of either form, or "//user:password@". */
static bool holds_password(const char *url)
{
    const char *user = strstr(url, "://"), *colon = user == NULL ? NULL : strchr(user + 3, ':');
    size_t authority = user == NULL ? 0 : strcspn(user + 3, "/?");
    const char *at = user == NULL ? NULL : memchr(user + 3, '@', authority);
    return strstr(url, "password=") != NULL || (at != NULL && colon != NULL && colon < at);
}

static void load_store(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *store = NULL;
    options_default(store_options_table, pipeline);
    struct node *node = node_get(root, "store");
    pipeline->store.present = node != NULL; /* a bad one is a problem of its own */
    if (node != NULL && node->kind == NODE_SCALAR && node->text.length == 0 && !node->quoted && !node->broken)
        options_apply(store_options_table, NULL, node->place, "store", pipeline, load->arena, load->problems);
    if (load_section(load, root, "store", &store)) {
        pipeline->store.place = store->place;
        options_apply(store_options_table, store, store->place, "store", pipeline, load->arena, load->problems);
        struct node *url = node_get(store, "url");
        if (url != NULL && url->kind == NODE_SCALAR && !url->interpolated && holds_password(url->text.at))
            problem_warn(load->problems, url->place, "literal_secret",
                         "store.url holds a password; take it from the environment: \"${DATABASE_URL}\"");
    } else if (pipeline->bus.kind == BUS_CHOICE_POSTGRES && !pipeline->store.present) {
        problem_add(load->problems, pipeline->bus.place, "missing_key",
                    "bus: {kind: postgres} lives in the database of 'store:', which is missing");
    }
}

static void load_engine(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *engine = NULL, *node;
    int64_t most = 500; /* batch_options says so too */
    options_default(engine_options_table, pipeline);
    if (load_section(load, root, "engine", &engine)) {
        options_apply(engine_options_table, engine, engine->place, "engine", pipeline, load->arena, load->problems);
        int format = (node = node_get(engine, "event_format")) == NULL
                         ? -1
                         : choice_index("sluice|cloudevents|cloudevents_binary", node->text);
        if (format >= 0)
            pipeline->engine.event_format = (enum event_format)format;
        if ((node = node_get(engine, "group")) != NULL && node->kind == NODE_SCALAR && !node->broken) {
            pipeline->engine.group = load_name(load, node, "engine.group", 200);
            pipeline->engine.group_place = node->place;
        }
        load_start(load, engine, "engine", &pipeline->engine.start);
        struct node *batch = node_get(engine, "batch");
        if (batch != NULL) {
            options_apply(batch_options, batch, batch->place, "engine.batch", NULL, load->arena, load->problems);
            most = load_number(node_get(batch, "max_events"), 1, 10000, most);
        }
    }
    pipeline->engine.max_events = (uint32_t)most;
    if (pipeline->engine.group == NULL) {
        pipeline->engine.group = pipeline->name;
        pipeline->engine.group_place = pipeline->name_place;
    }
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

/* "host" of HOST:PORT as getaddrinfo() takes it: without the brackets of IPv6. */
static const char *load_host(struct load *load, struct span host)
{
    if (host.length > 2 && host.at[0] == '[' && host.at[host.length - 1] == ']')
        host = (struct span){host.at + 1, host.length - 2};
    return arena_string(load->arena, host);
}

/* What no other machine can reach, as far as the text alone says: a name may be anything. */
static bool host_is_loopback(const char *host)
{
    struct in_addr v4;
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET);
}

/* False: it was refused. What a client sends as a bearer token (RFC 6750) has these characters only. */
static bool load_token(struct load *load, struct node *token)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/";
    struct pipeline *pipeline = load->pipeline;
    if (token == NULL)
        return true;
    if (token->kind != NODE_SCALAR || node_broken(token))
        return false;
    if (!token->interpolated && token->text.length > 0)
        problem_warn(load->problems, token->place, "literal_secret",
                     "http.token is written out here; take it from the environment or a file");
    if (token->text.length == 0)
        pipeline->http.token = NULL; /* "${HTTP_TOKEN:-}": there is none */
    size_t length = strspn(token->text.at, letters);
    if (token->text.length > 0 &&
        (length == 0 || length + strspn(token->text.at + length, "=") != token->text.length)) {
        problem_add(load->problems, token->place, "bad_value",
                    "http.token: expected letters, digits and - . _ ~ + /, with = only at the end, as bearer tokens "
                    "have; it has something else");
        return false;
    }
    return true;
}

static void load_http(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *http = NULL, *listen;
    options_default(http_options, pipeline);
    if (!load_section(load, root, "http", &http))
        return;
    pipeline->http.present = true;
    options_apply(http_options, http, http->place, "http", pipeline, load->arena, load->problems);
    bool token_fits = load_token(load, node_get(http, "token"));
    listen = node_get(http, "listen");
    if (listen != NULL && (listen->kind != NODE_SCALAR || listen->broken))
        return;
    const char *text = listen != NULL ? listen->text.at : "127.0.0.1:8080", *colon = strrchr(text, ':');
    bool good = colon != NULL && colon > text && colon[1] != '\0' && strlen(colon) < 7 &&
                strspn(colon + 1, "0123456789") == strlen(colon + 1);
    long port = good ? strtol(colon + 1, NULL, 10) : -1;
    if (listen != NULL && (port < 0 || port > 65535)) {
        problem_add(load->problems, listen->place, "bad_value",
                    "http.listen: expected HOST:PORT, like 127.0.0.1:8080, got %s", node_shown(listen, load->arena));
        return;
    }
    pipeline->http.host = load_host(load, (struct span){text, (size_t)(colon - text)});
    pipeline->http.port = (int32_t)port;
    if (listen != NULL && token_fits && pipeline->http.token == NULL && !host_is_loopback(pipeline->http.host))
        problem_add(load->problems, listen->place, "token_missing",
                    "http.listen: other machines reach an address that is not loopback, so http.token is required: "
                    "set it, to \"${HTTP_TOKEN}\" for example, or listen on 127.0.0.1");
}

/* Relative to the file; it has to be there. */
static void load_migrations(struct load *load, const struct node *node, struct plugin_ref *ref)
{
    if (node == NULL || node->kind != NODE_SCALAR || node->text.length == 0)
        return;
    ref->migrations = load_beside(load, arena_string(load->arena, node->text));
    if (access(ref->migrations, R_OK | X_OK) != 0)
        problem_add(load->problems, node->place, "migrations",
                    "plugins.%s.migrations: cannot read the folder %s: %s; expected the one with the plugin's "
                    "0001_words.sql",
                    ref->name, ref->migrations, strerror(errno));
}

/* Whether what names a library is the digits of a hash, or nothing. */
static bool load_sha256(struct load *load, const struct node *node, struct plugin_ref *ref)
{
    if (ref->sha256 == NULL || ref->sha256[0] == '\0')
        return node == NULL; /* or options_apply() has refused it */
    ref->sha256_place = node->place;
    if (strlen(ref->sha256) == SHA256_DIGITS && strspn(ref->sha256, "0123456789abcdefABCDEF") == SHA256_DIGITS)
        return true;
    problem_add(load->problems, node->place, "bad_value",
                "plugins.%s.sha256: expected %d hex digits, as `sluice inspect` shows them, got %s", ref->name,
                SHA256_DIGITS, node_shown(node, load->arena));
    return false;
}

/* What is allowed or limited is the process of its own. */
static void load_isolation(struct load *load, const struct node *item, struct plugin_ref *ref)
{
    static const char *const keys[] = {"memory", "cpu", "exec", "sockets"};
    const struct node *isolation = node_get(item, "isolation");
    if (isolation != NULL && choice_index("none|process", isolation->text) == ISOLATION_PROCESS)
        ref->isolation = ISOLATION_PROCESS;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && ref->isolation != ISOLATION_PROCESS; i++) {
        const struct node *node = node_get(item, keys[i]);
        if (node != NULL)
            problem_add(load->problems, node->place, "bad_value",
                        "plugins.%s.%s: is about a process of its own; add `isolation: process`, or remove it",
                        ref->name, keys[i]);
    }
}

static void load_plugins(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *plugins = NULL;
    if (!load_section(load, root, "plugins", &plugins))
        return;
    pipeline->plugins = arena_array(load->arena, struct plugin_ref, plugins->count + 1);
    for (size_t i = 0; i < plugins->count; i++) {
        struct plugin_ref *ref = &pipeline->plugins[pipeline->plugin_count];
        ref->index = (uint32_t)pipeline->plugin_count++;
        ref->place = plugins->keys[i]->place;
        ref->name = load_name(load, plugins->keys[i], "plugin name", 64);
        options_apply(plugin_options, plugins->items[i], ref->place, arena_format(load->arena, "plugins.%s", ref->name),
                      ref, load->arena, load->problems);
        bool meant = load_sha256(load, node_get(plugins->items[i], "sha256"), ref);
        load_isolation(load, plugins->items[i], ref);
        ref->settings = node_get(plugins->items[i], "settings");
        if (ref->settings != NULL && ref->settings->kind == NODE_SCALAR && ref->settings->text.length == 0 &&
            !ref->settings->quoted)
            ref->settings = NULL; /* `settings:` with nothing under it */
        if (meant && ref->library != NULL && ref->library[0] != '\0')
            ref->path = load_plugin_path(load, ref);
        load_migrations(load, node_get(plugins->items[i], "migrations"), ref);
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
    if (root == NULL) {
        *ret = pipeline;
        return -EINVAL;
    }
    pipeline->root = root;
    options_apply(pipeline_options, root, root->place, "the pipeline", pipeline, arena, problems);
    pipeline->name_place = root->place;
    if ((name = node_get(root, "pipeline")) != NULL && name->kind == NODE_SCALAR) {
        pipeline->name = load_name(&load, name, "pipeline name", 100);
        pipeline->name_place = name->place;
    }
    load_bus(&load, root);
    load_store(&load, root);
    load_engine(&load, root);
    load_defaults(&load, root);
    load_http(&load, root);
    load_tracing(&load, root);
    load_plugins(&load, root);
    load_answers(&load, root);
    size_t before = problems->errors;
    load_flow(&load, root);
    pipeline->whole = problems->errors == before;
    *ret = pipeline;
    return 0;
}
