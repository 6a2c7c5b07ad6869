-- Events that a projector could not take, and those behind them in their streams, in the order of the log. They live
-- with the rows: a flush that parks or replays them is one transaction with its rows and its checkpoint.
CREATE TABLE lamphouse_control.dead_letters (
    generation bigint NOT NULL,
    position   bigint NOT NULL,
    projection text NOT NULL,
    -- Which event made of the stored one failed, where upcasters make several.
    part       bigint,
    event_id   uuid NOT NULL,
    stream_id  text COLLATE "C" NOT NULL,
    event_type text NOT NULL,
    -- The position that it waits behind; null: it failed itself.
    behind     bigint,
    message    text NOT NULL,
    trace      text NOT NULL,
    -- JSON: [{"level", "message"}]
    log        text NOT NULL,
    digest     text NOT NULL,
    version    text NOT NULL,
    attempts   bigint NOT NULL,
    parked_at  bigint NOT NULL,
    tried_at   bigint NOT NULL,
    PRIMARY KEY (generation, position)
);
CREATE INDEX dead_letters_streams ON lamphouse_control.dead_letters (generation, stream_id, position);
CREATE INDEX dead_letters_events ON lamphouse_control.dead_letters (projection, event_id);

-- Events that a person has decided to leave out, by projection: every generation skips them.
CREATE TABLE lamphouse_control.discards (
    projection text NOT NULL,
    event_id   uuid NOT NULL,
    position   bigint NOT NULL,
    stream_id  text NOT NULL,
    event_type text NOT NULL,
    reason     text NOT NULL,
    by         text NOT NULL,
    at         bigint NOT NULL,
    -- Why it was parked, or why the projection had stopped.
    message    text NOT NULL,
    PRIMARY KEY (projection, event_id)
);

-- Of each generation whose dead letters were replayed or discarded. A writer with dead letters in mind writes only if
-- the revision is the one that it read.
CREATE TABLE lamphouse_control.dead_letter_books (
    generation   bigint PRIMARY KEY,
    revision     bigint NOT NULL,
    -- Events were replayed after others that came later.
    reordered_at bigint
);
