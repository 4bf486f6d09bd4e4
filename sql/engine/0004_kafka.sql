-- What a bus outside the database needs in it: whose outputs are still to be published, and how far each group has come.

-- ----------------------------------------------------------------------------------------------------------- outbox

ALTER TABLE sluice.outbox
    ADD COLUMN owner bigint NOT NULL DEFAULT 0,
    ADD COLUMN tried_at timestamptz,
    ADD COLUMN refused text;
COMMENT ON COLUMN sluice.outbox.owner IS 'The process whose lane publishes it, a number of its own at each start; 0: nobody''s, the sweeper of any process does';
COMMENT ON COLUMN sluice.outbox.tried_at IS 'When the brokers last refused it';
COMMENT ON COLUMN sluice.outbox.refused IS 'Why the brokers refuse what is left of the batch (too large, no such topic): somebody must mend that; tried again every half minute';

-- --------------------------------------------------------------------------------------------------------- positions

-- Written before the offset in Kafka is committed.

CREATE TABLE sluice.bus_position (
    consumer_group text        NOT NULL,
    topic          text        NOT NULL,
    partition      integer     NOT NULL CHECK (partition >= 0),
    next           bigint      NOT NULL CHECK (next >= 0),
    skipped_to     bigint      NOT NULL DEFAULT 0,
    at             timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT bus_position_pkey PRIMARY KEY (consumer_group, topic, partition)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE sluice.bus_position IS 'On the Kafka bus: what is done, in the database of the effects, so that an offset that was lost or moved in Kafka, or a database that was restored, is noticed';
COMMENT ON COLUMN sluice.bus_position.consumer_group IS 'Name of the consumer group';
COMMENT ON COLUMN sluice.bus_position.topic IS 'Topic';
COMMENT ON COLUMN sluice.bus_position.partition IS 'Partition';
COMMENT ON COLUMN sluice.bus_position.next IS 'Every record below this offset is done; never goes back';
COMMENT ON COLUMN sluice.bus_position.skipped_to IS 'An operator gave up the records below this offset (sluice.bus_skip)';
COMMENT ON COLUMN sluice.bus_position.at IS 'When it last moved';

CREATE FUNCTION sluice.bus_skip(the_group text, the_topic text, the_partition integer, the_offset bigint) RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO sluice.bus_position AS p (consumer_group, topic, partition, next, skipped_to)
    VALUES (the_group, the_topic, the_partition, the_offset, the_offset)
    ON CONFLICT ON CONSTRAINT bus_position_pkey
    DO UPDATE SET next = greatest(p.next, excluded.next), skipped_to = greatest(p.skipped_to, excluded.skipped_to), at = now()
    RETURNING next
$$;
COMMENT ON FUNCTION sluice.bus_skip(text, text, integer, bigint) IS 'Gives up the records of a partition below an offset, when the brokers have deleted them: a running engine that stopped there goes on by itself';
