-- Who has taken a parked event: when that process is gone, the event need not wait until its hold is over.

ALTER TABLE sluice.parked ADD COLUMN taken_by bigint;
COMMENT ON COLUMN sluice.parked.taken_by IS 'The process that handles it now, a number of its own at each start; null: nobody';
