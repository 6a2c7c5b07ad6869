-- What changed in the public tables, row by row, for those who subscribe to it. Written in the transaction of the rows.
CREATE TABLE lamphouse_changes (
    sequence    INTEGER PRIMARY KEY,
    projection  TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    table_name  TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('put', 'remove', 'must-refetch')),
    reason      TEXT,                               -- of must-refetch: cutover, too-many
    key         TEXT,                               -- JSON objects, as they are handed out
    row         TEXT,                               -- NULL where it was removed
    position    INTEGER NOT NULL,                   -- the checkpoint of the flush that it is of
    recorded_at INTEGER NOT NULL                    -- microseconds since 1970
);

-- One sequence over all tables. It begins at the time, a million a second: a file that is made anew goes on above what
-- the one before it had given.
CREATE TABLE lamphouse_change_counter (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    head     INTEGER NOT NULL,
    rows_max INTEGER NOT NULL DEFAULT 0,            -- changes that are kept; 0: none are written
    era      TEXT NOT NULL DEFAULT ''               -- the run of the machine: its crash may take back what was seen
);
INSERT INTO lamphouse_change_counter (one, head) VALUES (1, CAST(strftime('%s', 'now') AS INTEGER) * 1000000);
