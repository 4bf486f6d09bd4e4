/*
 * calendar.h - the Gregorian calendar, for all years.
 */
#ifndef SLUICE_BASE_CALENDAR_H
#define SLUICE_BASE_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

enum { DAY_S = 86400 };

struct date {
    int64_t year;
    int month, day; /* from 1 */
};

int64_t calendar_days(struct date date); /* since 1970-01-01 */
struct date calendar_date(int64_t days); /* of a day since 1970-01-01 */
int calendar_weekday(int64_t days);      /* 0 Sunday to 6 Saturday */
int calendar_month_days(int64_t year, int month);
bool calendar_leap(int64_t year);
/* The whole days in `seconds`; *ret_rest gets what is left, 0 to DAY_S - 1. */
int64_t calendar_split(int64_t seconds, int64_t *ret_rest);

#endif
