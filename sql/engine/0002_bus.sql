-- What the buses keep in the database.
--
-- The postgres bus: a log that all topics share, who reads it, and how far they are. A row of the log is a batch of
-- records (engine/event/record_batch.h) of one transaction and one partition, about a page long. It is only ever
-- appended and read by position (xid, id); nothing is updated or deleted in it. It is cut by xid into segments, which
-- are tables: made ahead of time and dropped as a whole once every group has passed them. The design is in
-- engine/bus/postgres/postgres.h.
--
-- The Kafka bus: the position of each group, at the end of this file.

-- ------------------------------------------------------------------------------------------------------------- locks

-- First keys of the advisory locks. The only other one of the engine is that of migrations (engine/store/migrate.c).
create function sluice.bus_lock_member() returns int4 language sql immutable as 'select 1398491698';
create function sluice.bus_lock_group() returns int4 language sql immutable as 'select 1398491699';
create function sluice.bus_lock_maintain() returns int4 language sql immutable as 'select 1398491700';
comment on function sluice.bus_lock_member is
    'With the id of a member: held by the session of that member for as long as it lives, so that peers see it end';
comment on function sluice.bus_lock_group is
    'With the hash of a group''s name: held by a transaction that assigns or releases partitions of the group';
comment on function sluice.bus_lock_maintain is
    'Without a second key: held by the transaction that makes or drops segments of the log';

-- --------------------------------------------------------------------------------------------------------------- log

create sequence sluice.bus_log_id as bigint cache 16;

create table sluice.bus_log (
    partition int4   not null,
    xid       xid8   not null,
    id        int8   not null,
    count     int2   not null,
    payload   bytea  not null,
    primary key (partition, xid, id)
) partition by range (xid);
alter table sluice.bus_log alter column payload set storage external;
comment on table sluice.bus_log is 'The event log of the postgres bus';
comment on column sluice.bus_log.partition is 'Events with the same key are in one partition';
comment on column sluice.bus_log.xid is
    'Transaction that wrote the row: read only when every older transaction has ended';
comment on column sluice.bus_log.id is 'Order within the transaction';
comment on column sluice.bus_log.count is 'Records in the payload';
comment on column sluice.bus_log.payload is 'Record batch, stored as it is, inline up to a page';

-- Takes rows for which no segment was made in time.
create table sluice.bus_log_default partition of sluice.bus_log default
    with (toast_tuple_target = 8160);

create table sluice.bus_segment (
    start      int8        primary key,
    stop       int8        not null,
    made_at    timestamptz not null default clock_timestamp(),
    passed_at  timestamptz
);
comment on table sluice.bus_segment is 'The tables that sluice.bus_log consists of: sluice.bus_log_START';
comment on column sluice.bus_segment.start is 'First transaction number; -1 is the default partition';
comment on column sluice.bus_segment.stop is 'First transaction number after it';
comment on column sluice.bus_segment.made_at is 'When it was made';
comment on column sluice.bus_segment.passed_at is
    'When every group was first seen to have passed it; retention counts from here';

create table sluice.bus_setting (
    one        bool primary key default true check (one),
    partitions int4 not null check (partitions > 0)
);
comment on table sluice.bus_setting is 'What is decided once, when the bus is first opened';
comment on column sluice.bus_setting.one is 'There is one row';
comment on column sluice.bus_setting.partitions is
    'Partitions of the log; another number would move keys to other partitions, and break their order';

-- ----------------------------------------------------------------------------------------------- groups and members

create table sluice.bus_lease (
    consumer_group text not null,
    partition      int4 not null,
    member         int8,
    epoch          int4 not null default 0,
    high           int8 not null default 0,
    low            int8 not null default 0,
    primary key (consumer_group, partition)
) with (fillfactor = 40);
comment on table sluice.bus_lease is 'Who reads which partition for which group, and what is done';
comment on column sluice.bus_lease.consumer_group is 'The group';
comment on column sluice.bus_lease.partition is 'The partition';
comment on column sluice.bus_lease.member is 'sluice.bus_member that reads it; null: none';
comment on column sluice.bus_lease.epoch is 'Number of its assignments; a commit under a stale epoch does nothing';
comment on column sluice.bus_lease.high is 'Everything up to (high, low) is done: transaction number';
comment on column sluice.bus_lease.low is
    'Everything up to (high, low) is done: row id * 65536 + index of the record in it';

-- In a table of its own, because every batch looks up the member's row and locks it "for key share". A heartbeat would
-- not wait for that lock, but leave a version of the row; while an old snapshot is open (a dump, say), vacuum cannot
-- remove them, and every batch would read through all: 28 buffers instead of 6 after 3000 heartbeats.
create table sluice.bus_member_heartbeat (
    member  int8        primary key,
    process text        not null,
    at      timestamptz not null default clock_timestamp()
) with (fillfactor = 40);
comment on table sluice.bus_member_heartbeat is
    'The last heartbeat of each member; peers remove a member whose heartbeat is too old';
comment on column sluice.bus_member_heartbeat.member is 'sluice.bus_member';
comment on column sluice.bus_member_heartbeat.process is
    'The process it belongs to: consumers of the same process wake each other without "notify"';
comment on column sluice.bus_member_heartbeat.at is 'When it was';

create function sluice.bus_open(p_partitions int4, out partitions int4, out newest int8, out now int8)
language plpgsql as $$
begin
    insert into sluice.bus_setting (partitions) values (p_partitions) on conflict do nothing;
    select s.partitions into partitions from sluice.bus_setting s;
    select max(at.high) into newest from (
        select l.high from sluice.bus_lease l
        union all
        select (select b.xid::text::int8 from sluice.bus_log b where b.partition = p order by b.xid desc limit 1)
        from generate_series(0, bus_open.partitions - 1) p) at;
    newest := coalesce(newest, 0);
    now := pg_snapshot_xmax(pg_current_snapshot())::text::int8;
end $$;
comment on function sluice.bus_open is
    'Fixes the number of partitions, and gives the transaction numbers that tell whether the log comes from another '
    'server';

-- A session belongs to a member by holding the advisory lock on it; a peer that finds the lock free knows that the
-- session of the member has ended. True when the session is new. Consumers check the setting with each read, because a
-- connection may be renewed between two.
create function sluice.bus_session(p_member int8) returns bool
language plpgsql as $$
declare
    v_new bool := current_setting('sluice.bus_reader', true) is distinct from p_member::text;
begin
    if current_setting('sluice.bus_member', true) is distinct from p_member::text then
        if pg_try_advisory_lock(sluice.bus_lock_member(), p_member::int4) then
            perform set_config('sluice.bus_member', p_member::text, false);
        end if;
    end if;
    if v_new then
        perform set_config('sluice.bus_reader', p_member::text, false);
        -- A crash of the server may lose the last positions: what follows is read again, as duplicates.
        perform set_config('synchronous_commit', 'off', false);
        -- One plan, on the indexes, that is right at any size of the tables and is made only once.
        perform set_config('plan_cache_mode', 'force_generic_plan', false), set_config('enable_seqscan', 'off', false),
                set_config('enable_bitmapscan', 'off', false), set_config('jit', 'off', false);
        listen sluice_bus;
    end if;
    return v_new;
end $$;
comment on function sluice.bus_session is 'Makes this session that of a member, also after a reconnect';

create function sluice.bus_join(p_group text, p_name text, p_process text) returns int8
language plpgsql as $$
declare
    v_member int8;
begin
    insert into sluice.bus_member (consumer_group, name) values (p_group, p_name) returning id into v_member;
    insert into sluice.bus_member_heartbeat (member, process) values (v_member, p_process);
    perform sluice.bus_session(v_member);
    insert into sluice.bus_lease (consumer_group, partition)
        select p_group, p from sluice.bus_setting s, generate_series(0, s.partitions - 1) p
        on conflict do nothing;
    perform pg_notify('sluice_bus', '');
    return v_member;
end $$;
comment on function sluice.bus_join is
    'A new member of a group; its partitions are assigned with the heartbeats that follow';

-- A heartbeat of a member: commits its positions, removes members that expired, and assigns partitions.
-- Rows by kind: 0 the group (item members, epoch quota, high 1 when other processes read too) · 1 assigned (item
-- partition, epoch, position) · 2 to be revoked by the engine and then released by bus_release() · 3 this member was
-- removed: it is fenced. Lists are by bus_lease.partition; the share of a member follows from its rank, so that all
-- members compute the same shares.
create function sluice.bus_heartbeat(p_group text, p_member int8, p_ttl_ms int8, p_grace_ms int8,
                                p_partitions int4[], p_epochs int4[], p_highs int8[], p_lows int8[])
returns table (kind int4, item int4, epoch int4, high int8, low int8)
language plpgsql as $$
declare
    v_expired int8;
    v_members int4;
    v_rank int4;
    v_partitions int4;
    v_quota int4;
    v_held int4;
    v_process text;
    v_new bool;
begin
    perform pg_advisory_xact_lock(sluice.bus_lock_group(), hashtext(p_group));
    if not exists (select from sluice.bus_member m where m.id = p_member) then
        return query select 3, 0, 0, 0::int8, 0::int8;
        return;
    end if;
    v_new := sluice.bus_session(p_member);
    update sluice.bus_member_heartbeat h set at = clock_timestamp() where h.member = p_member
        returning process into v_process;
    if v_new then
        -- The member's positions in memory may be wrong: a server that crashed uses transaction numbers again that were
        -- seen before, and one that was promoted may lack rows. New epochs make it begin at the committed positions.
        update sluice.bus_lease l set epoch = l.epoch + 1 where l.consumer_group = p_group and l.member = p_member;
    elsif cardinality(p_partitions) > 0 then
        update sluice.bus_lease l set high = c.high, low = c.low
        from unnest(p_partitions, p_epochs, p_highs, p_lows) c (partition, epoch, high, low)
        where l.consumer_group = p_group and l.partition = c.partition and l.member = p_member and l.epoch = c.epoch
          and (l.high, l.low) < (c.high, c.low);
    end if;

    -- Expired are members without a heartbeat for p_ttl_ms, or for p_grace_ms and without their session. Deleting the
    -- row fences them; a member whose transactions still hold it is left for the next heartbeat.
    for v_expired in
        select m.id from sluice.bus_member m join sluice.bus_member_heartbeat h on h.member = m.id
        where m.consumer_group = p_group and m.id <> p_member
          and case when h.at < clock_timestamp() - p_ttl_ms * interval '1 ms' then true
                   when h.at < clock_timestamp() - p_grace_ms * interval '1 ms'
                        then pg_try_advisory_xact_lock(sluice.bus_lock_member(), m.id::int4)
                   else false end
    loop
        perform from sluice.bus_member m where m.id = v_expired for update skip locked;
        if found then
            perform sluice.bus_leave(p_group, v_expired);
        end if;
    end loop;

    select count(*), count(*) filter (where m.id < p_member) into v_members, v_rank
        from sluice.bus_member m where m.consumer_group = p_group;
    select s.partitions into v_partitions from sluice.bus_setting s;
    v_quota := v_partitions / v_members + (v_rank < v_partitions % v_members)::int4;
    select count(*) into v_held from sluice.bus_lease l where l.consumer_group = p_group and l.member = p_member;

    if v_held < v_quota then
        update sluice.bus_lease l set member = p_member, epoch = l.epoch + 1
        where l.consumer_group = p_group and l.partition in
            (select f.partition from sluice.bus_lease f where f.consumer_group = p_group and f.member is null
             order by f.partition limit v_quota - v_held);
    end if;

    return query
        select 0, v_members, v_quota,
               (exists (select from sluice.bus_member_heartbeat h where h.process <> v_process))::int4::int8, 0::int8
        union all
        (select case when row_number() over (order by l.partition) <= v_quota then 1 else 2 end,
                l.partition, l.epoch, l.high, l.low
         from sluice.bus_lease l where l.consumer_group = p_group and l.member = p_member order by l.partition);
end $$;
comment on function sluice.bus_heartbeat is
    'Heartbeat of a member: commits positions, removes members that expired, assigns partitions';

create function sluice.bus_release(p_group text, p_member int8, p_partitions int4[]) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(sluice.bus_lock_group(), hashtext(p_group));
    update sluice.bus_lease l set member = null
    where l.consumer_group = p_group and l.member = p_member and l.partition = any(p_partitions);
    perform pg_notify('sluice_bus', '');
end $$;
comment on function sluice.bus_release is 'Releases partitions that the engine has revoked from its lanes';

create function sluice.bus_leave(p_group text, p_member int8) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(sluice.bus_lock_group(), hashtext(p_group));
    update sluice.bus_lease l set member = null where l.consumer_group = p_group and l.member = p_member;
    delete from sluice.bus_member m where m.id = p_member;
    delete from sluice.bus_member_heartbeat h where h.member = p_member;
    perform pg_notify('sluice_bus', '');
end $$;
comment on function sluice.bus_leave is 'Ends a membership; from here on nothing of the member can commit';

-- -------------------------------------------------------------------------------------------------------- maintenance

create function sluice.bus_make_segment(p_start int8, p_stop int8) returns void
language plpgsql as $$
declare
    v_name text := 'bus_log_' || p_start;
begin
    execute format('create table sluice.%I (like sluice.bus_log including defaults including storage)
                    with (toast_tuple_target = 8160, autovacuum_enabled = off)', v_name);
    execute format('alter table sluice.bus_log attach partition sluice.%I for values from (%L) to (%L)',
                   v_name, p_start, p_stop);
    insert into sluice.bus_segment (start, stop) values (p_start, p_stop);
end $$;
comment on function sluice.bus_make_segment is 'Adds a table to the log';

-- Makes segments ahead, or drops those that every group has passed: one kind a call, so that locks are held only for
-- a moment; a lock that is not free is tried again with the next call. Returns the current transaction number.
create function sluice.bus_maintain(p_step int8, p_retention_ms int8, out now int8, out made int4, out dropped int4)
language plpgsql as $$
declare
    v_stop int8;
    v_low int8;
    v_segment record;
begin
    now := pg_snapshot_xmax(pg_current_snapshot())::text::int8;
    made := 0;
    dropped := 0;
    if not pg_try_advisory_xact_lock(sluice.bus_lock_maintain()) then
        return;
    end if;
    perform set_config('lock_timeout', '100ms', true);
    select coalesce(max(s.stop), 0) into v_stop from sluice.bus_segment s where s.start >= 0;
    while v_stop < bus_maintain.now + p_step loop
        -- Never begin a segment where a running transaction may already write into the default partition.
        if v_stop < bus_maintain.now + 1024 then
            v_stop := (bus_maintain.now + 2047) / 1024 * 1024;
        end if;
        perform sluice.bus_make_segment(v_stop, v_stop + p_step);
        v_stop := v_stop + p_step;
        made := made + 1;
    end loop;
    if made > 0 then
        return;
    end if;

    -- Everything below v_low is done by every group, and no running transaction can write there. Without a group
    -- nothing is dropped.
    select least(min(l.high), pg_snapshot_xmin(pg_current_snapshot())::text::int8) into v_low from sluice.bus_lease l;
    if not exists (select from sluice.bus_lease) then
        return;
    end if;
    update sluice.bus_segment s set passed_at = clock_timestamp()
        where s.passed_at is null and s.start >= 0 and s.stop <= v_low;
    for v_segment in
        select s.start from sluice.bus_segment s
        where s.start >= 0 and s.passed_at <= clock_timestamp() - p_retention_ms * interval '1 ms'
        order by s.start limit 8
    loop
        execute format('drop table sluice.%I', 'bus_log_' || v_segment.start);
        delete from sluice.bus_segment s where s.start = v_segment.start;
        dropped := dropped + 1;
    end loop;

    if exists (select from sluice.bus_log_default) then
        insert into sluice.bus_segment (start, stop, passed_at) values (-1, v_low, clock_timestamp())
            on conflict do nothing;
        select s.stop into v_stop from sluice.bus_segment s
            where s.start = -1 and s.passed_at <= clock_timestamp() - p_retention_ms * interval '1 ms';
        if found then
            delete from sluice.bus_log_default d where d.xid < v_stop::text::xid8;
            delete from sluice.bus_segment s where s.start = -1;
        end if;
    end if;
end $$;
comment on function sluice.bus_maintain is 'Makes and drops segments of the log';

-- Records that a group has not completed, those of topics that it does not read included; null: no such group.
create function sluice.bus_lag(p_group text) returns int8
language sql stable set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
    select sum(b.waiting)::int8
    from sluice.bus_lease l cross join lateral (
        select coalesce(sum(case when b.xid = l.high::text::xid8 and b.id = l.low >> 16
                                 then greatest(b.count - (l.low & 65535) - 1, 0) else b.count end), 0) as waiting
        from sluice.bus_log b
        where b.partition = l.partition and b.xid >= l.high::text::xid8
          and (b.xid, b.id) >= (l.high::text::xid8, l.low >> 16)) b
    where l.consumer_group = p_group
$$;
comment on function sluice.bus_lag is 'How far a group is behind, in records';

-- After a dump was restored into a server whose transaction numbers are lower: writes the log again under the numbers
-- of this server, in the same order, with every group's position at the same record.
create function sluice.bus_rebase() returns void
language plpgsql as $$
declare
    v_xid int8 := pg_current_xact_id()::text::int8;
    v_segment int8;
begin
    lock table sluice.bus_log, sluice.bus_lease in access exclusive mode;
    create temporary table bus_moved on commit drop as
        select b.partition, b.xid::text::int8 as old_xid, b.id as old_id, b.count, b.payload,
               row_number() over (order by b.xid, b.id) as id
        from sluice.bus_log b;
    perform setval('sluice.bus_log_id',
                   greatest((select max(m.id) from bus_moved m), nextval('sluice.bus_log_id')) + 1024);
    update sluice.bus_lease l set member = null, high = v_xid, low = coalesce(
        -- in the middle of a row: the same index of it; else the end of the last row that is done
        (select case when m.old_xid = l.high and m.old_id = l.low >> 16 then (m.id << 16) | (l.low & 65535)
                     else (m.id << 16) | 65535 end
         from bus_moved m
         where m.partition = l.partition and (m.old_xid, m.old_id) <= (l.high, l.low >> 16)
         order by m.id desc limit 1), 0);
    delete from sluice.bus_member;
    delete from sluice.bus_member_heartbeat;
    for v_segment in select s.start from sluice.bus_segment s where s.start >= 0 loop
        execute format('drop table sluice.%I', 'bus_log_' || v_segment);
    end loop;
    delete from sluice.bus_segment;
    truncate sluice.bus_log;
    perform sluice.bus_make_segment(v_xid / 1024 * 1024, v_xid / 1024 * 1024 + 4096); -- under the lock
    insert into sluice.bus_log (partition, xid, id, count, payload)
        select m.partition, v_xid::text::xid8, m.id, m.count, m.payload from bus_moved m order by m.id;
end $$;
comment on function sluice.bus_rebase is 'Moves a restored log into this server''s transaction numbers';

-- The first segment begins at the current transaction: the log is empty.
select sluice.bus_make_segment(now.at, now.at + 4096)
from (select pg_snapshot_xmin(pg_current_snapshot())::text::int8 / 1024 * 1024 as at) now;

-- --------------------------------------------------------------------------------------- positions of the Kafka bus

-- Written before the offset in Kafka is committed.
create table sluice.bus_position (
    consumer_group text        not null,
    topic          text        not null,
    partition      integer     not null check (partition >= 0),
    next           bigint      not null check (next >= 0),
    skipped_to     bigint      not null default 0,
    at             timestamptz not null default now(),
    constraint bus_position_pkey primary key (consumer_group, topic, partition)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
comment on table sluice.bus_position is
    'On the Kafka bus: what is done, in the database of the effects, so that an offset that was lost or moved in '
    'Kafka, or a database that was restored, is noticed';
comment on column sluice.bus_position.consumer_group is 'Name of the consumer group';
comment on column sluice.bus_position.topic is 'Topic';
comment on column sluice.bus_position.partition is 'Partition';
comment on column sluice.bus_position.next is 'Every record below this offset is done; never goes back';
comment on column sluice.bus_position.skipped_to is
    'An operator gave up the records below this offset (sluice.bus_skip)';
comment on column sluice.bus_position.at is 'When it last moved';

create function sluice.bus_skip(the_group text, the_topic text, the_partition integer, the_offset bigint) returns bigint
language sql as $$
    insert into sluice.bus_position as p (consumer_group, topic, partition, next, skipped_to)
    values (the_group, the_topic, the_partition, the_offset, the_offset)
    on conflict on constraint bus_position_pkey
    do update set next = greatest(p.next, excluded.next), skipped_to = greatest(p.skipped_to, excluded.skipped_to),
        at = now()
    returning next
$$;
comment on function sluice.bus_skip(text, text, integer, bigint) is
    'Gives up the records of a partition below an offset, when the brokers have deleted them: a running engine that '
    'stopped there goes on by itself';
