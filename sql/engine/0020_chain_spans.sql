-- Where a trace is recorded: who did a chain's step, so that its undo stands beside it and in its trace.

create table sluice.chain_span (
    chain       smallint    not null,
    correlation uuid        not null,
    step        smallint    not null,
    at          timestamptz not null default now(),
    traceparent text        not null,
    constraint chain_span_pkey primary key (chain, correlation, step)
);
create index chain_span_at on sluice.chain_span (at);
comment on table sluice.chain_span is
    'Of chains in traces that are recorded (`tracing:`): the span that did a step; forgotten 30 days later';
comment on column sluice.chain_span.chain is 'sluice.name, kind c';
comment on column sluice.chain_span.correlation is '128-bit hash of the correlation, or the UUID that it is';
comment on column sluice.chain_span.step is 'Number of the step; of one that was done several times, the last time';
comment on column sluice.chain_span.at is 'When it was done';
comment on column sluice.chain_span.traceparent is 'W3C Trace Context: its trace and span';
