/*
 * cron.h - when a schedule ticks that is written as cron writes it: "minute hour day month weekday".
 *
 * The times are those of a zone's clocks. A time that is skipped when the clocks go forward ticks once, at the moment
 * they do; one that comes twice when they go back ticks the first time only. With every hour (`*`) it is each hour that
 * passes instead: nothing is made up for, and both runs of an hour that comes twice count.
 */
#ifndef SLUICE_FLOW_CRON_H
#define SLUICE_FLOW_CRON_H

#include "base/zone.h"

struct cron {
    uint64_t minutes; /* bit 0 to 59 */
    uint32_t hours;   /* bit 0 to 23 */
    uint32_t days;    /* bit 1 to 31 */
    uint16_t months;  /* bit 1 to 12 */
    uint8_t weekdays; /* bit 0 (Sunday) to 6 */
    bool every_hour;  /* all 24 are named */
    bool either_day;  /* a day that fits one of day and weekday ticks; else it must fit both */
};

/* Five fields, each a list of numbers, names (jan, mon), ranges and steps: "0,30 9-17/2 * jan-mar mon"; or @hourly,
 * @daily, @weekly, @monthly, @yearly. -EINVAL, with a sentence that names the field and the column, from 1. */
int cron_parse(struct span text, struct cron *ret, struct error *error);
/* The first tick after `after_ms`, the last one not after `at_ms`: milliseconds since 1970 UTC. INT64_MAX and INT64_MIN
 * when there is none within 50 years. */
int64_t cron_next_ms(const struct cron *cron, const struct zone *zone, int64_t after_ms);
int64_t cron_last_ms(const struct cron *cron, const struct zone *zone, int64_t at_ms);

#endif
