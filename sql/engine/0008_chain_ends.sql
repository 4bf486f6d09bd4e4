-- Chains end: of a chain that is followed to its end (chains.X.timeout, or abort_on: dead_letter) the steps that are
-- missing are known, and when it is aborted unless all are done by then.

alter table sluice.chain
    add column began int4 not null default (extract(epoch from now())::int8 - 1577836800)::int4,
    add column missing int4 not null default 0,
    add column due timestamptz;
update sluice.chain set began = at;
create index chain_open on sluice.chain (began) where state in (1, 3) or missing <> 0 and state = 0;
create index chain_due on sluice.chain (due) where due is not null;
comment on column sluice.chain.began is
    'When this generation began: seconds since 2020-01-01 UTC on the clock of this server';
comment on column sluice.chain.missing is
    'Of a chain that is followed to its end: bit i, step i was not done yet; 0: it is complete, or not followed';
comment on column sluice.chain.due is 'When it is aborted unless it is complete by then; null: never';
comment on index sluice.chain_open is 'Those that are not over, for the metric';
comment on index sluice.chain_due is 'Those that are aborted next';
