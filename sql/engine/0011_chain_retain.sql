-- Chains that are over can be forgotten (chains.X.retain), so when that was is written down.

alter table sluice.chain add column over int4;
update sluice.chain set over = at where state = 2;
create index chain_over on sluice.chain (chain, over) where over is not null;
comment on column sluice.chain.over is
    'Since when it is over, undone or, where it is followed to its end, complete: seconds since 2020-01-01 UTC on the '
    'clock of this server; null: it goes on, or nobody knows';
comment on index sluice.chain_over is 'Those that are forgotten next';

create table sluice.chain_pruned (
    chain      smallint primary key,
    generation int4     not null
);
comment on table sluice.chain_pruned is
    'Chains of which instances were forgotten: a correlation that comes again begins with the next generation, so that '
    'its undos are other events than those of before';
comment on column sluice.chain_pruned.chain is 'sluice.name, kind c';
comment on column sluice.chain_pruned.generation is 'The highest that was forgotten';
