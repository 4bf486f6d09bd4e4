-- Timers of chains (chains.X.timers): each that runs is a row of sluice.parked. Its id is made of chain, number of the
-- timer and correlation, so whatever ends the timer finds the row by the primary key.

alter table sluice.parked add column chain smallint;
comment on column sluice.parked.chain is
    'sluice.name, kind c: it is a timer of that chain, and the record is emitted when it is due; null: an event that '
    'was delayed, and is handled then';

alter table sluice.pipeline_name drop constraint pipeline_name_kind_check,
    add constraint pipeline_name_kind_check check (kind in ('c', 'e', 'g', 'h', 't'));
comment on column sluice.pipeline_name.kind is
    'c chain, e topic to which timers emit, g consumer group, h handler, t topic that a group reads';
comment on column sluice.pipeline_name.consumer_group is
    'Of a topic: the group that reads it, or whose timers emit to it; else empty';
