-- The event log. Describes the same log as migrations/postgres/log; a test holds the two together.
--
-- Who appends does, in one transaction: BEGIN IMMEDIATE; read log; UPDATE log (position, recorded_at); INSERT INTO
-- events. The triggers refuse everything else, whoever writes.
-- Times are microseconds since 1970-01-01T00:00:00Z. Ids are the 16 bytes of a UUID.

-- One row: the counter that gives positions, gapless and in commit order, and the limits that the triggers enforce.
-- The host sets the limits from its configuration when it opens the log; events that are there stay as they are.
CREATE TABLE log (
    one              INTEGER PRIMARY KEY CHECK (one = 1),
    id               BLOB    NOT NULL CHECK (length(id) = 16),
    position         INTEGER NOT NULL DEFAULT 0 CHECK (position >= 0),
    recorded_at      INTEGER NOT NULL DEFAULT 0,
    reason_required  INTEGER NOT NULL DEFAULT 1 CHECK (reason_required IN (0, 1)),
    reason_chars_min INTEGER NOT NULL DEFAULT 10,
    reason_chars_max INTEGER NOT NULL DEFAULT 500,
    event_bytes_max  INTEGER NOT NULL DEFAULT 1048576,
    json_depth_max   INTEGER NOT NULL DEFAULT 128
) STRICT;

INSERT INTO log (one, id) VALUES (1, randomblob(16));

CREATE TABLE events (
    position       INTEGER PRIMARY KEY CHECK (position >= 1),
    id             BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    stream_id      TEXT    NOT NULL CHECK (stream_id <> ''),
    stream_type    TEXT    NOT NULL CHECK (stream_type <> ''),
    stream_version INTEGER NOT NULL CHECK (stream_version >= 1),
    event_type     TEXT    NOT NULL CHECK (event_type <> ''),
    schema_version INTEGER NOT NULL CHECK (schema_version >= 1),
    data           TEXT    NOT NULL CHECK (json_valid(data)),
    metadata       TEXT    NOT NULL CHECK (json_valid(metadata) AND json_type(metadata) = 'object'),
    occurred_at    INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    UNIQUE (stream_id, stream_version)
) STRICT;

-- The answer of each append under an idempotency key. `digest` is the SHA-256 of the request.
CREATE TABLE idempotency (
    scope    TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    digest   BLOB    NOT NULL CHECK (length(digest) = 32),
    position INTEGER NOT NULL,
    answer   TEXT    NOT NULL CHECK (json_valid(answer)),
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

-- How much of an imported input is in the log. `digest` is that of the input's first `bytes` uncompressed bytes.
CREATE TABLE import_cursors (
    digest TEXT    NOT NULL PRIMARY KEY,
    bytes  INTEGER NOT NULL CHECK (bytes >= 0),
    lines  INTEGER NOT NULL CHECK (lines >= 0)
) STRICT, WITHOUT ROWID;

-- Before, not after, and not left to the UNIQUE constraints: INSERT OR REPLACE deletes what is in its way without
-- firing delete triggers.
CREATE TRIGGER events_append BEFORE INSERT ON events BEGIN
    SELECT RAISE(ABORT, 'events are immutable and gapless: the next position is one after the last, as the counter row of table log gives it')
    FROM log
    WHERE NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM events) OR NEW.position > log.position;

    SELECT RAISE(ABORT, 'events are immutable: there is an event with this id')
    WHERE EXISTS (SELECT 1 FROM events WHERE id = NEW.id);

    SELECT RAISE(ABORT, 'events are immutable and stream versions gapless: the next version is one after the stream''s last')
    WHERE NEW.stream_version IS NOT
        (SELECT coalesce(max(stream_version), 0) + 1 FROM events WHERE stream_id = NEW.stream_id);

    SELECT RAISE(ABORT, 'a stream''s type is fixed by its first event')
    WHERE NEW.stream_version > 1 AND NEW.stream_type IS NOT
        (SELECT stream_type FROM events WHERE stream_id = NEW.stream_id AND stream_version = NEW.stream_version - 1);

    SELECT RAISE(ABORT, 'recorded_at never goes back')
    WHERE NEW.recorded_at < (SELECT recorded_at FROM events WHERE position = NEW.position - 1);

    SELECT RAISE(ABORT, 'data and metadata are over [append] event_bytes_max')
    FROM log WHERE octet_length(NEW.data) + octet_length(NEW.metadata) > log.event_bytes_max;

    SELECT RAISE(ABORT, 'metadata.reason is missing, or its length is not within [append] reason_chars_min and reason_chars_max')
    FROM log
    WHERE CASE json_type(NEW.metadata, '$.reason')
        WHEN 'text' THEN length(NEW.metadata ->> '$.reason') NOT BETWEEN log.reason_chars_min AND log.reason_chars_max
        WHEN 'null' THEN log.reason_required
        ELSE json_type(NEW.metadata, '$.reason') IS NOT NULL OR log.reason_required
    END;
END;

CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events are immutable: UPDATE is refused; append a correcting event instead');
END;

CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN
    SELECT RAISE(ABORT, 'events are immutable: DELETE is refused; append a correcting event instead');
END;

CREATE TRIGGER log_forward BEFORE UPDATE ON log
WHEN NEW.position < OLD.position OR NEW.recorded_at < OLD.recorded_at OR NEW.id <> OLD.id OR NEW.one <> OLD.one BEGIN
    SELECT RAISE(ABORT, 'the counter row of table log never goes back');
END;

CREATE TRIGGER log_one_row BEFORE INSERT ON log BEGIN
    SELECT RAISE(ABORT, 'table log has its one row');
END;

CREATE TRIGGER log_no_delete BEFORE DELETE ON log BEGIN
    SELECT RAISE(ABORT, 'table log keeps its one row');
END;

CREATE TRIGGER idempotency_no_update BEFORE UPDATE ON idempotency BEGIN
    SELECT RAISE(ABORT, 'the answer under an idempotency key never changes');
END;

-- For a person: who did what, why and when. Times are ISO 8601 here.
CREATE VIEW event_history AS
SELECT
    stream_id,
    stream_type,
    stream_version,
    metadata ->> '$.user_id' AS who,
    event_type AS what,
    metadata ->> '$.reason' AS why,
    strftime('%Y-%m-%dT%H:%M:%fZ', occurred_at / 1000000.0, 'unixepoch') AS occurred_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', recorded_at / 1000000.0, 'unixepoch') AS recorded_at,
    position,
    data,
    metadata
FROM events;
