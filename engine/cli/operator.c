/*
 * operator.c - see operator.h.
 */
#include "cli/operator.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { OPERATOR_ARENA_MAX = 512 * 1024 * 1024 };

int operator_open(const char *config, const struct buses *buses, struct operator* ret)
{
    *ret = (struct operator){0};
    int code = parts_open(config, PARTS_STORE, false, buses, &ret->parts);
    if (code != CLI_OK)
        return code;
    struct arena *arena = arena_create(256 * 1024, OPERATOR_ARENA_MAX);
    struct connection *connection = ret->parts.store == NULL ? NULL : connection_create(ret->parts.store, "operator");
    if (arena == NULL || (ret->parts.store != NULL && connection == NULL)) {
        fprintf(stderr, "sluice: out of memory\n");
        arena_destroy(arena);
        parts_close(&ret->parts);
        return CLI_FAILED;
    }
    ret->operation = (struct operation){
        .pipeline = ret->parts.pipeline, .connection = connection, .arena = arena, .actor = operation_actor(arena)};
    return CLI_OK;
}

void operator_close(struct operator* operator)
{
    connection_destroy(operator->operation.connection);
    arena_destroy(operator->operation.arena);
    parts_close(&operator->parts);
}

int operator_failed(const char *command, const struct error *error)
{
    (void)cli_failed(command, error);
    return error->code == EINVAL ? CLI_USAGE : CLI_FAILED;
}

const char *age_text(int64_t then_ms, char buf[32])
{
    int64_t s = (clock_wall_ms() - then_ms) / 1000;
    if (s < 120)
        snprintf(buf, 32, "%llds", (long long)(s < 0 ? 0 : s));
    else if (s < 2 * 3600)
        snprintf(buf, 32, "%lldm", (long long)(s / 60));
    else if (s < 2 * 86400)
        snprintf(buf, 32, "%lldh", (long long)(s / 3600));
    else
        snprintf(buf, 32, "%lldd", (long long)(s / 86400));
    return buf;
}

void print_count(size_t count, const char *noun)
{
    size_t length = strlen(noun);
    bool y = length > 0 && noun[length - 1] == 'y';
    printf("%zu %.*s%s\n", count, (int)(length - (y && count != 1)), noun, count == 1 ? "" : y ? "ies" : "s");
}
