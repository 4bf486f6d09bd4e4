-- A chain remembers each time that a step was done, so that each is undone, and begins again after it was over; and it
-- is undone by the definition that it began with, whatever the file says later.

create table sluice.chain_definition (
    number     int4        generated always as identity primary key,
    chain      smallint    not null,
    hash       uuid        not null,
    definition text        not null,
    made_at    timestamptz not null default now(),
    constraint chain_definition_hash unique (chain, hash)
);
comment on table sluice.chain_definition is
    'What pipeline.yaml said of each chain, once for each text; never deleted: rows of sluice.chain refer to it';
comment on column sluice.chain_definition.number is 'What sluice.chain stores';
comment on column sluice.chain_definition.chain is 'sluice.name, kind c';
comment on column sluice.chain_definition.hash is '128-bit hash of the definition';
comment on column sluice.chain_definition.definition is 'JSON: its steps with their topics, and what aborts it';
comment on column sluice.chain_definition.made_at is 'When an engine first had it';

alter table sluice.chain
    add column definition int4,
    add column generation int4 not null default 0,
    add column steps bytea not null default '';
alter table sluice.chain alter column steps set storage external;

-- Bits meant steps and mean doings now: places in data_steps.
update sluice.chain c set
    steps = d.steps, undoing = d.undoing, undone = d.undone
from (select o.chain, o.correlation,
             string_agg(set_byte('\x00'::bytea, 0, s.step::int4), ''::bytea order by s.place) as steps,
             sum((o.undoing >> s.step & 1) << (s.place - 1)::int4)::int4 as undoing,
             sum((o.undone >> s.step & 1) << (s.place - 1)::int4)::int4 as undone
      from sluice.chain o cross join unnest(o.data_steps) with ordinality as s(step, place)
      group by o.chain, o.correlation) d
where c.chain = d.chain and c.correlation = d.correlation;
alter table sluice.chain alter column undoing type int8, alter column undone type int8, drop column data_steps;

comment on column sluice.chain.done is 'Bit i: step i was done in this generation';
comment on column sluice.chain.undoing is 'Bit i: the undo of doing i was emitted';
comment on column sluice.chain.undone is 'Bit i: the undo of doing i is known to have happened';
comment on column sluice.chain.definition is
    'sluice.chain_definition with which it began, and is undone; null: before there were any, so that of the file';
comment on column sluice.chain.generation is 'How often the correlation began again after its chain was over';
comment on column sluice.chain.steps is
    'Doings of steps that have an undo, in the order they became known, one byte each: the number of the step';
comment on column sluice.chain.data is 'Data of the events that did them: what their undo is made of';
