/*
 * statements.c - the texts of the statements of isolated plugins.
 *
 * A statement is known by the address of its text, to connections and to what notes a refused one; a plugin's process
 * has it at another address in each lane. A text stays as long as this process, like a library that it has loaded: the
 * one table with state in this folder.
 */
#include "isolate/isolated.h"

#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>

enum { STATEMENTS_MAX = 4096 };

static struct {
    pthread_mutex_t mutex;
    struct map *known; /* text → itself */
    size_t count;
} statements = {.mutex = PTHREAD_MUTEX_INITIALIZER};

const char *isolated_statement(const char *text)
{
    pthread_mutex_lock(&statements.mutex);
    if (statements.known == NULL)
        statements.known = map_create(64);
    char *known = statements.known == NULL ? NULL : map_get(statements.known, span_of(text));
    if (known == NULL && statements.known != NULL && statements.count < STATEMENTS_MAX) {
        known = strdup(text);
        if (known != NULL)
            map_set(statements.known, span_of(known), known);
        statements.count += known != NULL;
    }
    pthread_mutex_unlock(&statements.mutex);
    return known;
}
