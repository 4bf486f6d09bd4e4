-- Processes of one group with different files, as while a new file is rolled out: what one of them does not have is
-- skipped by none. A member says which topics it reads; partitions are read by members that have all of them, and where
-- nobody has, a reader gives what only others have to the engine, which keeps it for them in sluice.parked.

alter table sluice.bus_member add column topics text[];
comment on column sluice.bus_member.topics is
    'The topics that it reads, or patterns; null: an engine that does not say so';

create function sluice.bus_join(p_group text, p_name text, p_process text, p_topics text[]) returns int8
language plpgsql as $$
declare
    v_member int8;
begin
    perform pg_advisory_xact_lock(sluice.bus_lock_group(), hashtext(p_group));
    v_member := sluice.bus_join(p_group, p_name, p_process);
    update sluice.bus_member m set topics = p_topics where m.id = v_member;
    return v_member;
end $$;
comment on function sluice.bus_join(text, text, text, text[]) is 'The same, of a member that says what it reads';

-- As before, but for who reads partitions, and that row 0 has the member that joined last in low.
create or replace function sluice.bus_heartbeat(p_group text, p_member int8, p_ttl_ms int8, p_grace_ms int8)
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
    v_made int4[];
    v_topics text[];
    v_readers int8[];
begin
    perform pg_advisory_xact_lock(sluice.bus_lock_group(), hashtext(p_group));
    if not exists (select from sluice.bus_member m where m.id = p_member) then
        return query select 3, 0, 0, 0::int8, 0::int8;
        return;
    end if;
    v_new := sluice.bus_session(p_member);
    insert into sluice.bus_member_heartbeat as h (member, process)
        select m.id, m.name from sluice.bus_member m where m.id = p_member
        on conflict (member) do update set at = clock_timestamp()
        returning h.process into v_process;
    if v_new then
        -- The member's positions in memory may be wrong: a server that crashed uses transaction numbers again that were
        -- seen before, and one that was promoted may lack rows. New epochs make it begin at the committed positions.
        update sluice.bus_lease l set epoch = l.epoch + 1 where l.consumer_group = p_group and l.member = p_member;
    end if;

    -- Expired are members without a heartbeat for p_ttl_ms, or for p_grace_ms and without their session. Deleting the
    -- row fences them; a member whose transactions still hold it is left for the next heartbeat. Without a row in
    -- bus_member_heartbeat only the session tells: its own next heartbeat adds the row.
    for v_expired in
        select m.id from sluice.bus_member m left join sluice.bus_member_heartbeat h on h.member = m.id
        where m.consumer_group = p_group and m.id <> p_member
          and case when h.at < clock_timestamp() - p_ttl_ms * interval '1 ms' then true
                   when coalesce(h.at, m.joined_at) < clock_timestamp() - p_grace_ms * interval '1 ms'
                        then pg_try_advisory_xact_lock(sluice.bus_lock_member(), m.id::int4)
                   else false end
    loop
        perform from sluice.bus_member m where m.id = v_expired for update skip locked;
        if found then
            perform sluice.bus_leave(p_group, v_expired);
        end if;
    end loop;

    -- Readers are the members that have all topics; where nobody has, and while there are members that do not say what
    -- they have (of an engine before this migration), all members.
    select array_agg(distinct t.topic) into v_topics
        from sluice.bus_member m cross join unnest(m.topics) t(topic) where m.consumer_group = p_group;
    select array_agg(m.id) into v_readers from sluice.bus_member m
        where m.consumer_group = p_group and (m.topics is null or m.topics @> v_topics);
    if not exists (select from sluice.bus_member m where m.id = any (v_readers) and m.topics is not null) then
        select array_agg(m.id) into v_readers from sluice.bus_member m where m.consumer_group = p_group;
    end if;
    select count(*), count(*) filter (where r.id < p_member) into v_members, v_rank from unnest(v_readers) r(id);
    select coalesce((select s.partitions from sluice.bus_setting s), count(*)) into v_partitions
        from sluice.bus_lease l where l.consumer_group = p_group;
    v_quota := case when p_member = any (v_readers)
                    then v_partitions / v_members + (v_rank < v_partitions % v_members)::int4 else 0 end;
    select count(*) into v_held from sluice.bus_lease l where l.consumer_group = p_group and l.member = p_member;

    -- Free are also leases of a member whose row an operator deleted: bus_leave() would have freed them.
    if v_held < v_quota then
        if (select count(*) from sluice.bus_lease l where l.consumer_group = p_group) < v_partitions then
            with made as (insert into sluice.bus_lease as l (consumer_group, partition)
                              select p_group, p from generate_series(0, v_partitions - 1) p
                              on conflict do nothing returning l.partition)
                select array_agg(m.partition order by m.partition) into v_made from made m;
        end if;
        update sluice.bus_lease l set member = p_member, epoch = l.epoch + 1
        where l.consumer_group = p_group and l.partition in
            (select f.partition from sluice.bus_lease f where f.consumer_group = p_group
               and (f.member is null or not exists (select from sluice.bus_member m where m.id = f.member))
             order by f.partition limit v_quota - v_held);
    end if;

    return query
        select 0, (select count(*) from sluice.bus_member m where m.consumer_group = p_group)::int4, v_quota,
               (exists (select from sluice.bus_member_heartbeat h where h.process <> v_process))::int4::int8,
               (select max(m.id) from sluice.bus_member m where m.consumer_group = p_group)
        union all
        (select case when row_number() over (order by l.partition) <= v_quota then 1 else 2 end,
                l.partition, l.epoch, l.high, l.low
         from sluice.bus_lease l where l.consumer_group = p_group and l.member = p_member order by l.partition)
        union all
        select 4, m, 0, 0::int8, 0::int8 from unnest(v_made) m;
end $$;
comment on function sluice.bus_heartbeat(text, int8, int8, int8) is
    'Heartbeat of a member: removes members that expired, assigns partitions to those that have all topics';
