-- What the host knows of its read tables. The rows themselves are in physical tables of schema lamphouse_tables
-- (orders__g7), and readers see them by views of schema public (orders). Times are microseconds since 1970.
-- The tables of this file are in schema lamphouse_control, which is made before it runs.

CREATE SCHEMA IF NOT EXISTS lamphouse_tables;

CREATE TABLE lamphouse_control.projections (
    name            text PRIMARY KEY,
    -- Set while paused by a person: their reason, or empty.
    paused          text,
    -- Set by a rollback, all three together.
    held_generation bigint,
    held_against    text,
    held_since      bigint,
    removed         boolean NOT NULL DEFAULT false,
    CHECK (num_nulls(held_generation, held_against, held_since) IN (0, 3))
);

CREATE TABLE lamphouse_control.plugins (
    digest  text PRIMARY KEY,
    name    text NOT NULL,
    version text NOT NULL,
    bytes   bytea NOT NULL
);
-- Wasm is kept as it is: compressing it costs time at each start and gains little.
ALTER TABLE lamphouse_control.plugins ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE lamphouse_control.generations (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection text NOT NULL,
    digest     text NOT NULL,
    version    text NOT NULL,
    descriptor json NOT NULL,
    state      text NOT NULL
        CHECK (state IN ('building', 'ready', 'live', 'retired', 'failed', 'dropped')),
    error      json,
    created_at bigint NOT NULL,
    live_at    bigint,
    retired_at bigint
);

-- Apart from the generations, because each flush writes here: a small row in a page with room stays in its page (HOT).
CREATE TABLE lamphouse_control.checkpoints (
    generation bigint PRIMARY KEY,
    position   bigint NOT NULL CHECK (position >= 0),
    event_id   uuid,
    log_id     uuid
) WITH (fillfactor = 20);

-- The switch of a projection is one update of its row here: gated views look at it.
CREATE TABLE lamphouse_control.gates (
    projection text PRIMARY KEY,
    generation bigint NOT NULL
);

-- Our views in schema public, and what each is made of now.
CREATE TABLE lamphouse_control.views (
    name       text PRIMARY KEY,
    projection text NOT NULL,
    -- The generations that the view can show; it asks the gate which one.
    branches   bigint[] NOT NULL,
    -- Whether it reads its one generation without asking the gate.
    direct     boolean NOT NULL
);

-- A switch that is done, while transactions that began before it may still look at the old generation.
CREATE TABLE lamphouse_control.unfinished_switches (
    projection      text PRIMARY KEY,
    from_generation bigint,
    to_generation   bigint NOT NULL,
    -- When the open transactions were written down, and in which run of the server; null: not yet.
    recorded_at     timestamptz,
    server_started  timestamptz
);

CREATE TABLE lamphouse_control.earlier_transactions (
    projection  text NOT NULL REFERENCES lamphouse_control.unfinished_switches ON DELETE CASCADE,
    transaction text NOT NULL,
    pid         integer NOT NULL,
    PRIMARY KEY (projection, transaction)
);

-- Owner, grants, comments and options of a view that a switch had to drop, as statements that give them again.
CREATE TABLE lamphouse_control.kept_grants (
    name       text PRIMARY KEY,
    statements text[] NOT NULL
);

-- Where the one owner of these tables listens. Whether there is one says the advisory lock.
CREATE TABLE lamphouse_control.owner (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    address text NOT NULL,
    pid     integer NOT NULL
);

-- Runs a query, and gives each row as JSON: rows_max rows at the most, then null if there would be more than bytes_max
-- bytes. It is given to a role that has the public views alone. A cursor takes exactly one statement, and only one that
-- gives rows.
CREATE FUNCTION lamphouse_control.run_query(query text, rows_max bigint, bytes_max bigint) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $function$
DECLARE
    answer refcursor;
    one    record;
    line   text;
    rows   bigint := 0;
    bytes  bigint := 0;
BEGIN
    OPEN answer NO SCROLL FOR EXECUTE query;
    WHILE rows < rows_max LOOP
        FETCH answer INTO one;
        EXIT WHEN NOT FOUND;
        line := row_to_json(one)::text;
        rows := rows + 1;
        bytes := bytes + octet_length(line);
        IF bytes > bytes_max THEN
            RETURN NEXT NULL::text;
            EXIT;
        END IF;
        RETURN NEXT line;
    END LOOP;
    CLOSE answer;
END
$function$;
REVOKE ALL ON FUNCTION lamphouse_control.run_query(text, bigint, bigint) FROM PUBLIC;
