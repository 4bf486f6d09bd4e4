/*
 * loader.c - a library is checked, opened and asked for its descriptor.
 *
 * What is loaded stays for as long as the process lives: a table of it is kept here, so that a library that is
 * reached by two paths is one plugin, and so that the copies of descriptors have an owner. It is the one table with
 * state in this folder, as the dynamic linker's own is.
 */
#include "plugin/plugin.h"

#include "plugin/copies.h"
#include "plugin/descriptor.h"
#include "plugin/library.h"
#include "plugin/note.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LOADED_MAX = 256,
    DESCRIPTOR_BLOCK = 16 * 1024,
    DESCRIPTOR_BYTES_MAX = 16 * 1024 * 1024,
};

static struct {
    pthread_mutex_t mutex;
    struct {
        const struct sluice_plugin *theirs, *ours;
        struct arena *arena;
    } list[LOADED_MAX];
    size_t count;
} loaded = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* `path` is what people know it by, `copy` what is loaded. */
static int library_open(const char *path, const char *copy, const struct sluice_plugin **ret, struct error *error)
{
    void *library = dlopen(copy, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *why = dlerror();
        bool symbol = strstr(why, "undefined symbol") != NULL;
        size_t length = strlen(copy);
        /* The linker's sentence begins with the path, mostly. */
        why += strncmp(why, copy, length) == 0 && why[length] == ':' ? length + 2 : 0;
        error_set(error, ENOEXEC, "%s cannot be loaded: %s", path, why);
        if (!symbol)
            return error_hint(error, "ldd %s shows which libraries it needs", path);
        return error_hint(
            error, "link the plugin with what it uses (cc -shared -Wl,-z,defs shows what is missing); the engine is "
                   "reached through struct sluice_host only");
    }
    const struct sluice_plugin *(*entry)(void);
    *(void **)&entry = dlsym(library, "sluice_plugin");
    if (entry == NULL) {
        error_set(error, ENOEXEC, "%s exports no function sluice_plugin()", path);
        return error_hint(
            error, "define it with SLUICE_PLUGIN(…); in C++ and others as extern \"C\", with default visibility");
    }
    *ret = entry();
    return *ret != NULL ? 0
                        : error_set(error, ENOEXEC, "%s: sluice_plugin() returned NULL instead of a descriptor", path);
}

static int library_register(const char *path, const struct sluice_plugin *theirs, const struct sluice_plugin **ret,
                            struct error *error)
{
    for (size_t i = 0; i < loaded.count; i++) {
        if (loaded.list[i].theirs == theirs) {
            *ret = loaded.list[i].ours;
            return 0;
        }
    }
    if (loaded.count == LOADED_MAX)
        return error_set(error, ENOSPC, "%s: this process has loaded %d plugins already", path, LOADED_MAX);
    struct arena *arena = arena_create(DESCRIPTOR_BLOCK, DESCRIPTOR_BYTES_MAX);
    if (arena == NULL)
        return error_set(error, ENOMEM, "%s: out of memory", path);
    int r = descriptor_copy(theirs, &abi_current, path, arena, ret, error);
    if (r != 0) {
        arena_destroy(arena);
        return r;
    }
    loaded.list[loaded.count].theirs = theirs;
    loaded.list[loaded.count].ours = *ret;
    loaded.list[loaded.count++].arena = arena;
    return 0;
}

/* A copy that was made before, or one of a file that is found to be whole. */
static int library_copy(const char *path, char ret_original[PATH_MAX], char ret_copy[PATH_MAX], struct error *error)
{
    if (copies_find(path, ret_original, ret_copy))
        return 0;
    int r = library_check(path, error);
    if (r != 0)
        return r;
    /* With a '/' in it, or dlopen() would look elsewhere. */
    if (realpath(path, ret_original) == NULL)
        return error_set(error, errno, "%s cannot be read: %s", path, strerror(errno));
    return copies_make(path, ret_original, ret_copy, error);
}

/* What is to be loaded for a path, and that its note does not refuse it. */
static int library_find(const char *path, char ret_original[PATH_MAX], char ret_copy[PATH_MAX], struct note *ret_note,
                        struct error *error)
{
    int r = library_copy(path, ret_original, ret_copy, error);
    if (r != 0)
        return r;
    r = note_read(ret_copy, ret_note, error);
    if (r == 0)
        r = note_check(ret_note, error);
    return r == 0 ? 0 : error_prefix(error, "%s", ret_original);
}

int plugin_look(const char *path, struct plugin_look *ret, struct error *error)
{
    char original[PATH_MAX], copy[PATH_MAX];
    struct note note;
    pthread_mutex_lock(&loaded.mutex);
    int r = library_find(path, original, copy, &note, error);
    if (r == 0 && (r = sha256_file(copy, ret->sha256)) != 0)
        r = error_set(error, -r, "%s cannot be read: %s", original, strerror(-r));
    pthread_mutex_unlock(&loaded.mutex);
    ret->note = r == 0 && note.found;
    snprintf(ret->name, sizeof ret->name, "%s", ret->note ? note.content.name : "");
    return r;
}

int plugin_load(const char *path, const struct sluice_plugin **ret, struct error *error)
{
    const struct sluice_plugin *theirs = NULL;
    char original[PATH_MAX], copy[PATH_MAX];
    struct note note;
    pthread_mutex_lock(&loaded.mutex);
    int r = library_find(path, original, copy, &note, error);
    if (r == 0)
        r = library_open(original, copy, &theirs, error);
    if (r == 0)
        r = library_register(original, theirs, ret, error);
    if (r == 0 && note_compare(&note, *ret, error) != 0)
        r = error_prefix(error, "%s", original);
    pthread_mutex_unlock(&loaded.mutex);
    return r;
}
