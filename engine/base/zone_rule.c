/*
 * zone_rule.c - see zone_rule.h.
 */
#include "base/zone_rule.h"

#include "base/calendar.h"

#include <errno.h>

enum { RULE_NAME_MIN = 3, RULE_HOURS_MAX = 167, RULE_OFFSET_MAX_S = 25 * 3600, RULE_AT_S = 2 * 3600, RULE_YEARS = 3 };

struct reader {
    const char *at, *end;
    bool failed;
};

static bool take(struct reader *reader, char byte)
{
    if (reader->at == reader->end || *reader->at != byte)
        return false;
    reader->at++;
    return true;
}

static bool digit(const struct reader *reader)
{
    return reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
}

static int number(struct reader *reader, int min, int max)
{
    int value = 0, digits = 0;
    for (; digit(reader) && digits < 4; digits++)
        value = value * 10 + (*reader->at++ - '0');
    reader->failed = reader->failed || digits == 0 || value < min || value > max;
    return value;
}

/* "CEST", or "<+0330>". */
static void name(struct reader *reader)
{
    bool quoted = take(reader, '<');
    int length = 0;
    for (; reader->at < reader->end; reader->at++, length++) {
        char c = *reader->at;
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-')))
            break;
    }
    if (length < RULE_NAME_MIN || (quoted && !take(reader, '>')))
        reader->failed = true;
}

/* "[+-]hh[:mm[:ss]]" in seconds. */
static int32_t time_of(struct reader *reader)
{
    bool negative = take(reader, '-');
    if (!negative)
        (void)take(reader, '+');
    int seconds = number(reader, 0, RULE_HOURS_MAX) * 3600;
    if (take(reader, ':'))
        seconds += number(reader, 0, 59) * 60;
    if (take(reader, ':'))
        seconds += number(reader, 0, 59);
    return negative ? -seconds : seconds;
}

static void day_of(struct reader *reader, struct zone_day *ret)
{
    *ret = (struct zone_day){.kind = ZONE_DAY_OF_YEAR, .at_s = RULE_AT_S};
    if (!take(reader, ','))
        reader->failed = true;
    if (take(reader, 'M')) {
        ret->kind = ZONE_DAY_OF_MONTH;
        ret->month = number(reader, 1, 12);
        reader->failed = !take(reader, '.') || reader->failed;
        ret->week = number(reader, 1, 5);
        reader->failed = !take(reader, '.') || reader->failed;
        ret->weekday = number(reader, 0, 6);
    } else if (take(reader, 'J')) {
        ret->kind = ZONE_DAY_JULIAN;
        ret->day = number(reader, 1, 365);
    } else {
        ret->day = number(reader, 0, 365);
    }
    if (take(reader, '/'))
        ret->at_s = time_of(reader);
}

int zone_rule_parse(struct span text, struct zone_rule *ret)
{
    struct reader reader = {text.at, text.at + text.length, false};
    struct zone_rule rule = {0};
    name(&reader);
    rule.standard_s = -time_of(&reader); /* POSIX counts westwards */
    if (!reader.failed && reader.at < reader.end) {
        rule.changes = true;
        name(&reader);
        rule.summer_s = rule.standard_s + 3600;
        if (reader.at < reader.end && *reader.at != ',')
            rule.summer_s = -time_of(&reader);
        day_of(&reader, &rule.begins);
        day_of(&reader, &rule.ends);
    }
    if (reader.failed || reader.at != reader.end || rule.standard_s < -RULE_OFFSET_MAX_S ||
        rule.standard_s > RULE_OFFSET_MAX_S || rule.summer_s < -RULE_OFFSET_MAX_S || rule.summer_s > RULE_OFFSET_MAX_S)
        return -EINVAL;
    *ret = rule;
    return 0;
}

/* When the clocks change in `year`, which are offset_s ahead of UTC before. */
static int64_t change_in(const struct zone_day *change, int64_t year, int32_t offset_s)
{
    int64_t first = calendar_days((struct date){year, 1, 1}), day = first + change->day;
    if (change->kind == ZONE_DAY_JULIAN)
        day = first + change->day - 1 + (change->day >= 60 && calendar_leap(year));
    if (change->kind == ZONE_DAY_OF_MONTH) {
        first = calendar_days((struct date){year, change->month, 1});
        int of_month = (change->weekday - calendar_weekday(first) + 7) % 7 + 7 * (change->week - 1);
        while (of_month >= calendar_month_days(year, change->month))
            of_month -= 7;
        day = first + of_month;
    }
    return day * DAY_S + change->at_s - offset_s;
}

int32_t zone_rule_offset(const struct zone_rule *rule, int64_t at_s, int64_t *ret_until_s)
{
    int64_t rest, year = calendar_date(calendar_split(at_s, &rest)).year;
    int64_t changed_s = INT64_MIN;
    int32_t offset = rule->standard_s;
    *ret_until_s = INT64_MAX;
    if (!rule->changes)
        return offset;
    for (int64_t of = year - 1; of < year - 1 + RULE_YEARS; of++) {
        const struct {
            int64_t at_s;
            int32_t offset_s;
        } changes[] = {{change_in(&rule->begins, of, rule->standard_s), rule->summer_s},
                       {change_in(&rule->ends, of, rule->summer_s), rule->standard_s}};
        bool swapped = changes[1].at_s < changes[0].at_s; /* in the south, summer ends first */
        for (int i = 0; i < 2; i++) {
            int which = swapped ? 1 - i : i;
            if (changes[which].at_s <= at_s && changes[which].at_s >= changed_s) {
                changed_s = changes[which].at_s;
                offset = changes[which].offset_s;
            } else if (changes[which].at_s > at_s && changes[which].at_s < *ret_until_s) {
                *ret_until_s = changes[which].at_s;
            }
        }
    }
    return offset;
}
