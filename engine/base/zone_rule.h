/*
 * zone_rule.h - the rule at the end of a time zone's file, as POSIX writes it in TZ: "CET-1CEST,M3.5.0,M10.5.0/3".
 */
#ifndef SLUICE_BASE_ZONE_RULE_H
#define SLUICE_BASE_ZONE_RULE_H

#include "base/span.h"

enum zone_day_kind { ZONE_DAY_OF_MONTH = 1, ZONE_DAY_JULIAN, ZONE_DAY_OF_YEAR };

/* When in a year the clocks change: "M3.5.0/2" (the last Sunday of March), "J60" (never counts Feb 29), "59" (does). */
struct zone_day {
    enum zone_day_kind kind;
    int month, week, weekday; /* ZONE_DAY_OF_MONTH; week 5 is the last */
    int day;                  /* the others */
    int32_t at_s;             /* since midnight by the clock before the change; may be negative, or days later */
};
struct zone_rule {
    int32_t standard_s, summer_s; /* less UTC */
    bool changes;                 /* else it is standard_s all year */
    struct zone_day begins, ends; /* summer_s */
};

/* 0, or -EINVAL when the text is no such rule. */
int zone_rule_parse(struct span text, struct zone_rule *ret);
/* As zone_offset(), by the rule alone. */
int32_t zone_rule_offset(const struct zone_rule *rule, int64_t at_s, int64_t *ret_until_s);

#endif
