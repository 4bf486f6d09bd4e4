-- Dead letters as rows, beside their topics: what an operator lists, sends again, mends and drops.

-- Ids are the order of a key's dead letters, whichever process writes them: no cache.
create sequence sluice.dead_letter_id as bigint;
comment on sequence sluice.dead_letter_id is 'The order of sluice.dead_letter';

-- Written once by the transaction that made the dead letter, and updated once when it is replayed or dropped. Filters
-- are ranges ("C": byte order), so that one index answers any of them.
create table sluice.dead_letter (
    id             bigint      not null default nextval('sluice.dead_letter_id'),
    consumer_group smallint    not null,
    state          smallint    not null default 0 check (state between 0 and 2),
    noted          boolean     not null default false,
    attempts       integer     not null,
    round          integer     not null default 0 check (round >= 0),
    partition      integer,
    log_offset     bigint,
    before         bigint,
    at             timestamptz not null default now(),
    event_id       uuid        not null,
    topic          text        collate "C" not null,
    handler        text        collate "C" not null default '',
    reason         text        collate "C" not null,
    event          text        collate "C" not null default '',
    correlation    text        collate "C" not null default '',
    message        text        not null default '',
    record         bytea       not null,
    edited         bytea,
    ended_at       timestamptz,
    ended_by       text,
    replayed_as    text,
    constraint dead_letter_pkey primary key (id)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_insert_scale_factor = 0.1);
create index dead_letter_open on sluice.dead_letter (consumer_group, id, topic, handler, reason, at) where state = 0;
create index dead_letter_correlation on sluice.dead_letter (correlation) where correlation <> '';
create index dead_letter_ended on sluice.dead_letter (ended_at) where state <> 0;
create index dead_letter_event on sluice.dead_letter (event_id);
comment on table sluice.dead_letter is
    'One row for each dead letter, written in the transaction that made it; `sluice dead-letter` lists and moves them';
comment on column sluice.dead_letter.id is 'What commands call it; of one key in the order of its events';
comment on column sluice.dead_letter.consumer_group is 'sluice.name, kind g: whose handler could not handle it';
comment on column sluice.dead_letter.state is '0 open, 1 replayed, 2 dropped';
comment on column sluice.dead_letter.noted is
    'Chains have noted the event when it became a dead letter: not again when it is replayed';
comment on column sluice.dead_letter.attempts is 'How often it was tried';
comment on column sluice.dead_letter.round is 'How often it was replayed before it became this dead letter';
comment on column sluice.dead_letter.partition is 'Where it was read, for people; null: from the database';
comment on column sluice.dead_letter.log_offset is 'Where it was read, for people; null: from the database';
comment on column sluice.dead_letter.before is 'The dead letter whose replay it was; null: of no one';
comment on column sluice.dead_letter.at is 'Start of the transaction that made it';
comment on column sluice.dead_letter.event_id is 'As in sluice.inbox';
comment on column sluice.dead_letter.topic is 'The topic of its event, to which it is replayed';
comment on column sluice.dead_letter.handler is 'As in sluice.name, kind h; empty: none was to have it';
comment on column sluice.dead_letter.reason is 'Why, as a word: bad_json, rejected, retries_exhausted …';
comment on column sluice.dead_letter.event is 'The event''s id as it is written; empty: it has none that can be read';
comment on column sluice.dead_letter.correlation is 'Of a chain, or of the header; empty: none is known';
comment on column sluice.dead_letter.message is 'Why, as a sentence';
comment on column sluice.dead_letter.record is 'The event as it came: a record batch of one';
comment on column sluice.dead_letter.edited is
    'What is replayed instead: a record batch of one; null: it was not edited';
comment on column sluice.dead_letter.ended_at is 'When it was replayed or dropped';
comment on column sluice.dead_letter.ended_by is 'Who did that';
comment on column sluice.dead_letter.replayed_as is 'Id of the event that its replay is';
comment on index sluice.dead_letter_open is 'What is open, by any filter, page by page';
comment on index sluice.dead_letter_correlation is 'The dead letters of a purchase';
comment on index sluice.dead_letter_ended is 'For pruning';
comment on index sluice.dead_letter_event is 'Where sluice explain looks for an event';

-- Its first key follows those of the bus (0002_bus.sql).
create function sluice.dead_letter_lock() returns int4 language sql immutable as 'select 1398491701';
comment on function sluice.dead_letter_lock is
    'With the hash of a group''s name: held by a transaction that replays or drops dead letters of the group';

comment on column sluice.audit.id is 'In the order in which they were written';
