/*
 * timestamp.c - see timestamp.h. Own arithmetic: strptime() and timegm() depend on the locale or are slow, and this
 * runs once or twice an event.
 */
#include "event/timestamp.h"

#include "base/calendar.h"

#include <errno.h>

/* `count` digits at *at as a number, or -1; moves *at behind them. */
static int timestamp_digits(const char **at, const char *end, int count)
{
    int value = 0;
    if (end - *at < count)
        return -1;
    for (int i = 0; i < count; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9')
            return -1;
        value = value * 10 + (c - '0');
    }
    *at += count;
    return value;
}

static bool timestamp_take(const char **at, const char *end, char byte)
{
    if (*at == end || **at != byte)
        return false;
    (*at)++;
    return true;
}

/* The digits behind the point as milliseconds, 0 when there is no point, -1 when no digit follows it. */
static int timestamp_fraction(const char **at, const char *end)
{
    int ms = 0, digits = 0;
    if (!timestamp_take(at, end, '.') && !timestamp_take(at, end, ','))
        return 0;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++, digits++)
        if (digits < 3)
            ms = ms * 10 + (**at - '0');
    if (digits == 0)
        return -1;
    for (; digits < 3; digits++)
        ms *= 10;
    return ms;
}

/* The offset from UTC in minutes; -EINVAL when what stands there is none. */
static int timestamp_offset(const char **at, const char *end, int *ret_minutes)
{
    *ret_minutes = 0;
    if (*at == end || timestamp_take(at, end, 'Z') || timestamp_take(at, end, 'z'))
        return 0;
    bool negative = **at == '-';
    if (!timestamp_take(at, end, '+') && !timestamp_take(at, end, '-'))
        return -EINVAL;
    int hours = timestamp_digits(at, end, 2), minutes = 0;
    if (*at < end) {
        (void)timestamp_take(at, end, ':');
        minutes = timestamp_digits(at, end, 2);
    }
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
        return -EINVAL;
    *ret_minutes = negative ? -(hours * 60 + minutes) : hours * 60 + minutes;
    return 0;
}

int timestamp_parse(struct span text, int64_t *ret_ms)
{
    const char *at = text.at, *end = text.at + text.length;
    if (text.length < sizeof("2025-01-02T03:04:05") - 1)
        return -EINVAL;

    int year = timestamp_digits(&at, end, 4);
    bool form = timestamp_take(&at, end, '-');
    int month = timestamp_digits(&at, end, 2);
    form &= timestamp_take(&at, end, '-');
    int day = timestamp_digits(&at, end, 2);
    form &= timestamp_take(&at, end, 'T') || timestamp_take(&at, end, 't') || timestamp_take(&at, end, ' ');
    int hour = timestamp_digits(&at, end, 2);
    form &= timestamp_take(&at, end, ':');
    int minute = timestamp_digits(&at, end, 2);
    form &= timestamp_take(&at, end, ':');
    int second = timestamp_digits(&at, end, 2);
    if (!form || year < 0 || month < 1 || month > 12 || day < 1 || day > calendar_month_days(year, month) || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) /* 60: a leap second */
        return -EINVAL;

    int offset_minutes, fraction_ms = timestamp_fraction(&at, end);
    if (fraction_ms < 0 || timestamp_offset(&at, end, &offset_minutes) != 0 || at != end)
        return -EINVAL;
    int64_t ms = calendar_days((struct date){year, month, day}) * DAY_S * 1000 +
                 ((int64_t)hour * 3600 + (minute - offset_minutes) * 60 + second) * 1000 + fraction_ms;
    if (ms < TIMESTAMP_MIN_MS || ms > TIMESTAMP_MAX_MS)
        return -EINVAL;
    *ret_ms = ms;
    return 0;
}

static void timestamp_put(char *at, int digits, int value)
{
    while (digits-- > 0) {
        at[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void timestamp_format(int64_t ms, char buf[TIMESTAMP_TEXT + 1])
{
    if (ms < TIMESTAMP_MIN_MS)
        ms = TIMESTAMP_MIN_MS;
    if (ms > TIMESTAMP_MAX_MS)
        ms = TIMESTAMP_MAX_MS;
    int of_day = (int)((ms - TIMESTAMP_MIN_MS) % (DAY_S * 1000));
    struct date date = calendar_date((ms - of_day) / 1000 / DAY_S);

    memcpy(buf, "0000-00-00T00:00:00.000Z", TIMESTAMP_TEXT + 1);
    timestamp_put(buf, 4, (int)date.year);
    timestamp_put(buf + 5, 2, date.month);
    timestamp_put(buf + 8, 2, date.day);
    timestamp_put(buf + 11, 2, of_day / 3600000);
    timestamp_put(buf + 14, 2, of_day / 60000 % 60);
    timestamp_put(buf + 17, 2, of_day / 1000 % 60);
    timestamp_put(buf + 20, 3, of_day % 1000);
}
