-- A pause belongs to a pipeline by its own group, as everything else that outlives a file does.
comment on column sluice.pause.pipeline is 'Its own group (`engine.group`), as in sluice.pipeline_name';
