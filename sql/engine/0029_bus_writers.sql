-- Readers of the postgres bus pass transactions of other programs: those that cannot have written to the log, and never
-- will, are not waited for.

create function sluice.bus_lock_writer() returns int4 language sql immutable as 'select 1398491701';
comment on function sluice.bus_lock_writer is
    'With 0, shared: held by every transaction of an engine on this bus, from before it has a number to its end, so '
    'that readers tell it from those of other programs';

-- A transaction that is not found among the locks has just ended, or just got its number, and is none: the next look
-- tells. Engines before this file do not take the lock; their sessions are known by their name.
create function sluice.bus_strangers(p_snapshot pg_snapshot) returns xid8[]
language plpgsql as $$
declare
    v_database oid := (select d.oid from pg_database d where d.datname = current_database());
    v_strangers xid8[];
begin
    with locks as materialized (
        select l.locktype, l.transactionid, l.pid
        from pg_lock_status() l
        where l.granted
          and (l.locktype = 'transactionid' and l.mode = 'ExclusiveLock'
            or l.locktype = 'advisory' and l.classid = sluice.bus_lock_writer()::int8::oid and l.objsubid = 2
               and l.database = v_database))
    select array_agg(r.xid) into v_strangers
    from pg_snapshot_xip(p_snapshot) r (xid)
    join locks o on o.locktype = 'transactionid' and o.transactionid = r.xid::xid
    where not exists (select from locks w where w.locktype = 'advisory' and w.pid = o.pid)
      and not exists (select from pg_stat_get_activity(coalesce(o.pid, 0)) a
                      where a.datid = v_database and a.application_name like 'sluice%');
    return coalesce(v_strangers, '{}');
end $$;
comment on function sluice.bus_strangers is
    'Transactions of other programs that a snapshot saw running: they never write to the log';

create function sluice.bus_horizon(p_snapshot pg_snapshot, p_strangers xid8[]) returns xid8
language plpgsql stable as $$
begin
    if p_strangers = '{}' then
        return pg_snapshot_xmin(p_snapshot);
    end if;
    return coalesce(
        (select min(r.xid::text::int8) from pg_snapshot_xip(p_snapshot) r (xid) where r.xid <> all (p_strangers)
        )::text::xid8, pg_snapshot_xmax(p_snapshot));
end $$;
comment on function sluice.bus_horizon is
    'Of a snapshot: below this transaction nothing can be written to the log any more. The snapshot is '
    'pg_current_snapshot() of the statement that reads the log; the strangers are known from it, or from an earlier '
    'one in this session of the server: one stays a stranger until it ends';
