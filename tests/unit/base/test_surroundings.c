/*
 * test_surroundings.c - what a plugin changed is named and put back.
 */
#include "base/surroundings.h"

#include <locale.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct rlimit before_limits;

static void change_folder(void)
{
    assert_int_equal(chdir("/"), 0);
}

static void change_umask(void)
{
    umask(0177);
}

static void change_mask(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void change_locale(void)
{
    assert_non_null(setlocale(LC_NUMERIC, "C.UTF-8"));
}

static void change_limits(void)
{
    const struct rlimit few = {.rlim_cur = 3, .rlim_max = before_limits.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

static void change_nothing(void)
{
}

static void each_is_named_and_put_back(void **state)
{
    static const struct {
        void (*change)(void);
        const char *words;
    } rows[] = {{change_folder, "working folder"},  {change_umask, "umask"},
                {change_mask, "signal mask"},       {change_locale, "locale"},
                {change_limits, "resource limits"}, {change_nothing, NULL}};
    struct surroundings before, after;
    char *folder = getcwd(NULL, 0);
    (void)state;
    umask(027);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before_limits), 0);
    surroundings_read(&before);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rows[i].change();
        const char *changed = surroundings_restore(&before);
        if (rows[i].words == NULL)
            assert_null(changed);
        else
            assert_string_equal(changed, rows[i].words);
        assert_null(surroundings_restore(&before));
        surroundings_read(&after);
        assert_int_equal(after.umask, 027);
        assert_string_equal(after.locale, "C");
        char *now = getcwd(NULL, 0);
        assert_string_equal(now, folder);
        free(now);
        assert_int_equal(after.limits[0].rlim_cur, before_limits.rlim_cur);
        assert_int_equal(sigismember(&after.mask, SIGUSR1), 0);
        close(after.folder);
    }
    close(before.folder);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_is_named_and_put_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
