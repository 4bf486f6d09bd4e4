-- Schedules with `cron`: their slots are no multiples of a period.

comment on column sluice.schedule.slot is
    'Milliseconds since 1970 UTC of the last tick: with `every`, a multiple of the period; with `cron`, its time';
