-- The engine's own tables: what was handled, what waits, what must still be published.
--
-- Written for the hot path: one narrow inbox row an event and handler, one outbox row a batch, and nothing else. No
-- foreign keys and no triggers: each would run once a row. Numbers stand for names (sluice.name). Small tables whose
-- rows come and go are vacuumed after a number of changes, not after a share of their size.

CREATE SCHEMA IF NOT EXISTS sluice;
COMMENT ON SCHEMA sluice IS 'The event engine Sluice: its own rows, changed by nobody else';

-- ---------------------------------------------------------------------------------------------------------- names

CREATE TABLE sluice.name (
    number smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind   "char" NOT NULL CHECK (kind IN ('h', 'c', 'g', 's')),
    name   text   NOT NULL CHECK (name <> ''),
    UNIQUE (kind, name)
);
COMMENT ON TABLE sluice.name IS 'Numbers of names, so that rows are narrow; never deleted: rows of years ago refer to them';
COMMENT ON COLUMN sluice.name.number IS 'What the other tables store';
COMMENT ON COLUMN sluice.name.kind IS 'h handler, c chain, g consumer group, s schedule';
COMMENT ON COLUMN sluice.name.name IS 'As in the pipeline';

-- ---------------------------------------------------------------------------------------------------------- inbox

-- 32 bytes of data without padding. Appended in the order of time and pruned from its oldest end, so it is never
-- rewritten: full pages, and vacuum has work only where ledger_prune was.
CREATE TABLE sluice.inbox (
    handler  smallint NOT NULL,
    outcome  smallint NOT NULL,
    at       integer  NOT NULL,
    event_id uuid     NOT NULL,
    hash     bigint   NOT NULL,
    CONSTRAINT inbox_pkey PRIMARY KEY (handler, event_id)
) WITH (fillfactor = 100,
        autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1,
        autovacuum_analyze_scale_factor = 0.2);
COMMENT ON TABLE sluice.inbox IS 'One row for each event that a handler has handled, written by the claim: the reason why nothing is done twice';
COMMENT ON COLUMN sluice.inbox.handler IS 'sluice.name, kind h';
COMMENT ON COLUMN sluice.inbox.outcome IS 'Index of the outcome in the handler''s list; -1 dead letter, -2 a request without an outcome, -3 parked';
COMMENT ON COLUMN sluice.inbox.at IS 'When it was claimed: seconds since 2020-01-01 UTC on the clock of this server';
COMMENT ON COLUMN sluice.inbox.event_id IS 'The event''s id if that is a UUID, else its 128-bit hash';
COMMENT ON COLUMN sluice.inbox.hash IS '64-bit hash of the payload: the same id with another payload is a conflict, not a duplicate';

CREATE TABLE sluice.prune (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    block    bigint  NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
COMMENT ON TABLE sluice.prune IS 'Where the walk through the inbox stands that deletes what is too old; it needs no index on the time';
COMMENT ON COLUMN sluice.prune.only_row IS 'There is one row';
COMMENT ON COLUMN sluice.prune.block IS 'The next block of sluice.inbox to look at';
INSERT INTO sluice.prune (block) VALUES (0);

-- --------------------------------------------------------------------------------------------------------- attempts

CREATE TABLE sluice.attempt (
    handler  smallint    NOT NULL,
    attempts integer     NOT NULL CHECK (attempts > 0),
    event_id uuid        NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    reason   text,
    CONSTRAINT attempt_pkey PRIMARY KEY (handler, event_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE sluice.attempt IS 'Events being retried, so that a restart does not begin to count anew; gone once they are handled';
COMMENT ON COLUMN sluice.attempt.handler IS 'sluice.name, kind h';
COMMENT ON COLUMN sluice.attempt.attempts IS 'Failed tries so far, over all processes; outages are not counted';
COMMENT ON COLUMN sluice.attempt.event_id IS 'As in sluice.inbox';
COMMENT ON COLUMN sluice.attempt.at IS 'When the last try failed';
COMMENT ON COLUMN sluice.attempt.reason IS 'Why the last try failed';

-- ----------------------------------------------------------------------------------------------------------- outbox

-- A process takes 64 ids at a time and numbers its rows itself: adding a row needs no answer from the server.
CREATE SEQUENCE sluice.outbox_id AS bigint INCREMENT BY 64;
COMMENT ON SEQUENCE sluice.outbox_id IS 'Blocks of 64 ids for sluice.outbox, each of one process';

CREATE TABLE sluice.outbox (
    id         bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    batch      bytea       NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000);
-- A row lives for milliseconds: compressing it would cost more than it saves.
ALTER TABLE sluice.outbox ALTER COLUMN batch SET STORAGE EXTERNAL;
COMMENT ON TABLE sluice.outbox IS 'One row a batch with everything it emits, until every record of it is acknowledged: its absence means published';
COMMENT ON COLUMN sluice.outbox.id IS 'Of a block of sluice.outbox_id';
COMMENT ON COLUMN sluice.outbox.created_at IS 'Start of the transaction; the sweeper publishes what has become too old';
COMMENT ON COLUMN sluice.outbox.batch IS 'A record batch: topics, keys, headers and values as they are published';

-- ----------------------------------------------------------------------------------------------------------- parked

CREATE TABLE sluice.parked (
    consumer_group smallint    NOT NULL,
    state          smallint    NOT NULL DEFAULT 0 CHECK (state IN (0, 1)),
    event_id       uuid        NOT NULL,
    due            timestamptz NOT NULL,
    parked_at      timestamptz NOT NULL DEFAULT now(),
    record         bytea       NOT NULL,
    reason         text,
    CONSTRAINT parked_pkey PRIMARY KEY (consumer_group, event_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
CREATE INDEX parked_due ON sluice.parked (consumer_group, due) WHERE state = 0;
COMMENT ON TABLE sluice.parked IS 'Events that wait for their time, or for an operator';
COMMENT ON COLUMN sluice.parked.consumer_group IS 'sluice.name, kind g: who will handle it';
COMMENT ON COLUMN sluice.parked.state IS '0 waits until it is due, 1 an undo that failed for good: an operator decides';
COMMENT ON COLUMN sluice.parked.event_id IS 'As in sluice.inbox';
COMMENT ON COLUMN sluice.parked.due IS 'When it is handed to the group; moved ahead while it is being handled';
COMMENT ON COLUMN sluice.parked.parked_at IS 'When it was parked first';
COMMENT ON COLUMN sluice.parked.record IS 'A record batch of one';
COMMENT ON COLUMN sluice.parked.reason IS 'Why it waits';
COMMENT ON INDEX sluice.parked_due IS 'What is due next, for each group';

-- ----------------------------------------------------------------------------------------------------------- chains

-- Rewritten once a step: room for the next versions on the same page, and the data beside them, uncompressed, up to a
-- page.
CREATE TABLE sluice.chain (
    chain            smallint   NOT NULL,
    state            smallint   NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
    done             integer    NOT NULL DEFAULT 0,
    undoing          integer    NOT NULL DEFAULT 0,
    undone           integer    NOT NULL DEFAULT 0,
    at               integer    NOT NULL,
    correlation      uuid       NOT NULL,
    correlation_text text       NOT NULL,
    reason           text,
    data_steps       smallint[] NOT NULL DEFAULT '{}',
    data             bytea[]    NOT NULL DEFAULT '{}',
    CONSTRAINT chain_pkey PRIMARY KEY (chain, correlation)
) WITH (fillfactor = 60, toast_tuple_target = 8000, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_vacuum_threshold = 1000);
ALTER TABLE sluice.chain ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX chain_stuck ON sluice.chain (chain) WHERE state = 3;
COMMENT ON TABLE sluice.chain IS 'One row a correlation: which steps of a chain were done and undone, in the transactions that did them';
COMMENT ON COLUMN sluice.chain.chain IS 'sluice.name, kind c';
COMMENT ON COLUMN sluice.chain.state IS '0 running, 1 aborted and being undone, 2 undone, 3 stuck: an undo failed for good';
COMMENT ON COLUMN sluice.chain.done IS 'Bit i: step i was done';
COMMENT ON COLUMN sluice.chain.undoing IS 'Bit i: the undo of step i was emitted';
COMMENT ON COLUMN sluice.chain.undone IS 'Bit i: the undo of step i is known to have happened';
COMMENT ON COLUMN sluice.chain.at IS 'Last change: seconds since 2020-01-01 UTC on the clock of this server';
COMMENT ON COLUMN sluice.chain.correlation IS 'The correlation if that is a UUID, else its 128-bit hash';
COMMENT ON COLUMN sluice.chain.correlation_text IS 'The correlation as the events have it';
COMMENT ON COLUMN sluice.chain.reason IS 'Why it was aborted';
COMMENT ON COLUMN sluice.chain.data_steps IS 'The steps whose data is kept, in the order of data';
COMMENT ON COLUMN sluice.chain.data IS 'Data of the events that did those steps: what their undo is made of';
COMMENT ON INDEX sluice.chain_stuck IS 'The stuck ones, for the health page';

-- --------------------------------------------------------------------------------------------------------- schedules

CREATE TABLE sluice.schedule (
    schedule smallint PRIMARY KEY,
    slot     bigint   NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE sluice.schedule IS 'The last tick of each schedule: whoever writes it, in the transaction that does the work, has it';
COMMENT ON COLUMN sluice.schedule.schedule IS 'sluice.name, kind s';
COMMENT ON COLUMN sluice.schedule.slot IS 'Milliseconds since 1970 UTC of the last tick, a multiple of the period';
COMMENT ON COLUMN sluice.schedule.at IS 'When it was done';

-- ------------------------------------------------------------------------------------------------------------ members

CREATE TABLE sluice.bus_member (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group text        NOT NULL,
    name           text        NOT NULL,
    joined_at      timestamptz NOT NULL DEFAULT now(),
    heartbeat_at   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
COMMENT ON TABLE sluice.bus_member IS 'Processes that read from the postgres bus. Deleting a row fences its process: every batch of it looks for the row and locks it';
COMMENT ON COLUMN sluice.bus_member.id IS 'Never given twice';
COMMENT ON COLUMN sluice.bus_member.consumer_group IS 'Name of the consumer group';
COMMENT ON COLUMN sluice.bus_member.name IS 'Of the process, for people';
COMMENT ON COLUMN sluice.bus_member.joined_at IS 'When it joined';
COMMENT ON COLUMN sluice.bus_member.heartbeat_at IS 'Its last sign of life; its peers delete it when that is too old';
