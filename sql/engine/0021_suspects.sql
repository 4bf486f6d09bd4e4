-- Which events a plugin may have ended the worker process with, so that `sluice explain --why` can say so.

create table sluice.suspect (
    handler  smallint    not null,
    times    integer     not null check (times > 0),
    event_id uuid        not null,
    at       timestamptz not null default now(),
    reason   text        not null,
    constraint suspect_pkey primary key (handler, event_id)
);
comment on table sluice.suspect is
    'Events in whose handler''s call the worker process ended, until they are handled or dead letters; forgotten a day '
    'later';
comment on column sluice.suspect.handler is 'sluice.name, kind h';
comment on column sluice.suspect.times is 'How often the process ended in its handler''s call';
comment on column sluice.suspect.event_id is 'As in sluice.inbox';
comment on column sluice.suspect.at is 'When a later worker process saw it last';
comment on column sluice.suspect.reason is 'What ended the process, and what comes next';
