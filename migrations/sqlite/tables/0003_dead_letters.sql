-- Events that a projector could not take, and those behind them in their streams, in the order of the log. They live
-- with the rows: a flush that parks or replays them is one transaction with its rows and its checkpoint.
CREATE TABLE lamphouse_dead_letters (
    generation INTEGER NOT NULL REFERENCES lamphouse_generations (id),
    position   INTEGER NOT NULL,
    projection TEXT NOT NULL,
    part       INTEGER,                             -- which event made of the stored one failed, where upcasters make several
    event_id   TEXT NOT NULL,
    stream_id  TEXT NOT NULL,
    event_type TEXT NOT NULL,
    behind     INTEGER,                             -- the position that it waits behind; NULL: it failed itself
    message    TEXT NOT NULL,
    trace      TEXT NOT NULL,
    log        TEXT NOT NULL,                       -- JSON: [{"level", "message"}]
    digest     TEXT NOT NULL,
    version    TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    parked_at  INTEGER NOT NULL,                    -- microseconds since 1970
    tried_at   INTEGER NOT NULL,
    PRIMARY KEY (generation, position)
) WITHOUT ROWID;

CREATE INDEX lamphouse_dead_letters_streams ON lamphouse_dead_letters (generation, stream_id, position);
CREATE INDEX lamphouse_dead_letters_events ON lamphouse_dead_letters (projection, event_id);

-- Events that a person has decided to leave out, by projection: every generation skips them.
CREATE TABLE lamphouse_discards (
    projection TEXT NOT NULL,
    event_id   TEXT NOT NULL,
    position   INTEGER NOT NULL,
    stream_id  TEXT NOT NULL,
    event_type TEXT NOT NULL,
    reason     TEXT NOT NULL,
    by         TEXT NOT NULL,
    at         INTEGER NOT NULL,                    -- microseconds since 1970
    message    TEXT NOT NULL,                       -- why it was parked, or why the projection had stopped
    PRIMARY KEY (projection, event_id)
) WITHOUT ROWID;

-- Of each generation whose dead letters were replayed or discarded. A writer with dead letters in mind writes only if
-- the revision is the one that it read.
CREATE TABLE lamphouse_dead_letter_books (
    generation   INTEGER PRIMARY KEY REFERENCES lamphouse_generations (id),
    revision     INTEGER NOT NULL,
    reordered_at INTEGER                            -- events were replayed after others that came later
);
