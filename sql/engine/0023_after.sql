-- Early events: one that came before what it needs (`after:` of a topic) waits as the head of a held key until that was
-- handled.

create table sluice.needed (
    consumer_group smallint not null,
    id             uuid     not null,
    at             integer  not null,
    handled        boolean  not null,
    constraint needed_pkey primary key (consumer_group, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
comment on table sluice.needed is
    'Events that others are handled after (`after:`): written by the transaction that handled one, or by one whose '
    'event waits for it. Both write the same row, so neither misses the other';
comment on column sluice.needed.consumer_group is 'sluice.name, kind g: who handles both';
comment on column sluice.needed.id is 'A hash of the topic that is needed, the field and its value';
comment on column sluice.needed.at is 'When it was written, in seconds since 2020-01-01 UTC, as in sluice.inbox';
comment on column sluice.needed.handled is 'It was; false: somebody waits, or did';
create index needed_at on sluice.needed (at);
comment on index sluice.needed_at is 'What is older than store.inbox_retention, to be deleted';

alter table sluice.held
    add column at timestamptz not null default now(),
    add column needs uuid,
    add column ready boolean not null default false;
comment on column sluice.held.at is 'When it came';
comment on column sluice.held.needs is
    'Of the first event of a key that waits for another one: sluice.needed.id; null: for nothing, or not known yet';
comment on column sluice.held.ready is 'What it needs was handled since';
create index held_needs on sluice.held (consumer_group, needs) where needs is not null;
comment on index sluice.held_needs is 'Who waits for an event that is being handled';
create index held_ready on sluice.held (consumer_group, key_hash) where ready;
comment on index sluice.held_ready is 'Whose turn it is now';
