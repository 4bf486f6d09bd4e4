-- A worker process that ended is replaced at once by another one of the same engine: the new one bears its name and
-- knows that the old one is over, so that its partitions need not wait until the session of the old one has been over
-- for a while.
create or replace function sluice.bus_join(p_group text, p_name text, p_process text) returns int8
language plpgsql as $$
declare
    v_member int8;
begin
    perform pg_advisory_xact_lock(sluice.bus_lock_group(), hashtext(p_group));
    for v_member in
        select m.id from sluice.bus_member m
        where m.consumer_group = p_group and m.name = p_name
          and pg_try_advisory_xact_lock(sluice.bus_lock_member(), m.id::int4)
    loop
        perform from sluice.bus_member m where m.id = v_member for update skip locked;
        if found then
            perform sluice.bus_leave(p_group, v_member);
        end if;
    end loop;
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
    'A new member of a group, in place of those of its name whose session has ended; its partitions are assigned with '
    'the heartbeats that follow';
