-- The same log as a team would keep it that lives in SQL: data as jsonb, in the order of the log.
DROP SCHEMA IF EXISTS bench_log CASCADE;
CREATE SCHEMA bench_log;
CREATE TABLE bench_log.log (
    position    bigint      PRIMARY KEY,
    stream_id   text        COLLATE "C" NOT NULL,
    event_type  text        COLLATE "C" NOT NULL,
    data        jsonb       NOT NULL,
    occurred_at timestamptz NOT NULL
);
INSERT INTO bench_log.log
SELECT position, stream_id, event_type, data::jsonb, occurred_at FROM lamphouse.events ORDER BY position;
VACUUM (ANALYZE, FREEZE) bench_log.log;
