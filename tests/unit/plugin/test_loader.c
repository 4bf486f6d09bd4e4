/*
 * test_loader.c - the plugins of a pipeline are loaded together: one library, one name, one key.
 *
 * Libraries are compiled here by the system's cc from one line each. How a single library is refused is tested,
 * sentence by sentence, by tests/process/test_plugin_refusals.py.
 */
#include "base/buffer.h"
#include "plugin/plugin.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/sluice-loader-XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[8][128];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void build(const char *library, const char *plugin)
{
    char command[1024];
    FILE *source = fopen(path_of("source.c"), "w");
    assert_non_null(source);
    fprintf(source, "#include \"bad.h\"\nPLUGIN(.name = \"%s\")\n", plugin);
    fclose(source);
    snprintf(command, sizeof command, "cc -shared -fPIC -w -Iengine/include -Itests/plugins/bad -o %s %s",
             path_of(library), path_of("source.c"));
    assert_int_equal(system(command), 0);
}

static int make_libraries(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    build("one.so", "one");
    build("two.so", "two");
    build("one_again.so", "one");
    assert_int_equal(symlink(path_of("one.so"), path_of("link.so")), 0);
    assert_int_equal(link(path_of("one.so"), path_of("hard.so")), 0);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *place)
{
    (void)status, (void)flag, (void)place;
    return remove(path);
}

static int remove_libraries(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Loads two plugins; the problem's text, or NULL. Lives until the next call. */
static const char *load(struct plugin_ref refs[2], bool probe)
{
    static struct arena *arena;
    struct problems problems;
    struct pipeline pipeline = {.plugins = refs, .plugin_count = 2};
    arena_destroy(arena);
    arena = arena_create(4096, 1 << 20);
    problems_init(&problems, arena);
    plugin_load_all(&pipeline, probe, &problems);
    assert_true(problems.count <= 1);
    return problems.count == 0 ? NULL : problems.list[0].text;
}

static struct plugin_ref ref_of(const char *name, const char *library)
{
    return (struct plugin_ref){
        .name = name, .library = library, .path = path_of(library), .place = {"pipeline.yaml", 3, 5}};
}

__attribute__((format(printf, 2, 3))) static void assert_problem(const char *got, const char *format, ...)
{
    char wanted[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(wanted, sizeof wanted, format, list);
    va_end(list);
    assert_non_null(got);
    assert_string_equal(got, wanted);
}

static void two_plugins_load(void **state)
{
    (void)state;
    for (int probe = 0; probe < 2; probe++) {
        struct plugin_ref refs[] = {ref_of("one", "one.so"), ref_of("two", "two.so")};
        assert_null(load(refs, probe));
        assert_string_equal(refs[0].plugin->name, "one");
        assert_string_equal(refs[1].plugin->name, "two");
        assert_ptr_not_equal(refs[0].plugin, refs[1].plugin);
    }
}

static void one_library_is_one_plugin(void **state)
{
    static const char *const again[] = {"one.so", "link.so", "hard.so"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct plugin_ref refs[] = {ref_of("one", "one.so"), ref_of("other", again[i])};
        assert_problem(load(refs, false),
                       "plugin 'other': %s is the library of plugin '%s' too; a plugin is loaded once, and one entry "
                       "serves any number of "
                       "topics",
                       refs[1].path, "one");
        assert_non_null(refs[0].plugin);
        assert_null(refs[1].plugin);
    }
}

static void two_libraries_of_one_name(void **state)
{
    struct plugin_ref refs[] = {ref_of("one", "one.so"), ref_of("second", "one_again.so")};
    (void)state;
    assert_problem(load(refs, false),
                   "plugin 'second': %s and %s both hold a plugin named 'one'; names are unique, remove one of the two",
                   refs[0].path, refs[1].path);
}

static void key_and_name_differ(void **state)
{
    struct plugin_ref refs[] = {ref_of("uno", "one.so"), ref_of("two", "two.so")};
    (void)state;
    assert_problem(load(refs, false), "plugin 'uno': the plugin in %s is named '%s'; write 'one:' here", refs[0].path,
                   "one");
    assert_null(refs[0].plugin);
    assert_non_null(refs[1].plugin);
}

static void missing_library(void **state)
{
    struct plugin_ref refs[] = {ref_of("one", "one.so"), ref_of("none", "none.so")};
    (void)state;
    for (int probe = 0; probe < 2; probe++)
        assert_problem(load(refs, probe),
                       "plugin 'none': %s cannot be read: No such file or directory; a library is an absolute path, a "
                       "path relative to the "
                       "pipeline's file, or a name in plugin_dir",
                       refs[1].path);
    refs[1].path = NULL; /* the reader has said why already */
    assert_null(load(refs, true));
}

/* The copy of a descriptor is one, however often and by whatever path it is asked for. */
static void descriptors_are_stable(void **state)
{
    const struct sluice_plugin *first, *again;
    (void)state;
    assert_int_equal(plugin_load(path_of("one.so"), &first, NULL), 0);
    assert_int_equal(plugin_load(path_of("link.so"), &again, NULL), 0);
    assert_ptr_equal(first, again);
    struct error error = {0};
    assert_int_equal(plugin_load(folder, &again, &error), -EISDIR);
    assert_ptr_equal(first, again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_plugins_load),          cmocka_unit_test(one_library_is_one_plugin),
        cmocka_unit_test(two_libraries_of_one_name), cmocka_unit_test(key_and_name_differ),
        cmocka_unit_test(missing_library),           cmocka_unit_test(descriptors_are_stable),
    };
    return cmocka_run_group_tests(tests, make_libraries, remove_libraries);
}
