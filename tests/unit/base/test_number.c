/*
 * test_number.c - numbers have a decimal point in every locale, also when the thread uses one that writes a comma.
 */
#include "base/number.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

/* A locale of the test's own: machines have none but C, often. */
static locale_t comma_locale(void)
{
    static char folder[] = "/tmp/sluice-locale-XXXXXX";
    char command[256];
    if (mkdtemp(folder) == NULL)
        return (locale_t)0;
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", folder);
    int made = system(command);
    setenv("LOCPATH", folder, 1);
    /* Not newlocale(): it leaks the parts of LOCPATH. */
    bool set = (made == 0 || made == 256) && setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
    locale_t locale = set ? duplocale(LC_GLOBAL_LOCALE) : (locale_t)0;
    setlocale(LC_ALL, "C");
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? locale : (locale_t)0;
}

static void numbers(void **state)
{
    char buf[NUMBER_TEXT_MAX], printed[16];
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        assert_string_equal(number_text(0.5, 6, buf), "0.5");
        assert_string_equal(number_text(1e300, 6, buf), "1e+300");
        assert_string_equal(number_text(123456789.125, 9, buf), "123456789");
        assert_string_equal(number_text(-0.0625, 17, buf), "-0.0625");
        if (pass == 1)
            break;
        locale_t comma = comma_locale();
        if (comma == (locale_t)0)
            skip(); /* localedef has no source for it here */
        uselocale(comma);
        snprintf(printed, sizeof printed, "%.1f", 0.5);
        assert_string_equal(printed, "0,5");
    }
    snprintf(printed, sizeof printed, "%.1f", 0.5);
    assert_string_equal(printed, "0,5"); /* the thread has its locale back */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
