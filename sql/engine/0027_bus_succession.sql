-- A worker that goes on in place of another one of its engine, after a reload or a crash, takes its leases and its
-- rank: the other members have the shares that they had, and the same partitions. And members look again soon when the
-- session of one of them has ended, or when one that has expired could not be removed yet.

alter table sluice.bus_member add column rank bigint;
comment on column sluice.bus_member.rank is
    'Shares go by the order of ranks: the id of the first of the workers in whose place it reads; null: its own id';
comment on column sluice.bus_member.name is
    'Of the engine: its next worker joins in place of the member with this name whose session has ended';
comment on column sluice.bus_member_heartbeat.at is
    'When it was; in the future: the process hands over, and until then another worker may join in its place';

-- As before, but that a member of the same name and topics, whose session has ended, leaves its leases and its rank to
-- the new one. Its row is deleted, so it is fenced; while a transaction holds the row, it is left to the heartbeats.
create or replace function sluice.bus_join(p_group text, p_name text, p_process text, p_topics text[]) returns int8
language plpgsql as $$
declare
    v_member int8;
    v_before sluice.bus_member;
begin
    perform pg_advisory_xact_lock(sluice.bus_lock_group(), hashtext(p_group));
    insert into sluice.bus_member (consumer_group, name, topics) values (p_group, p_name, p_topics)
        returning id into v_member;
    for v_before in
        select m.* from sluice.bus_member m
        where m.consumer_group = p_group and m.name = p_name and m.id <> v_member
          and pg_try_advisory_xact_lock(sluice.bus_lock_member(), m.id::int4)
    loop
        perform from sluice.bus_member m where m.id = v_before.id for update skip locked;
        if not found then
            update sluice.bus_member_heartbeat h set at = least(h.at, clock_timestamp()) where h.member = v_before.id;
            continue;
        end if;
        if v_before.topics @> p_topics and v_before.topics <@ p_topics then
            update sluice.bus_member m set rank = least(m.rank, v_before.rank, v_before.id) where m.id = v_member;
            update sluice.bus_lease l set member = v_member, epoch = l.epoch + 1
                where l.consumer_group = p_group and l.member = v_before.id;
        end if;
        perform sluice.bus_leave(p_group, v_before.id);
    end loop;
    insert into sluice.bus_member_heartbeat (member, process) values (v_member, p_process);
    perform sluice.bus_session(v_member);
    insert into sluice.bus_lease (consumer_group, partition)
        select p_group, p from sluice.bus_setting s, generate_series(0, s.partitions - 1) p
        on conflict do nothing;
    perform pg_notify('sluice_bus', '');
    return v_member;
end $$;
comment on function sluice.bus_join(text, text, text, text[]) is
    'A new member of a group, in place of those of its name whose session has ended; what they did not have is '
    'assigned with the heartbeats that follow';

-- As before, but for the order of members, and that row 0 has 2 in high when a member may soon be removed.
create or replace function sluice.bus_heartbeat(p_group text, p_member int8, p_ttl_ms int8, p_grace_ms int8)
returns table (kind int4, item int4, epoch int4, high int8, low int8)
language plpgsql as $$
declare
    v_other record;
    v_soon bool := false;
    v_members int4;
    v_before int4;
    v_rank int8;
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
    select coalesce(m.rank, m.id) into v_rank from sluice.bus_member m where m.id = p_member;
    if not found then
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
    -- bus_member_heartbeat only the session tells: its own next heartbeat adds the row. Whose heartbeat is in the
    -- future has said that another worker will go on in its place.
    for v_other in
        select m.id, h.at < clock_timestamp() - p_ttl_ms * interval '1 ms' as silent,
               clock_timestamp() - coalesce(h.at, m.joined_at) as since,
               pg_try_advisory_xact_lock(sluice.bus_lock_member(), m.id::int4) as ended
        from sluice.bus_member m left join sluice.bus_member_heartbeat h on h.member = m.id
        where m.consumer_group = p_group and m.id <> p_member
    loop
        if v_other.silent or v_other.ended and v_other.since > p_grace_ms * interval '1 ms' then
            perform from sluice.bus_member m where m.id = v_other.id for update skip locked;
            if found then
                perform sluice.bus_leave(p_group, v_other.id);
                continue;
            end if;
        end if;
        v_soon := v_soon or v_other.ended and v_other.since > interval '0';
    end loop;

    -- Readers are the members that have all topics; where nobody has, and while there are members that do not say what
    -- they have (of an engine before migration 0016), all members.
    select array_agg(distinct t.topic) into v_topics
        from sluice.bus_member m cross join unnest(m.topics) t(topic) where m.consumer_group = p_group;
    select array_agg(m.id) into v_readers from sluice.bus_member m
        where m.consumer_group = p_group and (m.topics is null or m.topics @> v_topics);
    if not exists (select from sluice.bus_member m where m.id = any (v_readers) and m.topics is not null) then
        select array_agg(m.id) into v_readers from sluice.bus_member m where m.consumer_group = p_group;
    end if;
    select count(*), count(*) filter (where (coalesce(m.rank, m.id), m.id) < (v_rank, p_member))
        into v_members, v_before from sluice.bus_member m where m.id = any (v_readers);
    select coalesce((select s.partitions from sluice.bus_setting s), count(*)) into v_partitions
        from sluice.bus_lease l where l.consumer_group = p_group;
    v_quota := case when p_member = any (v_readers)
                    then v_partitions / v_members + (v_before < v_partitions % v_members)::int4 else 0 end;
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
               case when v_soon then 2
                    else (exists (select from sluice.bus_member_heartbeat h where h.process <> v_process))::int4
               end::int8,
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
