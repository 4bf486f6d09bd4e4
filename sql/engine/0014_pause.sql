-- What operators have paused, and the events that wait for the end of a pause.

create table sluice.pause (
    pipeline text        not null,
    kind     text        not null check (kind in ('topic', 'handler', 'tap', 'schedule')),
    name     text        not null,
    at       timestamptz not null default now(),
    until    timestamptz,
    actor    text        not null check (actor <> ''),
    reason   text,
    constraint pause_pkey primary key (pipeline, kind, name)
);
comment on table sluice.pause is
    'What `sluice pause` has stopped for a while; each process of the pipeline reads it twice a second';
comment on column sluice.pause.pipeline is 'Its name: `pipeline:` of the file';
comment on column sluice.pause.kind is 'What the name is of';
comment on column sluice.pause.name is 'As in pipeline.yaml; it may have left the file since';
comment on column sluice.pause.at is 'Since when';
comment on column sluice.pause.until is 'When it ends by itself; null: it is resumed by an operator';
comment on column sluice.pause.actor is 'Who paused it, as in sluice.audit';
comment on column sluice.pause.reason is 'Why, in the operator''s words; null: nothing was given';

alter table sluice.held_key add column paused text;
comment on column sluice.held_key.paused is
    'The topic of its first event, when that waits for the end of a pause (`due` is infinity then); null: it does not';

alter table sluice.parked add column paused text,
    drop constraint parked_state_check,
    add constraint parked_state_check check (state in (0, 1, 2, 3));
comment on column sluice.parked.paused is 'In state 3: the topic of which it is';
comment on column sluice.parked.state is
    '0 waits until it is due, 1 an undo that failed for good: an operator decides, 2 of a topic that the file does not '
    'have: waits for a file that says what becomes of it, 3 was due, and waits for the end of a pause';
create index parked_paused on sluice.parked (consumer_group) where state = 3;
comment on index sluice.parked_paused is 'What is due when a pause ends';
