-- What the host knows of its read tables. The tables themselves are `NAME__gN`, and views carry the public names.
-- Deleting this database loses nothing: everything is built again from the log.

CREATE TABLE lamphouse_projections (
    name            TEXT PRIMARY KEY,
    paused          TEXT,                           -- the reason given, or empty; NULL: not paused
    hold_generation INTEGER,                        -- set by a rollback
    hold_against    TEXT,
    hold_since      INTEGER,                        -- microseconds since 1970
    removed         INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1))
) WITHOUT ROWID;

CREATE TABLE lamphouse_generations (
    id           INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: orders__g7 names one table for ever
    projection   TEXT NOT NULL,
    digest       TEXT NOT NULL,
    version      TEXT NOT NULL,
    descriptor   TEXT NOT NULL,                     -- JSON
    state        TEXT NOT NULL CHECK (state IN ('building', 'ready', 'live', 'retired', 'failed', 'dropped')),
    error        TEXT,                              -- JSON
    created_at   INTEGER NOT NULL,                  -- microseconds since 1970
    live_at      INTEGER,
    retired_at   INTEGER,
    tables_exist INTEGER NOT NULL DEFAULT 1 CHECK (tables_exist IN (0, 1)) -- outlives 'dropped' until all are gone
);

-- One generation of a projection is live.
CREATE UNIQUE INDEX lamphouse_generations_live ON lamphouse_generations (projection) WHERE state = 'live';

-- Apart from the generations, so that a live flush rewrites a few bytes and not a descriptor.
CREATE TABLE lamphouse_checkpoints (
    generation INTEGER PRIMARY KEY REFERENCES lamphouse_generations (id),
    position   INTEGER NOT NULL CHECK (position >= 0),
    event_id   TEXT,
    log        TEXT
);

CREATE TABLE lamphouse_public_tables (
    name       TEXT PRIMARY KEY COLLATE NOCASE,     -- as SQLite compares names
    projection TEXT NOT NULL,
    generation INTEGER NOT NULL REFERENCES lamphouse_generations (id)
) WITHOUT ROWID;

CREATE TABLE lamphouse_plugins (
    digest TEXT PRIMARY KEY,
    name   TEXT NOT NULL,
    version TEXT NOT NULL,
    bytes  BLOB NOT NULL
);
