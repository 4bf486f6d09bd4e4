/*
 * parts.c - from a configuration's path to what a command needs.
 */
#include "cli/parts.h"

#include "bus/open.h"
#include "pipeline/tree.h"
#include "store/migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PARTS_ARENA_BLOCK = 64 * 1024, PARTS_ARENA_MAX = 64 * 1024 * 1024, PARTS_PRINT_MAX = 4 * 1024 * 1024 };

/* Where a plugin's migrations may lie beside its library: DIR/shout/sql for DIR/shout.so, or DIR/sql. */
static void migrations_beside(const struct parts *parts, const struct plugin_ref *ref, const char *ret[2])
{
    const char *path = ref->path;
    while (strncmp(path, "././", 4) == 0) /* the file's folder, and the same again as it was written */
        path += 2;
    const char *slash = strrchr(path, '/');
    struct span dir = slash == NULL ? SPAN(".") : (struct span){path, (size_t)(slash - path)};
    ret[0] = arena_format(parts->arena, "%.*s/%s/sql", (int)dir.length, dir.at, ref->name);
    ret[1] = arena_format(parts->arena, "%.*s/sql", (int)dir.length, dir.at);
}

const char *parts_migrations_folder(const struct parts *parts, const struct plugin_ref *ref)
{
    const char *beside[2];
    if (ref->migrations != NULL || ref->path == NULL)
        return ref->migrations;
    migrations_beside(parts, ref, beside);
    return access(beside[0], F_OK) == 0 ? beside[0] : access(beside[1], F_OK) == 0 ? beside[1] : NULL;
}

static bool uses_store(const struct pipeline *pipeline, const struct plugin_ref *ref)
{
    for (size_t i = 0; i < pipeline->binding_count; i++) {
        const struct binding *binding = pipeline->bindings[i];
        if (binding->plugin == ref && binding->handler != NULL && binding->handler->uses_store != 0)
            return true;
    }
    return false;
}

void parts_warn_migrations(const struct parts *parts, struct problems *problems)
{
    const struct pipeline *pipeline = parts->pipeline;
    for (size_t i = 0; pipeline->store.present && i < pipeline->plugin_count; i++) {
        const struct plugin_ref *ref = &pipeline->plugins[i];
        const char *beside[2];
        if (ref->path == NULL || !uses_store(pipeline, ref) || parts_migrations_folder(parts, ref) != NULL)
            continue;
        migrations_beside(parts, ref, beside);
        problem_warn(problems, ref->place, "no_migrations",
                     "the plugin '%s' uses the database and has no folder of migrations: there is neither %s nor %s; "
                     "if it has tables of its own, put its numbered SQL there, or name the folder in "
                     "plugins.%s.migrations",
                     ref->name, beside[0], beside[1], ref->name);
    }
    problems_sort(problems);
}

/* Files of one folder are one plugin's. */
static int migrations_shared(const struct migrations_of *owners, size_t count, struct error *error)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t j = 1; j < i; j++) {
            if (owners[i].folder == NULL || owners[j].folder == NULL || strcmp(owners[i].folder, owners[j].folder) != 0)
                continue;
            error_set(error, EEXIST, "the plugins '%s' and '%s' would both have the migrations in %s", owners[j].owner,
                      owners[i].owner, owners[i].folder);
            error_hint(error,
                       "beside two libraries each has a folder named as it is, %s/sql; or say it in "
                       "plugins.%s.migrations",
                       owners[i].owner, owners[i].owner);
            return -EEXIST;
        }
    }
    return 0;
}

int parts_migrations(struct parts *parts, struct error *error)
{
    const struct pipeline *pipeline = parts->pipeline;
    size_t count = pipeline->plugin_count + 1;
    struct migrations_of *owners = arena_array(parts->arena, struct migrations_of, count);
    owners[0] = (struct migrations_of){.owner = "engine", .engine = true};
    for (size_t i = 0; i < pipeline->plugin_count; i++) {
        const struct plugin_ref *ref = &pipeline->plugins[i];
        const char *beside[2] = {"", ""};
        if (ref->path != NULL)
            migrations_beside(parts, ref, beside);
        owners[i + 1] = (struct migrations_of){.owner = ref->name,
                                               .folder = parts_migrations_folder(parts, ref),
                                               .looked = arena_format(parts->arena, "%s nor %s", beside[0], beside[1])};
    }
    if (!pipeline->store.present)
        return 0;
    int code = migrations_shared(owners, count, error);
    if (code == 0)
        code = migrations_read(owners, count, &parts->migrations, error);
    if (code == 0)
        migrations_outbox_table(parts->migrations, pipeline->outbox_table.name);
    return code;
}

static int open_store(struct parts *parts, struct error *error)
{
    const struct pipeline *pipeline = parts->pipeline;
    struct store_options options = {
        .url = pipeline->store.url,
        .application = arena_format(parts->arena, "sluice/%s", pipeline->name),
        .connect_timeout_ms = pipeline->store.connect_timeout_ms,
        .statement_timeout_ms = pipeline->store.statement_timeout_ms,
        /* between two statements of a transaction there is one call of a handler at most */
        .idle_ms = pipeline_longest_call_ms(pipeline),
        .announce = parts->engine != NULL,
        .allow_unsafe = pipeline->store.allow_unsafe,
        .metrics = parts->metrics,
    };
    if (!pipeline->store.present || pipeline->store.url == NULL)
        return 0;
    return store_open(&options, &parts->store, error);
}

/* Whether a handler or tap may make dead letters of its events. */
static bool is_read(const struct pipeline *pipeline, const struct topic *topic)
{
    bool read = topic->binding != NULL;
    for (size_t i = 0; i < pipeline->tap_count && !read; i++)
        read = tap_sees(&pipeline->taps[i], topic);
    return read && topic->dead_letter != NULL;
}

static int open_bus(struct parts *parts, bool looked_at, struct error *error)
{
    const struct pipeline *pipeline = parts->pipeline;
    struct bus_property *properties = arena_array(parts->arena, struct bus_property, pipeline->bus.property_count + 1);
    struct bus_topic *topics = arena_array(parts->arena, struct bus_topic, pipeline->topic_count + 1);
    size_t topic_count = pipeline->topic_count;
    for (size_t i = 0; i < pipeline->bus.property_count; i++)
        properties[i] = (struct bus_property){pipeline->bus.properties[i].name, pipeline->bus.properties[i].value};
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        const struct topic *topic = pipeline->topics[i];
        topics[i] = (struct bus_topic){.name = topic->name,
                                       .key = topic->key_text,
                                       .partitions = topic->partitions,
                                       .replication = topic->replication,
                                       .dead_letters = topic->is_dead_letter,
                                       .dead_letter = is_read(pipeline, topic) ? topic->dead_letter->name : NULL};
    }
    if (!pipeline->store.present)
        topics[topic_count++] = (struct bus_topic){
            .name = pipeline_notes_topic(pipeline->engine.group, parts->arena), .partitions = 1, .own = true};
    bus_open_function *open = pipeline->bus.kind == BUS_CHOICE_MEMORY     ? parts->buses->memory
                              : pipeline->bus.kind == BUS_CHOICE_POSTGRES ? parts->buses->postgres
                                                                          : parts->buses->kafka;
    struct bus_options options = {
        .name = pipeline->name,
        .engine = parts->engine,
        .partitions = (uint32_t)pipeline->bus.partitions,
        .replication = pipeline->bus.replication,
        .retention_ms = pipeline->bus.retention_ms,
        .looked_at = looked_at,
        .store = parts->store,
        .properties = properties,
        .property_count = pipeline->bus.property_count,
        .topics = topics,
        .topic_count = topic_count,
        .max_event_size = (size_t)pipeline->engine.max_event_size,
        .longest_delay_ms = pipeline_longest_delay_ms(pipeline),
    };
    return open(&options, &parts->bus, error);
}

int parts_attach(struct parts *ret, enum parts_wanted wanted, struct error *error)
{
    int code = 0;
    if (ret->metrics == NULL)
        ret->metrics = metrics_create();
    if (wanted >= PARTS_STORE && ret->store == NULL)
        code = open_store(ret, error);
    if (code == 0 && wanted >= PARTS_LOOK && ret->bus == NULL)
        code = open_bus(ret, wanted == PARTS_LOOK, error);
    struct error why = {0};
    if (code != 0 && ret->store != NULL && store_check_session(ret->store, &why) != STORE_OK)
        *error = why; /* rather than what it does to a statement of the bus */
    return code;
}

void parts_read(const char *path, const struct buses *buses, struct parts *ret)
{
    *ret = (struct parts){.arena = arena_create(PARTS_ARENA_BLOCK, PARTS_ARENA_MAX), .buses = buses};
    reading_begin(path, ret->arena, &ret->reading);
    ret->pipeline = ret->reading.pipeline;
}

void parts_print_problems(const struct parts *parts)
{
    struct buffer text;
    buffer_init(&text, PARTS_PRINT_MAX);
    problems_print(&parts->reading.problems, false, &text);
    (void)buffer_write(&text, stderr);
    buffer_free(&text);
}

int parts_check(struct parts *parts, bool probe)
{
    int code = reading_finish(&parts->reading, probe);
    parts_print_problems(parts);
    return code == 0 ? CLI_OK : CLI_CONFIG;
}

int parts_open(const char *path, enum parts_wanted wanted, bool probe, const struct buses *buses, struct parts *ret)
{
    struct error error = {0};

    parts_read(path, buses, ret);
    if (parts_check(ret, probe) != CLI_OK) {
        parts_close(ret);
        return CLI_CONFIG;
    }
    if (parts_attach(ret, wanted, &error) == 0)
        return CLI_OK;
    parts_close(ret);
    return cli_failed_with(path, &error);
}

void parts_no_topic(const struct parts *parts, const char *command, const char *config, const char *topic)
{
    const struct pipeline *pipeline = parts->pipeline;
    const char **names = arena_array(parts->arena, const char *, pipeline->topic_count + 1);
    for (size_t i = 0; i < pipeline->topic_count; i++)
        names[i] = pipeline->topics[i]->name;
    const char *near = nearest_name(topic, names);
    struct error error = {0};
    error_set(&error, ENOENT, "%s names no topic '%.249s'%s%s%s", config, topic, near != NULL ? "; did you mean '" : "",
              near != NULL ? near : "", near != NULL ? "'?" : "");
    (void)cli_failed(command, &error);
}

void parts_close(struct parts *parts)
{
    if (parts->bus != NULL)
        bus_close(parts->bus);
    store_close(parts->store);
    metrics_destroy(parts->metrics);
    migrations_free(parts->migrations);
    arena_destroy(parts->arena);
    *parts = (struct parts){0};
}
