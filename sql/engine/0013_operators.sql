-- What operators ask of chains and of events that wait: a running engine does it, in the transaction of the chain or of
-- the event.

alter table sluice.chain add column asked text, drop constraint chain_state_check,
    add constraint chain_state_check check (state between 0 and 4);
comment on column sluice.chain.state is
    '0 running, 1 aborted and being undone, 2 undone, 3 stuck: an undo failed for good, 4 closed: over without undoing';
comment on column sluice.chain.asked is
    'Why an operator wants it aborted: done by a running engine as soon as it is due; null: nobody does';

alter table sluice.parked add column cancelled text;
comment on column sluice.parked.cancelled is
    'Who cancelled it, and why: when it is due it becomes a dead letter, unless it is handled before; null: nobody did';
create index parked_stuck on sluice.parked (consumer_group) where state = 1;
comment on index sluice.parked_stuck is 'Undos that wait for an operator';

alter table sluice.held add column cancelled text;
comment on column sluice.held.cancelled is
    'As in sluice.parked: when it is its turn it becomes a dead letter; the only column that may change';
