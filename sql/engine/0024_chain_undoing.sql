-- A chain whose undos are sent is over for the engine; for people it is when they were handled. Those that wait for
-- it are counted and listed.

create index chain_undoing on sluice.chain (chain, began) where state = 2 and undoing <> undone;
comment on index sluice.chain_undoing is 'Those of which an undo is sent and not known to be handled';
