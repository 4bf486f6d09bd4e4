/*
 * operation.c - see operation.h.
 */
#include "operate/operation.h"

#include "base/clock.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

enum { OPERATION_MS = 30000, OPERATION_TIMES = 4 };

struct span operation_actor(struct arena *arena)
{
    char host[256] = "", names[4096];
    struct passwd user, *found = NULL;
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        snprintf(host, sizeof host, "localhost");
    getpwuid_r(geteuid(), &user, names, sizeof names, &found);
    return span_of(found != NULL && found->pw_name[0] != '\0'
                       ? arena_format(arena, "%s@%s", found->pw_name, host)
                       : arena_format(arena, "uid %u@%s", (unsigned)geteuid(), host));
}

struct span *operation_groups(const struct operation *operation, size_t *ret_count)
{
    const struct pipeline *pipeline = operation->pipeline;
    struct span *names = arena_array(operation->arena, struct span, pipeline->group_count + 1);
    for (size_t i = 0; i < pipeline->group_count; i++)
        names[i] = span_of(pipeline->groups[i].name);
    *ret_count = pipeline->group_count;
    return names;
}

/* Whether it is UTF-8 without control characters, those of C1 (U+0080 to U+009F) included. */
static bool is_line(struct span text)
{
    bool good = span_utf8(text) == text.length;
    for (size_t i = 0; i < text.length && good; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        good = byte >= 0x20 && byte != 0x7f && (byte != 0xc2 || (unsigned char)text.at[i + 1] >= 0xa0);
    }
    return good;
}

int operation_because(struct operation *operation, struct span reason, struct error *error)
{
    if (reason.length > OPERATION_REASON_MAX || !is_line(reason))
        return error_set(error, EINVAL, "the reason must be a line of text, at most %d bytes of UTF-8",
                         OPERATION_REASON_MAX);
    operation->reason = reason;
    return 0;
}

struct span operation_words(const struct operation *operation)
{
    struct span actor = operation->actor, reason = operation->reason;
    return reason.length == 0 ? actor
                              : span_of(arena_format(operation->arena, "%.*s: %.*s", (int)actor.length, actor.at,
                                                     (int)reason.length, reason.at));
}

enum store_result operation_audit(const struct operation *operation, const char *act, struct span object,
                                  struct error *error)
{
    const struct audit audit = {
        .pipeline = span_of(operation->pipeline->name),
        .actor = operation->actor,
        .act = span_of(act),
        .object = object,
        .reason = operation->reason,
    };
    return ledger_audit(operation->connection, &audit, error);
}

int operation_needs_store(const struct operation *operation, const char *what, struct error *error)
{
    if (operation->connection != NULL)
        return 0;
    error_set(error, ENOTSUP, "pipeline '%s' has no store, and %s kept there", operation->pipeline->name, what);
    return error_hint(error, "give it one: store: {url: ...}");
}

int64_t operation_timeout_ms(const struct operation *operation)
{
    int64_t left = operation->deadline_ms == 0 ? OPERATION_MS : operation->deadline_ms - clock_monotonic_ms();
    return left < 1 ? 1 : left;
}

int operation_result(enum store_result result, struct error *error)
{
    if (result == STORE_OK)
        return 0;
    int code = result == STORE_TRANSIENT ? EAGAIN : result == STORE_DOWN ? EHOSTDOWN : EIO;
    if (error != NULL)
        error->code = code;
    if (result == STORE_UNKNOWN)
        error_hint(error, "whether it was done is not known: look before you do it again");
    return -code;
}

int operation_transact(const struct operation *operation,
                       int (*act)(const struct operation *operation, void *context, struct error *error), void *context,
                       struct error *error)
{
    struct connection *connection = operation->connection;
    int code = -EAGAIN;
    for (int times = 0; code == -EAGAIN && times < OPERATION_TIMES; times++) {
        *error = (struct error){0};
        int64_t deadline_ms = clock_monotonic_ms() + operation_timeout_ms(operation);
        code = operation_result(connection_begin(connection, deadline_ms, error), error);
        if (code == 0)
            code = act(operation, context, error);
        if (code == 0)
            code = operation_result(connection_commit(connection, error), error);
        if (code != 0)
            connection_rollback(connection);
    }
    return code;
}
