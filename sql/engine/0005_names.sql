-- Names that leave the file while events wait for them.
--
-- What a pipeline had when it was last started is written down, so that the next start knows what is not there any
-- more, and looks for what waits only then: engine/run/names.h. Events of a topic that the file does not have are kept
-- in sluice.parked, out of the index of what is due.

alter table sluice.parked drop constraint parked_state_check,
    add constraint parked_state_check check (state in (0, 1, 2));
comment on column sluice.parked.state is
    '0 waits until it is due, 1 an undo that failed for good: an operator decides, 2 of a topic that the file does not '
    'have: waits again once a file that has it, or says what becomes of it, is started';

create index parked_unknown on sluice.parked (consumer_group) where state = 2;
comment on index sluice.parked_unknown is 'Whether there are events of topics that no file had';

create table sluice.pipeline_name (
    pipeline       text   not null,
    kind           "char" not null check (kind in ('c', 'g', 'h', 't')),
    consumer_group text   not null,
    name           text   not null,
    handler        text   not null,
    constraint pipeline_name_pkey primary key (pipeline, kind, consumer_group, name)
);
comment on table sluice.pipeline_name is
    'What a pipeline had when it was last started. What its file does not have any more stays here until nothing waits '
    'for it';
comment on column sluice.pipeline_name.pipeline is 'Its own consumer group';
comment on column sluice.pipeline_name.kind is 'c chain, g consumer group, h handler, t topic that a group reads';
comment on column sluice.pipeline_name.consumer_group is 'Of a topic: the group that reads it; else empty';
comment on column sluice.pipeline_name.name is 'As in the pipeline; of a group its whole name';
comment on column sluice.pipeline_name.handler is
    'Of a topic, and of a tap''s group: under which name in sluice.name what it did is recorded; else empty';

-- The topic of a parked record: see engine/event/record_batch.h.
create function sluice.record_topic(p_record bytea) returns text language sql immutable parallel safe as $$
    select convert_from(substring(p_record from 14 for get_byte(p_record, 12)), 'UTF8')
$$;
comment on function sluice.record_topic is 'The topic of the first record of a batch';

-- The group has another name now: its positions on either bus become those of the new name, unless that has positions.
-- False, and nothing is done, while a member reads under the old name: it would begin at the oldest event again.
create function sluice.bus_rename_group(p_old text, p_new text) returns bool language plpgsql as $$
begin
    perform pg_advisory_xact_lock(sluice.bus_lock_group(), hashtext(least(p_old, p_new)));
    perform pg_advisory_xact_lock(sluice.bus_lock_group(), hashtext(greatest(p_old, p_new)));
    if exists (select from sluice.bus_member m where m.consumer_group = p_old
               and not pg_try_advisory_xact_lock(sluice.bus_lock_member(), m.id::int4)) then
        return false;
    end if;
    perform sluice.bus_leave(p_old, m.id) from sluice.bus_member m where m.consumer_group = p_old;
    update sluice.bus_lease l set consumer_group = p_new
        where l.consumer_group = p_old and not exists (
            select from sluice.bus_lease n where n.consumer_group = p_new);
    update sluice.bus_position p set consumer_group = p_new
        where p.consumer_group = p_old and not exists (
            select from sluice.bus_position n where n.consumer_group = p_new);
    return true;
end $$;
comment on function sluice.bus_rename_group is 'Carries a group''s positions over to its new name';
