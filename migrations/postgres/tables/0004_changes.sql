-- What changed in the public tables, row by row, for those who subscribe to it. Written in the transaction of the rows.
CREATE TABLE lamphouse_control.changes (
    sequence    bigint PRIMARY KEY,
    projection  text NOT NULL,
    generation  bigint NOT NULL,
    table_name  text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('put', 'remove', 'must-refetch')),
    -- Of must-refetch: cutover, too-many.
    reason      text,
    -- JSON objects as text, as they are handed out. The row is null where it was removed.
    key         text,
    row         text,
    -- The checkpoint of the flush that it is of.
    position    bigint NOT NULL,
    recorded_at bigint NOT NULL
);

-- Which mark tells that the server may have lost commits that were seen: none is synced before it is told. A crash resets
-- the statistics, an orderly restart does not. Before PostgreSQL 15, asking for them is slow: there every restart counts.
DO $do$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        CREATE FUNCTION lamphouse_control.server_era() RETURNS timestamptz LANGUAGE sql STABLE
            AS 'SELECT pg_stat_get_bgwriter_stat_reset_time()';
    ELSE
        CREATE FUNCTION lamphouse_control.server_era() RETURNS timestamptz LANGUAGE sql STABLE
            AS 'SELECT pg_postmaster_start_time()';
    END IF;
END
$do$;

-- One sequence over all tables, from one row, so that changes become visible in its order. It begins at the time, a
-- million a second: a database that is made anew goes on above what the one before it had given.
CREATE TABLE lamphouse_control.change_counter (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    head     bigint NOT NULL,
    -- Changes that are kept; 0: none are written.
    rows_max bigint NOT NULL DEFAULT 0,
    -- The public generations. In this row, because whoever writes changes waits for it and then sees who is public now.
    public   bigint[] NOT NULL,
    era      timestamptz
) WITH (fillfactor = 20);
INSERT INTO lamphouse_control.change_counter (head, public, era)
SELECT floor(extract(epoch FROM now()))::bigint * 1000000,
       coalesce((SELECT array_agg(generation) FROM lamphouse_control.gates), '{}'),
       lamphouse_control.server_era();
