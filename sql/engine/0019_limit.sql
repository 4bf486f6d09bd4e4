-- Limits of topics: when the next event may be handled, in whatever process.

create unlogged table sluice.limit_slot (
    consumer_group smallint    not null,
    bucket         bigint      not null,
    next           timestamptz not null,
    constraint limit_slot_pkey primary key (consumer_group, bucket)
) with (fillfactor = 50);
comment on table sluice.limit_slot is
    'What is limited (`limit:`): slots are given to lanes a moment ahead. Unlogged: a crash of the server loses no '
    'more than that moment';
comment on column sluice.limit_slot.consumer_group is 'sluice.name, kind g: whose limit it is';
comment on column sluice.limit_slot.bucket is 'A hash of the topic, and of the value of `per:`';
comment on column sluice.limit_slot.next is 'The first slot that nobody has; in the past: the next one is now';
