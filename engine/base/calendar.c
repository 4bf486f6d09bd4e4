/*
 * calendar.c - see calendar.h.
 */
#include "base/calendar.h"

enum { ERA_DAYS = 146097 /* of 400 years */, EPOCH_DAYS = 719468 /* from 0000-03-01 to 1970-01-01 */ };

static int64_t floor_divide(int64_t number, int64_t by)
{
    return number / by - (number % by < 0);
}

/* The year is counted from March, so that a leap day is the last of its year. */
int64_t calendar_days(struct date date)
{
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t era = floor_divide(year, 400), of_era = year - era * 400;
    int64_t of_year = (153 * (date.month > 2 ? date.month - 3 : date.month + 9) + 2) / 5 + date.day - 1;
    return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS;
}

struct date calendar_date(int64_t days)
{
    days += EPOCH_DAYS;
    int64_t era = floor_divide(days, ERA_DAYS), of_era = days - era * ERA_DAYS;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int march_month = (int)((5 * of_year + 2) / 153);
    int day = (int)(of_year - (153 * march_month + 2) / 5 + 1),
        month = march_month < 10 ? march_month + 3 : march_month - 9;
    return (struct date){era * 400 + year + (month <= 2), month, day};
}

int calendar_weekday(int64_t days)
{
    return (int)(days + 4 - floor_divide(days + 4, 7) * 7); /* 1970-01-01 was a Thursday */
}

bool calendar_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int calendar_month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && calendar_leap(year));
}

int64_t calendar_split(int64_t seconds, int64_t *ret_rest)
{
    int64_t days = floor_divide(seconds, DAY_S);
    *ret_rest = seconds - days * DAY_S;
    return days;
}
