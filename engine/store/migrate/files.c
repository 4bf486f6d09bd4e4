/*
 * files.c - reads the numbered SQL files: the engine's out of the program, a plugin's out of its folder.
 */
#include "store/migrate/set.h"

#include "base/embed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIGRATION_MAX = 1000, MIGRATION_FILE_MAX = 16 * 1024 * 1024 };

uint64_t migrations_digest(const struct migrations *set)
{
    uint64_t digest = 0;
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        const struct migration_file *file = &set->files[i];
        const uint64_t parts[] = {digest, span_hash(file->owner_span), span_hash(file->name_span),
                                  span_hash(file->bytes)};
        digest = span_hash((struct span){(const char *)parts, sizeof parts});
    }
    return digest;
}

void migrations_each(const struct migrations *set,
                     void (*each)(void *context, const char *folder, const char *name, struct span text), void *context)
{
    for (size_t i = 0; set != NULL && i < set->count; i++)
        each(context, set->files[i].of->folder, set->files[i].name, set->files[i].bytes);
}

void migrations_outbox_table(struct migrations *set, const char *table)
{
    set->outbox_table = table;
}

void migrations_free(struct migrations *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++) {
        free(set->files[i].name);
        free(set->files[i].text);
    }
    free(set->files);
    free(set);
}

/* "0001_words.sql" → 1; 0 for any other file. */
static int migration_number(const char *name)
{
    size_t length = strlen(name);
    if (length < 10 || strcmp(name + length - 4, ".sql") != 0 || name[4] != '_')
        return 0;
    int number = 0;
    for (int i = 0; i < 4; i++) {
        if (name[i] < '0' || name[i] > '9')
            return 0;
        number = number * 10 + (name[i] - '0');
    }
    return number;
}

static int migration_read(const char *path, char **ret, size_t *ret_length, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would be waited for */
    struct stat status;
    bool known = fd >= 0 && fstat(fd, &status) == 0;
    if (!known || !S_ISREG(status.st_mode) || status.st_size > MIGRATION_FILE_MAX) {
        int code = !known ? errno : !S_ISREG(status.st_mode) ? EINVAL : EFBIG;
        if (fd >= 0)
            close(fd);
        return error_set(error, code, "cannot read the migration %s: %s", path,
                         code == EINVAL ? "it is no regular file" : strerror(code));
    }
    size_t size = (size_t)status.st_size, length = 0;
    char *text = malloc(size + 1);
    ssize_t got = text == NULL ? -1 : 1;
    while (got > 0 && length < size) {
        got = read(fd, text + length, size - length);
        length += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (got < 0 || memchr(text, '\0', length) != NULL) {
        free(text);
        return error_set(error, EIO, "cannot read the migration %s: it cannot be read to its end, or holds a NUL byte",
                         path);
    }
    text[length] = '\0';
    *ret = text;
    *ret_length = length;
    return 0;
}

/* Takes `text`, whatever happens. */
static int migration_add(struct migrations *set, const struct migrations_of *of, const char *name, char *text,
                         size_t length, struct error *error)
{
    if (set->count == MIGRATION_MAX || text == NULL) {
        free(text);
        return text == NULL ? error_set(error, ENOMEM, "out of memory while reading the migrations of %s", of->owner)
                            : error_set(error, E2BIG, "there are more than %d migrations; the last are those of %s",
                                        (int)MIGRATION_MAX, of->owner);
    }
    struct migration_file *file = &set->files[set->count++];
    *file = (struct migration_file){
        .of = of, .number = migration_number(name), .name = strdup(name), .text = text, .bytes = {text, length}};
    if (file->name == NULL)
        return error_set(error, ENOMEM, "out of memory while reading the migrations of %s", of->owner);
    file->owner_span = span_of(of->owner);
    file->name_span = span_of(file->name);
    return 0;
}

/* ------------------------------------------------------------------------------------------- those of the program */

/* Of each file its name, its length and its bytes: "0001_ledger.sql 12345\n…". The Makefile puts them together. */
EMBED(engine_files, "build/sql/engine");

static int migrations_embedded(struct migrations *set, const struct migrations_of *of, struct error *error)
{
    int code = 0;
    for (const char *at = engine_files; code == 0 && *at != '\0';) {
        char name[128];
        const char *line = strchr(at, '\n');
        int taken = (int)strcspn(at, " ");
        size_t length = strtoul(at + taken, NULL, 10);
        snprintf(name, sizeof name, "%.*s", taken, at);
        code = migration_add(set, of, name, strndup(line + 1, length), length, error);
        at = line + 1 + length;
    }
    return code;
}

/* ------------------------------------------------------------------------------------------------ those of a folder */

static int is_sql(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 4 && entry->d_name[0] != '.' && strcmp(entry->d_name + length - 4, ".sql") == 0;
}

/* The file that has to be the migration `number` of its owner. */
static int migration_take(struct migrations *set, const struct migrations_of *of, const char *name, int number,
                          struct error *error)
{
    char path[PATH_MAX], *text = NULL;
    size_t length = 0;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", of->folder, name) >= sizeof path)
        return error_set(error, ENAMETOOLONG, "the path of the migration %s is too long", name);
    if (migration_number(name) == 0) {
        error_set(error, EINVAL,
                  "%s: a migration is called NNNN_words.sql: expected %04d_words.sql or another name "
                  "than .sql here",
                  path, number);
        return -EINVAL;
    }
    if (migration_number(name) != number)
        return error_set(error, EINVAL, "%s: expected the migration %04d here: they count from 0001 without a gap",
                         path, number);
    int code = migration_read(path, &text, &length, error);
    return code == 0 ? migration_add(set, of, name, text, length, error) : code;
}

/* An owner's files, 1, 2, 3 … without a gap or a number twice. */
static int migrations_scan(struct migrations *set, const struct migrations_of *of, struct error *error)
{
    struct dirent **entries;
    int count = scandir(of->folder, &entries, is_sql, alphasort), code = 0;
    if (count < 0)
        return error_set(error, errno, "cannot read the migrations of %s in %s: %s", of->owner, of->folder,
                         strerror(errno));
    for (int i = 0; i < count; i++) {
        if (code == 0)
            code = migration_take(set, of, entries[i]->d_name, i + 1, error);
        free(entries[i]);
    }
    free(entries);
    if (count > 0)
        return code;
    error_set(error, ENOENT, "the folder %s has no migration of %s: expected a file 0001_words.sql", of->folder,
              of->owner);
    error_hint(error, "a plugin without tables has no such folder");
    return -ENOENT;
}

int migrations_read(const struct migrations_of *owners, size_t count, struct migrations **ret, struct error *error)
{
    struct migrations *set = calloc(1, sizeof *set);
    if (set == NULL || (set->files = calloc(MIGRATION_MAX, sizeof *set->files)) == NULL) {
        free(set);
        return error_set(error, ENOMEM, "out of memory");
    }
    set->owners = owners;
    set->owner_count = count;
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = owners[i].folder != NULL ? migrations_scan(set, &owners[i], error)
               : owners[i].engine       ? migrations_embedded(set, &owners[i], error)
                                        : 0;
    if (code == 0)
        *ret = set;
    else
        migrations_free(set);
    return code;
}
