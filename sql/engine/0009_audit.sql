-- What operators changed, written in the transaction that changed it.

create table sluice.audit (
    id       bigint      generated always as identity primary key,
    at       timestamptz not null default now(),
    pipeline text        not null,
    actor    text        not null check (actor <> ''),
    act      text        not null check (act <> ''),
    object   text        not null,
    reason   text
);
comment on table sluice.audit is
    'One row for each thing that an operator changed with a command or over HTTP; never deleted by the engine';
comment on column sluice.audit.at is 'Start of the transaction that changed it';
comment on column sluice.audit.pipeline is 'Its name: `pipeline:` of the file';
comment on column sluice.audit.actor is 'Who: user@host of the command; "http ADDRESS" of a request';
comment on column sluice.audit.act is 'What was done: the command''s words, as "dead-letter replay"';
comment on column sluice.audit.object is 'With what: an id, a topic, a correlation, or the filter that chose many';
comment on column sluice.audit.reason is 'Why, in the operator''s words; null: nothing was given';
