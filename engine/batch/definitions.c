/*
 * definitions.c - see definitions.h.
 */
#include "batch/definitions.h"

#include "pipeline/chain_definition.h"

#include <stdlib.h>

struct chain_definitions {
    struct arena *arena;
    struct kept_definition {
        int32_t number;
        struct chain *chain;
    } * list;
    size_t count;
};

static struct chain_definitions *definitions_of(struct batch_env *env)
{
    if (env->definitions == NULL)
        env->definitions = calloc(1, sizeof *env->definitions);
    if (env->definitions != NULL && env->definitions->arena == NULL)
        env->definitions->arena = arena_create(4096, 64 * 1024 * 1024);
    return env->definitions == NULL || env->definitions->arena == NULL ? NULL : env->definitions;
}

const struct chain *definition_find(struct batch *batch, struct work *work, const struct chain *current, int32_t number)
{
    struct batch_env *env = batch->env;
    struct chain_definitions *definitions;
    struct error error = {0};
    struct span text;
    if (number == 0 || number == env->numbers->definitions[current->index])
        return current;
    if ((definitions = definitions_of(env)) == NULL) {
        batch->result = STORE_DOWN;
        return NULL;
    }
    for (size_t i = 0; i < definitions->count; i++)
        if (definitions->list[i].number == number)
            return definitions->list[i].chain;
    batch->result = ledger_chain_definition(batch->connection, number, &text, &batch->error);
    if (batch->result != STORE_OK)
        return NULL;
    struct chain *chain = chain_definition_read(env->config, current, text, definitions->arena, &error);
    if (chain == NULL) {
        work_condemn(batch, work, DEAD_BAD_OUTPUT, "%s", error.text);
        return NULL;
    }
    definitions->list = arena_grown(definitions->arena, definitions->list, definitions->count,
                                    sizeof *definitions->list);
    definitions->list[definitions->count++] = (struct kept_definition){number, chain};
    return chain;
}

void definitions_free(struct chain_definitions *definitions)
{
    if (definitions == NULL)
        return;
    arena_destroy(definitions->arena);
    free(definitions);
}
