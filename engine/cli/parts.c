/*
 * parts.c - from a configuration's path to what a command needs.
 */
#include "cli/parts.h"

#include "bus/open.h"
#include "pipeline/tree.h"
#include "store/migrate.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PARTS_ARENA_BLOCK = 64 * 1024, PARTS_ARENA_MAX = 64 * 1024 * 1024, PARTS_PRINT_MAX = 4 * 1024 * 1024 };

/* The folder "sql" that came with the program: beside its source tree, or installed. NULL: there is none. */
static const char *shipped_sql(struct arena *arena)
{
    char self[PATH_MAX], folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    while (length > 0 && self[length - 1] != '/')
        length--;
    /* The program is build/sluice; of a sanitizer's flavour build/NAME/sluice. */
    static const char *const beside[] = {"../sql", "../../sql", "../share/sluice/sql"};
    for (size_t i = 0; length > 0 && i < sizeof beside / sizeof beside[0]; i++) {
        snprintf(folder, sizeof folder, "%.*s%s/engine", (int)length, self, beside[i]);
        if (access(folder, R_OK) == 0)
            return arena_format(arena, "%.*s%s", (int)length, self, beside[i]);
    }
    return NULL;
}

const char *parts_migrations_folder(const struct parts *parts, const char *owner, const char *library)
{
    const struct pipeline *pipeline = parts->pipeline;
    struct arena *arena = parts->arena;
    const char *slash = library == NULL ? NULL : strrchr(library, '/');
    const char *const folders[] = {
        pipeline->store.migrations,
        slash == NULL ? NULL : arena_format(arena, "%.*s/sql", (int)(slash - library), library),
        shipped_sql(arena),
    };
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        const char *folder = folders[i] == NULL ? NULL : arena_format(arena, "%s/%s", folders[i], owner);
        if (folder != NULL && access(folder, F_OK) == 0)
            return folder;
    }
    return NULL;
}

int parts_migrations(struct parts *parts, struct error *error)
{
    const struct pipeline *pipeline = parts->pipeline;
    struct migrations_of *owners = arena_array(parts->arena, struct migrations_of, pipeline->plugin_count + 1);
    owners[0] = (struct migrations_of){"engine", parts_migrations_folder(parts, "engine", NULL)};
    for (size_t i = 0; i < pipeline->plugin_count; i++) {
        const struct plugin_ref *ref = &pipeline->plugins[i];
        owners[i + 1] = (struct migrations_of){ref->name, parts_migrations_folder(parts, ref->name, ref->path)};
    }
    const char *given = pipeline->store.migrations;
    if (given != NULL && access(given, R_OK | X_OK) != 0)
        return error_set(error, errno, "cannot read the folder of store.migrations, %s: %s", given, strerror(errno));
    if (!pipeline->store.present)
        return 0;
    if (owners[0].folder == NULL) {
        error_set(error, ENOENT,
                  "the engine's migrations are not found, so that nobody knows whether the database has its tables: "
                  "expected the folder sql/engine of the source tree, or share/sluice/sql/engine of the installation, "
                  "that the program came with");
        error_hint(error, "install the program whole, or say in store.migrations in which folder `engine` is");
        return -ENOENT;
    }
    int code = migrations_read(owners, pipeline->plugin_count + 1, &parts->migrations, error);
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

int parts_check(struct parts *parts, bool probe)
{
    struct buffer text;
    int code = reading_finish(&parts->reading, probe);
    if (parts->reading.problems.count > 0) {
        buffer_init(&text, PARTS_PRINT_MAX);
        problems_print(&parts->reading.problems, false, &text);
        (void)buffer_write(&text, stderr);
        buffer_free(&text);
    }
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
