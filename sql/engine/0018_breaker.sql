-- Breakers of dependencies: what failed of late, counted over all processes. One that is open is a row of sluice.pause.

create table sluice.dependency (
    pipeline text          not null,
    name     text          not null,
    failed   timestamptz[] not null default '{}',
    constraint dependency_pkey primary key (pipeline, name)
);
comment on table sluice.dependency is
    'What handlers need outside (`dependencies:`), and how it failed while its breaker was closed';
comment on column sluice.dependency.pipeline is 'The group of the pipeline (`engine.group`)';
comment on column sluice.dependency.name is 'As in pipeline.yaml';
comment on column sluice.dependency.failed is
    'When calls failed, the latest first: at most as many as open the breaker, within its window';

alter table sluice.pause drop constraint pause_kind_check,
    add constraint pause_kind_check
        check (kind in ('topic', 'handler', 'tap', 'schedule', 'dependency', 'breaker')),
    add constraint pause_breaker_check check (kind <> 'breaker' or until is not null);
comment on column sluice.pause.until is
    'When it ends by itself; null: it is resumed by an operator. Of a breaker: until when it is open; from then on it '
    'is half-open, until an event that was let through succeeds and deletes the row';
