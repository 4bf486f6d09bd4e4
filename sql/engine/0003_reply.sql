-- Answers to requests that came with an Idempotency-Key: the same request under the same key gets the same answer.

CREATE TABLE sluice.reply (
    handler  smallint NOT NULL,
    status   smallint NOT NULL CHECK (status BETWEEN 200 AND 599),
    at       integer  NOT NULL,
    event_id uuid     NOT NULL,
    body     bytea    NOT NULL,
    CONSTRAINT reply_pkey PRIMARY KEY (handler, event_id)
);
CREATE INDEX reply_at ON sluice.reply (at);
COMMENT ON TABLE sluice.reply IS 'One row a request with an Idempotency-Key, written in the transaction that did what was asked';
COMMENT ON COLUMN sluice.reply.handler IS 'sluice.name, kind h: the request';
COMMENT ON COLUMN sluice.reply.status IS 'HTTP status of the answer';
COMMENT ON COLUMN sluice.reply.at IS 'When it was answered: seconds since 2020-01-01 UTC on the clock of this server';
COMMENT ON COLUMN sluice.reply.event_id IS 'Made of the request and its key';
COMMENT ON COLUMN sluice.reply.body IS 'The answer, JSON';
COMMENT ON INDEX sluice.reply_at IS 'For pruning';
