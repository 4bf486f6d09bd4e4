-- The engine's own tables: what was handled, what is delayed, what must still be published.
--
-- Written for the hot path: one narrow inbox row an event and handler, one outbox row a batch, and nothing else. No
-- foreign keys and no triggers: each would run once a row. Numbers stand for names (sluice.name). Small tables whose
-- rows come and go are vacuumed after a number of changes, not after a share of their size.

create schema if not exists sluice;
comment on schema sluice is 'The event engine Sluice: its own rows; nothing else may change them';

-- ---------------------------------------------------------------------------------------------------------- names

create table sluice.name (
    number smallint generated always as identity primary key,
    kind   "char" not null check (kind in ('h', 'c', 'g', 's')),
    name   text   not null check (name <> ''),
    unique (kind, name)
);
comment on table sluice.name is
    'Numbers of names, so that rows are narrow; never deleted: rows of years ago refer to them';
comment on column sluice.name.number is 'What the other tables store';
comment on column sluice.name.kind is 'h handler, c chain, g consumer group, s schedule';
comment on column sluice.name.name is 'As in the pipeline';

-- ---------------------------------------------------------------------------------------------------------- inbox

-- 32 bytes of data without padding. Appended in the order of time and pruned from its oldest end, so it is never
-- rewritten: full pages, and vacuum has work only where old rows were deleted (store/ledger/prune.c).
create table sluice.inbox (
    handler  smallint not null,
    outcome  smallint not null,
    at       integer  not null,
    event_id uuid     not null,
    hash     bigint   not null,
    constraint inbox_pkey primary key (handler, event_id)
) with (fillfactor = 100,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1,
        autovacuum_analyze_scale_factor = 0.2);
comment on table sluice.inbox is
    'One row for each event that a handler has handled, written by the claim: the reason why nothing is done twice';
comment on column sluice.inbox.handler is 'sluice.name, kind h';
comment on column sluice.inbox.outcome is 'Index of the outcome in the handler''s list; -1 dead letter';
comment on column sluice.inbox.at is 'When it was claimed: seconds since 2020-01-01 UTC on the clock of this server';
comment on column sluice.inbox.event_id is 'The event''s id if that is a UUID, else its 128-bit hash';
comment on column sluice.inbox.hash is
    '64-bit hash of the payload: the same id with another payload is a conflict, not a duplicate';

create table sluice.prune (
    only_row boolean primary key default true check (only_row),
    block    bigint  not null
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
comment on table sluice.prune is 'How far pruning has read the inbox, window by window; it needs no index on the time';
comment on column sluice.prune.only_row is 'There is one row';
comment on column sluice.prune.block is 'The next block of sluice.inbox to look at';
insert into sluice.prune (block) values (0);

-- --------------------------------------------------------------------------------------------------------- attempts

create table sluice.attempt (
    handler  smallint    not null,
    attempts integer     not null check (attempts > 0),
    event_id uuid        not null,
    at       timestamptz not null default now(),
    reason   text,
    constraint attempt_pkey primary key (handler, event_id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
comment on table sluice.attempt is
    'Failed tries of events that are retried, so that a restart does not count from 0 again; deleted once they are '
    'handled';
comment on column sluice.attempt.handler is 'sluice.name, kind h';
comment on column sluice.attempt.attempts is 'Failed tries so far, over all processes; outages are not counted';
comment on column sluice.attempt.event_id is 'As in sluice.inbox';
comment on column sluice.attempt.at is 'When the last try failed';
comment on column sluice.attempt.reason is 'Why the last try failed';

-- ----------------------------------------------------------------------------------------------------------- outbox

-- A process takes 64 ids at a time and numbers its rows itself: adding a row needs no answer from the server.
create sequence sluice.outbox_id as bigint increment by 64;
comment on sequence sluice.outbox_id is 'Blocks of 64 ids for sluice.outbox, each of one process';

create table sluice.outbox (
    id         bigint      not null,
    created_at timestamptz not null default now(),
    batch      bytea       not null,
    owner      bigint      not null default 0,
    tried_at   timestamptz,
    refused    text,
    constraint outbox_pkey primary key (id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000);
-- A row lives for milliseconds: compressing it would cost more than it saves.
alter table sluice.outbox alter column batch set storage external;
comment on table sluice.outbox is
    'One row a batch with everything it emits, until every record of it is acknowledged: its absence means published';
comment on column sluice.outbox.id is 'Of a block of sluice.outbox_id';
comment on column sluice.outbox.created_at is 'Start of the transaction; the sweeper publishes what has become too old';
comment on column sluice.outbox.batch is 'A record batch: topics, keys, headers and values as they are published';
comment on column sluice.outbox.owner is
    'The process whose lane publishes it, a number of its own at each start; 0: the sweeper of any process does';
comment on column sluice.outbox.tried_at is 'When the brokers last refused it';
comment on column sluice.outbox.refused is
    'Why the brokers refuse what is left of the batch (too large, no such topic): an operator must remove the cause; '
    'tried again every half minute';

-- ----------------------------------------------------------------------------------------------------------- parked

create table sluice.parked (
    consumer_group smallint    not null,
    state          smallint    not null default 0 check (state in (0, 1)),
    event_id       uuid        not null,
    due            timestamptz not null,
    parked_at      timestamptz not null default now(),
    record         bytea       not null,
    reason         text,
    taken_by       bigint,
    constraint parked_pkey primary key (consumer_group, event_id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index parked_due on sluice.parked (consumer_group, due) where state = 0;
comment on table sluice.parked is 'Events that are delayed until they are due, or until an operator decides';
comment on column sluice.parked.consumer_group is 'sluice.name, kind g: who will handle it';
comment on column sluice.parked.state is '0 waits until it is due, 1 an undo that failed for good: an operator decides';
comment on column sluice.parked.event_id is 'As in sluice.inbox';
comment on column sluice.parked.due is 'When the group handles it; moved ahead while it is being handled';
comment on column sluice.parked.parked_at is 'When it was first delayed';
comment on column sluice.parked.record is 'A record batch of one';
comment on column sluice.parked.reason is 'Why it is delayed';
comment on column sluice.parked.taken_by is
    'The process that is handling it, a number of its own at each start: once that process has ended, the event is '
    'due at once; null: none';
comment on index sluice.parked_due is 'What is due next, for each group';

-- ----------------------------------------------------------------------------------------------------------- chains

-- Updated once a step: fillfactor leaves room for the next versions on the same page, and the data is beside them,
-- uncompressed, up to a page.
create table sluice.chain (
    chain            smallint   not null,
    state            smallint   not null default 0 check (state between 0 and 3),
    done             integer    not null default 0,
    undoing          integer    not null default 0,
    undone           integer    not null default 0,
    at               integer    not null,
    correlation      uuid       not null,
    correlation_text text       not null,
    reason           text,
    data_steps       smallint[] not null default '{}',
    data             bytea[]    not null default '{}',
    constraint chain_pkey primary key (chain, correlation)
) with (fillfactor = 60, toast_tuple_target = 8000, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_vacuum_threshold = 1000);
alter table sluice.chain alter column data set storage external;
create index chain_stuck on sluice.chain (chain) where state = 3;
comment on table sluice.chain is
    'One row a correlation: which steps of a chain were done and undone, in the transactions that did them';
comment on column sluice.chain.chain is 'sluice.name, kind c';
comment on column sluice.chain.state is
    '0 running, 1 aborted and being undone, 2 undone, 3 stuck: an undo failed for good';
comment on column sluice.chain.done is 'Bit i: step i was done';
comment on column sluice.chain.undoing is 'Bit i: the undo of step i was emitted';
comment on column sluice.chain.undone is 'Bit i: the undo of step i is known to have happened';
comment on column sluice.chain.at is 'Last change: seconds since 2020-01-01 UTC on the clock of this server';
comment on column sluice.chain.correlation is 'The correlation if that is a UUID, else its 128-bit hash';
comment on column sluice.chain.correlation_text is 'The correlation as the events have it';
comment on column sluice.chain.reason is 'Why it was aborted';
comment on column sluice.chain.data_steps is 'The steps whose data is kept, in the order of data';
comment on column sluice.chain.data is 'Data of the events that did those steps: what their undo is made of';
comment on index sluice.chain_stuck is 'The stuck ones, for the metric';

-- ----------------------------------------------------------------------------------------------------------- replies

create table sluice.reply (
    handler  smallint not null,
    status   smallint not null check (status between 200 and 599),
    at       integer  not null,
    event_id uuid     not null,
    body     bytea    not null,
    constraint reply_pkey primary key (handler, event_id)
);
create index reply_at on sluice.reply (at);
comment on table sluice.reply is
    'One row a request with an Idempotency-Key, written in the transaction that did what was asked';
comment on column sluice.reply.handler is 'sluice.name, kind h: the request';
comment on column sluice.reply.status is 'HTTP status of the answer';
comment on column sluice.reply.at is 'When it was answered: seconds since 2020-01-01 UTC on the clock of this server';
comment on column sluice.reply.event_id is 'Made of the request and its key';
comment on column sluice.reply.body is 'The answer, JSON';
comment on index sluice.reply_at is 'For pruning';

-- --------------------------------------------------------------------------------------------------------- schedules

create table sluice.schedule (
    schedule smallint primary key,
    slot     bigint   not null,
    at       timestamptz not null default now()
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
comment on table sluice.schedule is
    'The last tick of each schedule: the process that updates the row does the work, in the same transaction';
comment on column sluice.schedule.schedule is 'sluice.name, kind s';
comment on column sluice.schedule.slot is 'Milliseconds since 1970 UTC of the last tick, a multiple of the period';
comment on column sluice.schedule.at is 'When it was done';

-- ------------------------------------------------------------------------------------------------------------ members

create table sluice.bus_member (
    id             bigint      generated always as identity primary key,
    consumer_group text        not null,
    name           text        not null,
    joined_at      timestamptz not null default now()
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table sluice.bus_member is
    'Consumers of the postgres bus. Deleting a row fences its process: every batch of it locks the row first';
comment on column sluice.bus_member.id is 'Never used twice';
comment on column sluice.bus_member.consumer_group is 'Name of the consumer group';
comment on column sluice.bus_member.name is 'Of the process, for operators';
comment on column sluice.bus_member.joined_at is 'When it joined';
