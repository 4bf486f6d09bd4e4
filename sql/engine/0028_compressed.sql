-- Events in the log and in the outbox are compressed by the server with LZ4: records of one batch resemble each other,
-- and WAL, pages and replicas get a third of the bytes. A server that was built without LZ4 keeps them as they are:
-- pglz costs more time than the bytes are worth. Rows that are there already stay as they are.

do $$
declare
    v_table regclass;
begin
    if not exists (select from pg_settings s
                   where s.name = 'default_toast_compression' and 'lz4' = any (s.enumvals)) then
        return;
    end if;
    -- "main": compressed in its page when the row is over 2 kB, and moved out of it only when it does not fit.
    -- Partitions take that from their table, but not the kind of compression.
    alter table sluice.bus_log alter column payload set storage main, alter column payload set compression lz4;
    for v_table in select i.inhrelid::regclass from pg_inherits i where i.inhparent = 'sluice.bus_log'::regclass loop
        execute format('alter table %s reset (toast_tuple_target), alter column payload set compression lz4', v_table);
    end loop;
    alter table sluice.outbox alter column batch set storage extended, alter column batch set compression lz4;
end $$;
comment on column sluice.bus_log.payload is
    'Record batch, inline up to a page; compressed when the row is over 2 kB and the server has LZ4';
comment on column sluice.outbox.batch is
    'A record batch: topics, keys, headers and values as they are published; compressed when over 2 kB and the server '
    'has LZ4';

create or replace function sluice.bus_make_segment(p_start int8, p_stop int8) returns void
language plpgsql as $$
declare
    v_name text := 'bus_log_' || p_start;
    v_storage "char" := (select a.attstorage from pg_attribute a
                         where a.attrelid = 'sluice.bus_log'::regclass and a.attname = 'payload');
begin
    execute format('create table sluice.%I
                    (like sluice.bus_log including defaults including storage including compression)
                    with (autovacuum_enabled = off)', v_name);
    if v_storage = 'e' then -- not compressed: inline up to a page all the same
        execute format('alter table sluice.%I set (toast_tuple_target = 8160)', v_name);
    end if;
    execute format('alter table sluice.bus_log attach partition sluice.%I for values from (%L) to (%L)',
                   v_name, p_start, p_stop);
    insert into sluice.bus_segment (start, stop) values (p_start, p_stop);
end $$;
