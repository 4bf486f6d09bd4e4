/*
 * clock_users.c - see clock_users.h.
 */
#include "flowtest/clock_users.h"

#include "flowtest/server_clock.h"

enum { CLOCK_USERS_MS = 60000, SHOWN_MAX = 160 };

static const char ADVICE[] = "which is the server's time, not the test's; call now()";

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Where the name stands last as a word; NULL: nowhere. */
static const char *find_name(struct span text, struct span name)
{
    const char *last = NULL, *end = text.at + text.length;
    for (const char *at = text.at; name.length > 0 && at < end; at++) {
        at = memmem(at, (size_t)(end - at), name.at, name.length);
        if (at == NULL)
            break;
        if ((at == text.at || !is_word_byte(at[-1])) && (at + name.length == end || !is_word_byte(at[name.length])))
            last = at;
    }
    return last;
}

struct place_of_use { /* the newest file that has the name, and such a word behind it */
    struct span name;
    const char *folder, *file;
    int line;
};

static void look_in(void *context, const char *folder, const char *file, struct span text)
{
    struct place_of_use *place = context;
    const char *name = folder == NULL ? NULL : find_name(text, place->name);
    if (name == NULL)
        return;
    struct span found = server_clock_find((struct span){name, (size_t)(text.at + text.length - name)}, true);
    if (found.at == NULL)
        return;
    place->folder = folder;
    place->file = file;
    place->line = 1;
    for (const char *at = text.at; at < found.at; at++)
        place->line += *at == '\n';
}

enum store_result clock_users_made(struct connection *connection, const struct migrations *migrations, FILE *out,
                                   struct error *error)
{
    static const struct statement made = {
        "select s.object, s.name, s.source from ("
        "select 'function ' || p.oid::regprocedure::text, p.proname::text,"
        " coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), p.pronamespace from pg_proc p"
        " join pg_language l on l.oid = p.prolang where l.lanname in ('sql', 'plpgsql')"
        " union all select 'view ' || c.oid::regclass::text, c.relname::text, pg_get_viewdef(c.oid), c.relnamespace"
        " from pg_class c where c.relkind in ('v', 'm')"
        " union all select 'the default of ' || c.oid::regclass::text || '.' || t.attname, t.attname::text,"
        " pg_get_expr(a.adbin, a.adrelid), c.relnamespace from pg_attrdef a join pg_class c on c.oid = a.adrelid"
        " join pg_attribute t on t.attrelid = a.adrelid and t.attnum = a.adnum"
        " union all select 'the check ' || k.conname || ' of ' || k.conrelid::regclass::text, k.conname::text,"
        " pg_get_constraintdef(k.oid), k.connamespace from pg_constraint k where k.contype = 'c' and k.conrelid <> 0"
        ") as s(object, name, source, namespace) join pg_namespace n on n.oid = s.namespace"
        " where n.nspname not in ('pg_catalog', 'information_schema', 'sluice_clock')"
        " and s.source ~* 'current_(timestamp|time|date)|localtime|timeofday|pg_catalog' order by 1",
        false};
    struct rows *rows = NULL;
    enum store_result result = connection_once(connection, &made, 0, NULL, CLOCK_USERS_MS, &rows, error);
    for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++) {
        struct span object = rows_span(rows, r, 0), word = server_clock_find(rows_span(rows, r, 2), false);
        struct place_of_use place = {.name = rows_span(rows, r, 1)};
        if (word.at == NULL)
            continue;
        migrations_each(migrations, look_in, &place);
        if (place.file != NULL)
            fprintf(out, "%s/%s:%d: ", place.folder, place.file, place.line);
        fprintf(out, "warning: %.*s calls %.*s, %s\n", (int)object.length, object.at, (int)word.length, word.at,
                ADVICE);
    }
    return result;
}

enum store_result clock_users_prepared(struct connection *connection, FILE *out, struct error *error)
{
    static const struct statement prepared = {
        "select statement from pg_prepared_statements"
        " where statement ~* 'current_(timestamp|time|date)|localtime|timeofday|pg_catalog' order by prepare_time",
        true};
    struct rows *rows = NULL;
    enum store_result result = connection_once(connection, &prepared, 0, NULL, CLOCK_USERS_MS, &rows, error);
    for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++) {
        struct span text = rows_span(rows, r, 0), word = server_clock_find(text, false);
        if (word.at == NULL)
            continue;
        fprintf(out, "warning: a handler's statement calls %.*s, %s: ", (int)word.length, word.at, ADVICE);
        for (size_t i = 0; i < text.length && i < SHOWN_MAX; i++) /* in one line */
            fputc((unsigned char)text.at[i] < ' ' ? ' ' : text.at[i], out);
        fprintf(out, "%s\n", text.length > SHOWN_MAX ? "…" : "");
    }
    return result;
}
