-- The postgres bus: a log that all topics share, who reads it, and how far they are.
--
-- A row of the log is a batch of records (engine/event/record_batch.h) of one transaction and one partition, about a page
-- long. It is only ever appended and read by position (xid, id); nothing is updated or deleted in it. It is cut by xid into
-- segments, which are tables: made ahead of time and dropped as a whole once every group has passed them.
-- engine/bus/postgres.h tells the whole story.

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
comment on column sluice.bus_log.xid is 'Transaction that wrote the row: read only when every older transaction has ended';
comment on column sluice.bus_log.id is 'Order within the transaction';
comment on column sluice.bus_log.count is 'Records in the payload';
comment on column sluice.bus_log.payload is 'Record batch, stored as it is, inline up to a page';

-- The safety net: takes rows for which no segment was made in time.
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
comment on column sluice.bus_segment.passed_at is 'When every group was first seen to have passed it; retention counts from here';

create table sluice.bus_setting (
    one        bool primary key default true check (one),
    partitions int4 not null check (partitions > 0)
);
comment on table sluice.bus_setting is 'What is decided once, when the bus is first opened';
comment on column sluice.bus_setting.one is 'There is one row';
comment on column sluice.bus_setting.partitions is 'Partitions of the log; changing it would tear keys apart';

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
comment on column sluice.bus_lease.member is 'sluice.bus_member that reads it; null: nobody';
comment on column sluice.bus_lease.epoch is 'Counts the times it changed hands; a commit of an older epoch does nothing';
comment on column sluice.bus_lease.high is 'Everything up to (high, low) is done: transaction number';
comment on column sluice.bus_lease.low is 'Everything up to (high, low) is done: row id * 65536 + index of the record in it';

-- A pulse is kept apart from its member row: transactions hold that row FOR SHARE, and an update would wait for them.
create table sluice.bus_pulse (
    member    int8        primary key,
    process   text        not null,
    heartbeat timestamptz not null default clock_timestamp()
) with (fillfactor = 40);
comment on table sluice.bus_pulse is 'When each member was last heard of';
comment on column sluice.bus_pulse.member is 'sluice.bus_member';
comment on column sluice.bus_pulse.process is 'The process it lives in: readers of the same process wake each other without NOTIFY';
comment on column sluice.bus_pulse.heartbeat is 'Last tick';

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
comment on function sluice.bus_open is 'Fixes the number of partitions and says whether the log is from another server''s time';

-- A session belongs to a member by holding the advisory lock on it; a peer that finds the lock free knows that the member died.
-- True when the session is new. Readers ask for the setting with each read, because a connection may be renewed between two.
create function sluice.bus_session(p_member int8) returns bool
language plpgsql as $$
declare
    v_new bool := current_setting('sluice.bus_reader', true) is distinct from p_member::text;
begin
    if current_setting('sluice.bus_member', true) is distinct from p_member::text then
        if pg_try_advisory_lock(1398491698, p_member::int4) then
            perform set_config('sluice.bus_member', p_member::text, false);
        end if;
    end if;
    if v_new then
        perform set_config('sluice.bus_reader', p_member::text, false);
        -- Positions that a crash of the server takes back are read again, and events that were handled are known.
        perform set_config('synchronous_commit', 'off', false);
        -- The one plan that is right at any size, and only planned once.
        perform set_config('plan_cache_mode', 'force_generic_plan', false), set_config('enable_seqscan', 'off', false),
                set_config('enable_bitmapscan', 'off', false), set_config('jit', 'off', false);
        listen sluice_bus;
    end if;
    return v_new;
end $$;
comment on function sluice.bus_session is 'Makes this session the one of a member, again after a reconnect';

create function sluice.bus_join(p_group text, p_name text, p_process text) returns int8
language plpgsql as $$
declare
    v_member int8;
begin
    insert into sluice.bus_member (consumer_group, name) values (p_group, p_name) returning id into v_member;
    insert into sluice.bus_pulse (member, process) values (v_member, p_process);
    perform sluice.bus_session(v_member);
    insert into sluice.bus_lease (consumer_group, partition)
        select p_group, p from sluice.bus_setting s, generate_series(0, s.partitions - 1) p
        on conflict do nothing;
    perform pg_notify('sluice_bus', '');
    return v_member;
end $$;
comment on function sluice.bus_join is 'A new member of a group; it gets its partitions with the ticks that follow';

-- One beat of a member: shows that it lives, buries the dead, gives up what it has too much of, takes what is free.
-- Rows by kind: 0 the group (item members, epoch quota, high 1 when other processes read too) · 1 held (item partition, epoch,
-- position) · 2 to be given up by the engine and then by bus_release() · 3 this member was declared dead.
-- Lists are by bus_lease.partition; the share of a member is its rank's, so that all members compute the same shares.
create function sluice.bus_tick(p_group text, p_member int8, p_ttl_ms int8, p_grace_ms int8,
                                p_partitions int4[], p_epochs int4[], p_highs int8[], p_lows int8[])
returns table (kind int4, item int4, epoch int4, high int8, low int8)
language plpgsql as $$
declare
    v_suspect int8;
    v_members int4;
    v_rank int4;
    v_partitions int4;
    v_quota int4;
    v_held int4;
    v_process text;
    v_new bool;
begin
    perform pg_advisory_xact_lock(1398491699, hashtext(p_group));
    if not exists (select from sluice.bus_member m where m.id = p_member) then
        return query select 3, 0, 0, 0::int8, 0::int8;
        return;
    end if;
    v_new := sluice.bus_session(p_member);
    update sluice.bus_pulse u set heartbeat = clock_timestamp() where u.member = p_member returning process into v_process;
    if v_new then
        -- What it remembers of the log may not be true any more: a server that crashed gives transaction numbers out again that were
        -- seen before, and one that took over may not have all rows. New epochs make it begin at the committed positions.
        update sluice.bus_lease l set epoch = l.epoch + 1 where l.consumer_group = p_group and l.member = p_member;
    elsif cardinality(p_partitions) > 0 then
        update sluice.bus_lease l set high = c.high, low = c.low
        from unnest(p_partitions, p_epochs, p_highs, p_lows) c (partition, epoch, high, low)
        where l.consumer_group = p_group and l.partition = c.partition and l.member = p_member and l.epoch = c.epoch
          and (l.high, l.low) < (c.high, c.low);
    end if;

    -- The dead: silent for long, or silent for a moment and without their session. Deleting the row fences them: it waits for
    -- no one, a member whose transactions still run is left for the next tick.
    for v_suspect in
        select m.id from sluice.bus_member m join sluice.bus_pulse u on u.member = m.id
        where m.consumer_group = p_group and m.id <> p_member
          and case when u.heartbeat < clock_timestamp() - p_ttl_ms * interval '1 ms' then true
                   when u.heartbeat < clock_timestamp() - p_grace_ms * interval '1 ms'
                        then pg_try_advisory_xact_lock(1398491698, m.id::int4)
                   else false end
    loop
        perform from sluice.bus_member m where m.id = v_suspect for update skip locked;
        if found then
            perform sluice.bus_leave(p_group, v_suspect);
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
        select 0, v_members, v_quota, (exists (select from sluice.bus_pulse u where u.process <> v_process))::int4::int8, 0::int8
        union all
        (select case when row_number() over (order by l.partition) <= v_quota then 1 else 2 end, l.partition, l.epoch, l.high, l.low
         from sluice.bus_lease l where l.consumer_group = p_group and l.member = p_member order by l.partition);
end $$;
comment on function sluice.bus_tick is 'One beat of a member';

create function sluice.bus_release(p_group text, p_member int8, p_partitions int4[]) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1398491699, hashtext(p_group));
    update sluice.bus_lease l set member = null
    where l.consumer_group = p_group and l.member = p_member and l.partition = any(p_partitions);
    perform pg_notify('sluice_bus', '');
end $$;
comment on function sluice.bus_release is 'Gives partitions up, after the engine let go of them';

create function sluice.bus_leave(p_group text, p_member int8) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1398491699, hashtext(p_group));
    update sluice.bus_lease l set member = null where l.consumer_group = p_group and l.member = p_member;
    delete from sluice.bus_member m where m.id = p_member;
    delete from sluice.bus_pulse u where u.member = p_member;
    perform pg_notify('sluice_bus', '');
end $$;
comment on function sluice.bus_leave is 'Ends a membership; from here on nothing of the member can commit';

create function sluice.bus_make_segment(p_start int8, p_stop int8) returns void
language plpgsql as $$
declare
    v_name text := 'bus_log_' || p_start;
begin
    execute format('create table sluice.%I (like sluice.bus_log including defaults including storage)
                    with (toast_tuple_target = 8160, autovacuum_enabled = off)', v_name);
    execute format('alter table sluice.bus_log attach partition sluice.%I for values from (%L) to (%L)', v_name, p_start, p_stop);
    insert into sluice.bus_segment (start, stop) values (p_start, p_stop);
end $$;
comment on function sluice.bus_make_segment is 'Adds a table to the log';

-- Makes room ahead or drops what is over, one kind a call, so that locks are held for a moment only; a lock that does not come
-- at once is asked for again with the next call. Returns the current transaction number.
create function sluice.bus_tend(p_step int8, p_retention_ms int8, out now int8, out made int4, out dropped int4)
language plpgsql as $$
declare
    v_stop int8;
    v_low int8;
    v_segment record;
begin
    now := pg_snapshot_xmax(pg_current_snapshot())::text::int8;
    made := 0;
    dropped := 0;
    if not pg_try_advisory_xact_lock(1398491700) then
        return;
    end if;
    perform set_config('lock_timeout', '100ms', true);
    select coalesce(max(s.stop), 0) into v_stop from sluice.bus_segment s where s.start >= 0;
    while v_stop < bus_tend.now + p_step loop
        -- Never begin a segment where a running transaction may already write into the default partition.
        if v_stop < bus_tend.now + 1024 then
            v_stop := (bus_tend.now + 2047) / 1024 * 1024;
        end if;
        perform sluice.bus_make_segment(v_stop, v_stop + p_step);
        v_stop := v_stop + p_step;
        made := made + 1;
    end loop;
    if made > 0 then
        return;
    end if;

    -- Everything below v_low is done by every group, and no running transaction can write there. No group: nothing is done.
    select least(min(l.high), pg_snapshot_xmin(pg_current_snapshot())::text::int8) into v_low from sluice.bus_lease l;
    if not exists (select from sluice.bus_lease) then
        return;
    end if;
    update sluice.bus_segment s set passed_at = clock_timestamp() where s.passed_at is null and s.start >= 0 and s.stop <= v_low;
    for v_segment in
        select s.start from sluice.bus_segment s
        where s.start >= 0 and s.passed_at <= clock_timestamp() - p_retention_ms * interval '1 ms' order by s.start limit 8
    loop
        execute format('drop table sluice.%I', 'bus_log_' || v_segment.start);
        delete from sluice.bus_segment s where s.start = v_segment.start;
        dropped := dropped + 1;
    end loop;

    if exists (select from sluice.bus_log_default) then
        insert into sluice.bus_segment (start, stop, passed_at) values (-1, v_low, clock_timestamp()) on conflict do nothing;
        select s.stop into v_stop from sluice.bus_segment s
            where s.start = -1 and s.passed_at <= clock_timestamp() - p_retention_ms * interval '1 ms';
        if found then
            delete from sluice.bus_log_default d where d.xid < v_stop::text::xid8;
            delete from sluice.bus_segment s where s.start = -1;
        end if;
    end if;
end $$;
comment on function sluice.bus_tend is 'Housekeeping of the log';

-- Records that a group has not completed, those of topics that it does not read included; null: no such group.
create function sluice.bus_lag(p_group text) returns int8
language sql stable set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
    select sum(b.waiting)::int8
    from sluice.bus_lease l cross join lateral (
        select coalesce(sum(case when b.xid = l.high::text::xid8 and b.id = l.low >> 16
                                 then greatest(b.count - (l.low & 65535) - 1, 0) else b.count end), 0) as waiting
        from sluice.bus_log b
        where b.partition = l.partition and b.xid >= l.high::text::xid8 and (b.xid, b.id) >= (l.high::text::xid8, l.low >> 16)) b
    where l.consumer_group = p_group
$$;
comment on function sluice.bus_lag is 'How far a group is behind, in records';

-- After a dump was restored into a server whose transaction numbers are lower: writes the log again under the numbers of this
-- server, in the same order, with every group's position at the same record.
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
    perform setval('sluice.bus_log_id', greatest((select max(m.id) from bus_moved m), nextval('sluice.bus_log_id')) + 1024);
    update sluice.bus_lease l set member = null, high = v_xid, low = coalesce(
        -- in the middle of a row: the same index of it; else the end of the last row that is done
        (select case when m.old_xid = l.high and m.old_id = l.low >> 16 then (m.id << 16) | (l.low & 65535)
                     else (m.id << 16) | 65535 end
         from bus_moved m
         where m.partition = l.partition and (m.old_xid, m.old_id) <= (l.high, l.low >> 16)
         order by m.id desc limit 1), 0);
    delete from sluice.bus_member;
    delete from sluice.bus_pulse;
    for v_segment in select s.start from sluice.bus_segment s where s.start >= 0 loop
        execute format('drop table sluice.%I', 'bus_log_' || v_segment);
    end loop;
    delete from sluice.bus_segment;
    truncate sluice.bus_log;
    perform sluice.bus_make_segment(v_xid / 1024 * 1024, v_xid / 1024 * 1024 + 4096); -- nobody else can have written
    insert into sluice.bus_log (partition, xid, id, count, payload)
        select m.partition, v_xid::text::xid8, m.id, m.count, m.payload from bus_moved m order by m.id;
end $$;
comment on function sluice.bus_rebase is 'Moves a restored log into this server''s transaction numbers';

-- The first segment may begin now: nobody can have written yet.
select sluice.bus_make_segment(now.at, now.at + 4096)
from (select pg_snapshot_xmin(pg_current_snapshot())::text::int8 / 1024 * 1024 as at) now;
