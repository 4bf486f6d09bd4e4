-- Names are those of a file, not of a group: several files may share one, as services of one pipeline do, and each of
-- them has names that the others do not have.

alter table sluice.pipeline_name add column file text not null default '';
update sluice.pipeline_name set file = pipeline;
alter table sluice.pipeline_name drop constraint pipeline_name_pkey,
    add constraint pipeline_name_pkey primary key (pipeline, file, kind, consumer_group, name);
comment on column sluice.pipeline_name.file is 'What the file calls itself: its `pipeline:`';
