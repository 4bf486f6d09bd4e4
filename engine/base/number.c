/*
 * number.c - see number.h.
 */
#include "base/number.h"

#include <locale.h>
#include <stdio.h>

const char *number_text(double value, int digits, char buf[NUMBER_TEXT_MAX])
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc has it ready: nothing is allocated */
    locale_t before = uselocale(plain);
    snprintf(buf, NUMBER_TEXT_MAX, "%.*g", digits, value);
    uselocale(before);
    freelocale(plain);
    return buf;
}
