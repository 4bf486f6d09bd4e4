-- Early events go on by a new file: each is known by the rule that it waits by.

alter table sluice.held add column rule text;
comment on column sluice.held.rule is
    'Of one that waits for another: the `after` of its topic, in words; it is judged again when the file says another. '
    'Null: an earlier version of the engine wrote it';
