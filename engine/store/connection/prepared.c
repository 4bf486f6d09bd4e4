/*
 * prepared.c - the statements that the server of this connection knows, by the address of their text.
 *
 * A text that is executed with other parameter types is another prepared statement.
 */
#include "store/connection/connection.h"

#include <stdlib.h>

static uint8_t prepared_type(const struct store_param *param)
{
    return (uint8_t)(param->type | (param->array ? 0x80 : 0));
}

static bool prepared_fits(const struct prepared *entry, size_t count, const struct store_param *params)
{
    if (entry->type_count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (entry->types[i] != prepared_type(&params[i]))
            return false;
    }
    return true;
}

struct prepared *prepared_get(struct connection *connection, const struct statement *statement, size_t count,
                              const struct store_param *params)
{
    uint64_t key = (uint64_t)(uintptr_t)statement->text;
    struct prepared *first = intmap_get(connection->prepared, key);
    for (struct prepared *entry = first; entry != NULL; entry = entry->next) {
        if (prepared_fits(entry, count, params))
            return entry;
    }
    struct prepared *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        abort(); /* as in arena.h */
    snprintf(entry->name, sizeof entry->name, "s%zu", ++connection->prepared_count);
    entry->type_count = (uint8_t)count;
    for (size_t i = 0; i < count; i++)
        entry->types[i] = prepared_type(&params[i]);
    entry->next = first;
    intmap_set(connection->prepared, key, entry);
    return entry;
}

void prepared_release(struct connection *connection)
{
    size_t cursor = 0;
    uint64_t key;
    void *value;
    while (connection->prepared != NULL && intmap_next(connection->prepared, &cursor, &key, &value)) {
        for (struct prepared *entry = value; entry != NULL;) {
            struct prepared *next = entry->next;
            free(entry);
            entry = next;
        }
    }
    intmap_destroy(connection->prepared);
    connection->prepared = NULL;
    connection->prepared_count = 0;
}
