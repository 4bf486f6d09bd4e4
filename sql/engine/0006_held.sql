-- Held keys: a key whose next event must wait for longer than a moment, with everything that came behind it.
--
-- A row a key, which says when its first event is due, and a row an event, which is written once and deleted once. So
-- neither positions nor memory wait for a key (docs/decisions/0013-held-keys-are-written-down.md).

-- Ids are the order of a key's events, whichever process appends: no cache.
create sequence sluice.held_id as bigint;
comment on sequence sluice.held_id is 'The order of sluice.held';

create table sluice.held_key (
    consumer_group smallint    not null,
    stream         text        not null,
    key_hash       bigint      not null,
    events         bigint      not null check (events >= 0),
    due            timestamptz,
    held_at        timestamptz not null default now(),
    reason         text,
    constraint held_key_pkey primary key (consumer_group, stream, key_hash)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
comment on table sluice.held_key is
    'Keys whose next event waits, and their later ones behind it; who reads the stream handles them. Deleted when no '
    'event is left';
comment on column sluice.held_key.consumer_group is 'sluice.name, kind g: who will handle them';
comment on column sluice.held_key.stream is
    'Where the events were read: a partition of the log, or TOPIC/PARTITION on the Kafka bus';
comment on column sluice.held_key.key_hash is 'The key, by its hash: what a lane is chosen by';
comment on column sluice.held_key.events is 'Rows of it in sluice.held';
comment on column sluice.held_key.due is
    'When its first event is tried again; null: at once. May be changed: a running engine looks every few seconds';
comment on column sluice.held_key.held_at is 'Since when it is held';
comment on column sluice.held_key.reason is 'Why its first event waits';

create table sluice.held (
    consumer_group smallint not null,
    handler        smallint not null,
    partition      integer  not null,
    key_hash       bigint   not null,
    id             bigint   not null default nextval('sluice.held_id'),
    log_offset     bigint   not null,
    event_id       uuid     not null,
    stream         text     not null,
    record         bytea    not null,
    constraint held_pkey primary key (consumer_group, key_hash, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index held_event on sluice.held (event_id);
comment on table sluice.held is 'Events of held keys, in the order of their ids';
comment on column sluice.held.consumer_group is 'As in sluice.held_key';
comment on column sluice.held.handler is 'sluice.name, kind h: who will handle it';
comment on column sluice.held.partition is 'Where it was read, for people';
comment on column sluice.held.key_hash is 'As in sluice.held_key';
comment on column sluice.held.id is 'Its place in the order';
comment on column sluice.held.log_offset is 'Where it was read, for people';
comment on column sluice.held.event_id is 'As in sluice.inbox';
comment on column sluice.held.stream is 'As in sluice.held_key';
comment on column sluice.held.record is 'A record batch of one';
comment on index sluice.held_event is 'Where sluice explain looks for an event';

alter table sluice.parked add column tries integer not null default 0;
comment on column sluice.parked.tries is 'Failed tries so far of one that was tried when it was due';
