-- What an operator changes in sluice.held_key is noticed within a second, however many keys are held: those that are
-- due are found by an index.
create index held_key_due on sluice.held_key (consumer_group, due);
comment on index sluice.held_key_due is 'Which keys are due now';
comment on column sluice.held_key.due is
    'When its first event is tried again; null: at once. May be changed: noticed within a second';
