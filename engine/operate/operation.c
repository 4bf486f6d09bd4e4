/*
 * operation.c - see operation.h.
 */
#include "operate/operation.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

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
