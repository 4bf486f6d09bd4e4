/*
 * cron.c - see cron.h. A time of the clocks is counted in minutes since 1970 by them ("local"), whatever UTC it is.
 */
#include "flow/cron.h"

#include "base/calendar.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

enum {
    CRON_FIELDS = 5,
    DAY_MINUTES = 1440,
    DAY_MS = 86400000,
    CRON_ALL_HOURS = 0xffffff,
    CRON_DAYS_MAX = 50 * 366, /* Feb 29 on a given weekday may be 40 years away */
    CRON_REACH_S = 26 * 3600, /* no clock is further from UTC */
};

/* ------------------------------------------------------------------------------------------------------------ text */

static const struct field {
    const char *what;
    int min, max;
    const char *names; /* three letters each, from `min` on */
} fields[CRON_FIELDS] = {{"a minute", 0, 59, ""},
                         {"an hour", 0, 23, ""},
                         {"a day of the month", 1, 31, ""},
                         {"a month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                         {"a day of the week", 0, 7, "sunmontuewedthufrisat"}}; /* 7 is Sunday, too */

static const struct {
    const char *name, *text;
} nicknames[] = {{"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
                 {"@weekly", "0 0 * * 0"},  {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
                 {"@annually", "0 0 1 1 *"}};

struct reader {
    const char *begin, *at, *end;
    const struct field *field;
    struct error *error;
};

static bool refuse(const struct reader *reader, const char *at, const char *expected)
{
    size_t left = (size_t)(reader->end - at), length = 0;
    while (length < left && length < 20 && at[length] != ' ' && at[length] != '\t')
        length++;
    error_set(reader->error, EINVAL, "column %d: expected %s, got %s%.*s%s", (int)(at - reader->begin) + 1, expected,
              length == 0 ? "" : "'", (int)length, at, length == 0 ? "nothing" : "'");
    return false;
}

static bool take(struct reader *reader, char byte)
{
    if (reader->at == reader->end || *reader->at != byte)
        return false;
    reader->at++;
    return true;
}

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t'))
        reader->at++;
}

/* A number of the field, or a name. */
static bool value_of(struct reader *reader, int *ret)
{
    const struct field *field = reader->field;
    const char *begin = reader->at;
    char expected[80];
    int value = 0, digits = 0;
    for (; reader->at < reader->end && isdigit((unsigned char)*reader->at) && digits < 4; digits++)
        value = value * 10 + (*reader->at++ - '0');
    for (size_t i = 0; digits == 0 && reader->end - begin >= 3 && field->names[i] != '\0'; i += 3)
        if (strncasecmp(begin, field->names + i, 3) == 0) {
            value = field->min + (int)(i / 3);
            reader->at += 3;
        }
    bool ended = reader->at == reader->end || strchr(",-/ \t", *reader->at) != NULL;
    *ret = value;
    if (reader->at > begin && ended && value >= field->min && value <= field->max)
        return true;
    snprintf(expected, sizeof expected, "%s from %d to %d%s%.3s", field->what, field->min, field->max,
             field->names[0] != '\0' ? ", or a name like " : "", field->names);
    return refuse(reader, begin, expected);
}

/* "*", "5", "1-5", each with "/2" behind. */
static bool range_of(struct reader *reader, uint64_t *set)
{
    const struct field *field = reader->field;
    const char *begin = reader->at;
    int from = field->min, to = field->max, step = 1;
    bool all = take(reader, '*');
    if (!all && !value_of(reader, &from))
        return false;
    bool range = !all && take(reader, '-');
    if (range && !value_of(reader, &to))
        return false;
    if (!all && !range)
        to = from;
    if (from > to)
        return refuse(reader, begin, "a range whose end is not before its beginning");
    if (take(reader, '/')) {
        const char *number = reader->at;
        step = 0;
        while (reader->at < reader->end && isdigit((unsigned char)*reader->at) && step < 100)
            step = step * 10 + (*reader->at++ - '0');
        if (step < 1 || step > field->max)
            return refuse(reader, number, "a step of at least 1 that is not larger than the field's largest value");
        if (!all && !range) /* as cron has it: from there on */
            to = field->max;
    }
    for (int value = from; value <= to; value += step)
        *set |= UINT64_C(1) << value;
    return true;
}

static bool field_of(struct reader *reader, uint64_t *set, bool *ret_star)
{
    *set = 0;
    skip_blanks(reader);
    if (reader->at == reader->end) {
        char expected[96];
        snprintf(expected, sizeof expected, "%s: the fields are minute hour day month weekday", reader->field->what);
        return refuse(reader, reader->at, expected);
    }
    *ret_star = *reader->at == '*';
    do
        if (!range_of(reader, set))
            return false;
    while (take(reader, ','));
    if (reader->at < reader->end && *reader->at != ' ' && *reader->at != '\t')
        return refuse(reader, reader->at, "',', '-', '/' or a space");
    return true;
}

/* ----------------------------------------------------------------------------------------------------------- clocks */

static int64_t minutes_of(int64_t seconds)
{
    int64_t rest, days = calendar_split(seconds, &rest);
    return days * DAY_MINUTES + rest / 60;
}

static bool day_fits(const struct cron *cron, int64_t day)
{
    struct date date = calendar_date(day);
    bool of_month = (cron->days >> date.day & 1) != 0, of_week = (cron->weekdays >> calendar_weekday(day) & 1) != 0;
    return (cron->months >> date.month & 1) != 0 && (cron->either_day ? of_month || of_week : of_month && of_week);
}

/* The first local minute from `from` on that fits; INT64_MAX: none. */
static int64_t next_local(const struct cron *cron, int64_t from)
{
    int64_t of_day, first = calendar_split(from * 60, &of_day);
    of_day /= 60;
    for (int64_t day = first; day < first + CRON_DAYS_MAX; day++) {
        for (int64_t hour = day == first ? of_day / 60 : 0; hour < 24 && day_fits(cron, day); hour++) {
            int passed = day == first && hour == of_day / 60 ? (int)(of_day % 60) : 0;
            uint64_t left = cron->minutes >> passed << passed;
            if ((cron->hours >> hour & 1) != 0 && left != 0)
                return day * DAY_MINUTES + hour * 60 + __builtin_ctzll(left);
        }
    }
    return INT64_MAX;
}

/* When the clocks first show that local time, or a later one. */
static int64_t first_shown(const struct zone *zone, int64_t local_s)
{
    for (int64_t from_s = local_s - CRON_REACH_S, until_s;; from_s = until_s) {
        int64_t at_s = local_s - zone_offset(zone, from_s, &until_s);
        if (at_s < from_s) /* skipped by the change at from_s */
            at_s = from_s;
        if (at_s < until_s)
            return at_s;
    }
}

static int64_t next_of_every_hour(const struct cron *cron, const struct zone *zone, int64_t after_s)
{
    for (int64_t from_s = after_s + 1, until_s;; from_s = until_s) {
        int32_t offset = zone_offset(zone, from_s, &until_s);
        int64_t local = next_local(cron, minutes_of(from_s + offset + 59));
        if (local == INT64_MAX || local * 60 - offset < until_s)
            return local == INT64_MAX ? INT64_MAX : local * 60 - offset;
    }
}

static int64_t next_of_hours(const struct cron *cron, const struct zone *zone, int64_t after_s)
{
    int64_t until_s, local = minutes_of(after_s + zone_offset(zone, after_s, &until_s));
    while ((local = next_local(cron, local + 1)) != INT64_MAX) {
        int64_t at_s = first_shown(zone, local * 60);
        if (at_s > after_s) /* else it has come already, before the clocks went back */
            return at_s;
    }
    return INT64_MAX;
}

int64_t cron_next_ms(const struct cron *cron, const struct zone *zone, int64_t after_ms)
{
    int64_t after_s = after_ms / 1000 - (after_ms % 1000 < 0);
    int64_t next_s = cron->every_hour ? next_of_every_hour(cron, zone, after_s) : next_of_hours(cron, zone, after_s);
    return next_s == INT64_MAX ? INT64_MAX : next_s * 1000;
}

int64_t cron_last_ms(const struct cron *cron, const struct zone *zone, int64_t at_ms)
{
    int64_t last_ms = INT64_MIN;
    for (int64_t reach_ms = 3600000; last_ms == INT64_MIN && reach_ms < (int64_t)CRON_DAYS_MAX * DAY_MS; reach_ms *= 2)
        for (int64_t next_ms = at_ms - reach_ms; (next_ms = cron_next_ms(cron, zone, next_ms)) <= at_ms;)
            last_ms = next_ms;
    return last_ms;
}

int cron_parse(struct span text, struct cron *ret, struct error *error)
{
    struct reader reader = {text.at, text.at, text.at + text.length, NULL, error};
    uint64_t sets[CRON_FIELDS] = {0};
    bool stars[CRON_FIELDS] = {false};
    for (size_t i = 0; i < sizeof nicknames / sizeof nicknames[0]; i++)
        if (span_is(text, nicknames[i].name))
            return cron_parse(span_of(nicknames[i].text), ret, error);
    if (text.length > 0 && text.at[0] == '@') {
        refuse(&reader, text.at, "@hourly, @daily, @weekly, @monthly, @yearly or five fields");
        return -EINVAL;
    }
    for (int i = 0; i < CRON_FIELDS; i++) {
        reader.field = &fields[i];
        if (!field_of(&reader, &sets[i], &stars[i]))
            return -EINVAL;
    }
    skip_blanks(&reader);
    if (reader.at < reader.end) {
        refuse(&reader, reader.at, "nothing more: the fields are minute hour day month weekday");
        return -EINVAL;
    }
    struct cron cron = {.minutes = sets[0],
                        .hours = (uint32_t)sets[1],
                        .days = (uint32_t)sets[2],
                        .months = (uint16_t)sets[3],
                        .weekdays = (uint8_t)((sets[4] | sets[4] >> 7) & 0x7f),
                        .every_hour = sets[1] == CRON_ALL_HOURS,
                        .either_day = !stars[2] && !stars[4]};
    if (next_local(&cron, 0) == INT64_MAX)
        return error_set(error, EINVAL, "column 1: no month of it has such a day, so it never ticks");
    *ret = cron;
    return 0;
}
