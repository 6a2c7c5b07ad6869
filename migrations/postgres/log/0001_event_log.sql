-- The event log. Describes the same log as migrations/sqlite/log; a test holds the two together.
--
-- Who appends does, in one READ COMMITTED transaction: SELECT … FROM lamphouse.log FOR UPDATE; then, in statements of
-- their own, so that they see what committed before, the checks; UPDATE lamphouse.log; INSERT INTO lamphouse.events.
-- Services call lamphouse.append (below), which does that. The triggers refuse everything else, whoever writes.

-- One row: the counter that gives positions, gapless and in commit order, and the limits that the triggers enforce.
-- The host sets the limits from its configuration when it opens the log; events that are there stay as they are.
CREATE TABLE lamphouse.log (
    one              integer     PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    id               uuid        NOT NULL DEFAULT gen_random_uuid(),
    position         bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    recorded_at      timestamptz NOT NULL DEFAULT 'epoch',
    reason_required  boolean     NOT NULL DEFAULT true,
    reason_chars_min bigint      NOT NULL DEFAULT 10,
    reason_chars_max bigint      NOT NULL DEFAULT 500,
    event_bytes_max  bigint      NOT NULL DEFAULT 1048576,
    json_depth_max   bigint      NOT NULL DEFAULT 128
) WITH (fillfactor = 10);

INSERT INTO lamphouse.log DEFAULT VALUES;

CREATE TABLE lamphouse.events (
    position       bigint      PRIMARY KEY CHECK (position >= 1),
    id             uuid        NOT NULL UNIQUE,
    stream_id      text        COLLATE "C" NOT NULL CHECK (stream_id <> ''),
    stream_type    text        COLLATE "C" NOT NULL CHECK (stream_type <> ''),
    stream_version bigint      NOT NULL CHECK (stream_version >= 1),
    event_type     text        COLLATE "C" NOT NULL CHECK (event_type <> ''),
    schema_version integer     NOT NULL CHECK (schema_version >= 1),
    -- Text, because reading jsonb halves the rate of a rebuild; what is no jsonb is refused all the same.
    data           text        NOT NULL CHECK (data::jsonb IS NOT NULL),
    metadata       text        NOT NULL CHECK (jsonb_typeof(metadata::jsonb) = 'object'),
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    UNIQUE (stream_id, stream_version)
);

-- The answer of each append under an idempotency key. `digest` is the SHA-256 of the request.
CREATE TABLE lamphouse.idempotency (
    scope    text   COLLATE "C" NOT NULL,
    key      text   COLLATE "C" NOT NULL,
    digest   bytea  NOT NULL CHECK (octet_length(digest) = 32),
    position bigint NOT NULL,
    answer   text   NOT NULL CHECK (answer::json IS NOT NULL),
    PRIMARY KEY (scope, key)
);

-- How much of an imported input is in the log. `digest` is that of the input's first `bytes` uncompressed bytes.
CREATE TABLE lamphouse.import_cursors (
    digest text   COLLATE "C" NOT NULL PRIMARY KEY,
    bytes  bigint NOT NULL CHECK (bytes >= 0),
    lines  bigint NOT NULL CHECK (lines >= 0)
);

-- Checks all rows of one INSERT or COPY at once. Plans are made for look-ups by index, because they are kept from the
-- first time on, when the table was small. UNIQUE constraints refuse what is there already.
CREATE FUNCTION lamphouse.check_events() RETURNS trigger LANGUAGE plpgsql
SET search_path = lamphouse, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    settings lamphouse.log;
    before   lamphouse.events;
    span     record;
    wrong    record;
BEGIN
    SELECT * INTO settings FROM lamphouse.log;
    SELECT min(position) AS first, max(position) AS last, count(*) AS count, min(recorded_at) AS recorded_at
        INTO span FROM new_events;
    IF span.count = 0 THEN
        RETURN NULL;
    END IF;
    IF span.first > 1 THEN
        SELECT * INTO before FROM lamphouse.events WHERE position = span.first - 1;
    END IF;
    IF span.last - span.first + 1 <> span.count OR span.last > settings.position
        OR (span.first > 1 AND before.position IS NULL) THEN
        RAISE EXCEPTION 'events are gapless: the next position is one after the last, as the counter row of table lamphouse.log gives it'
            USING ERRCODE = 'check_violation';
    END IF;
    IF span.recorded_at < before.recorded_at THEN
        RAISE EXCEPTION 'recorded_at never goes back' USING ERRCODE = 'check_violation';
    END IF;

    SELECT e.stream_id, e.stream_version INTO wrong
    FROM new_events e
    WHERE e.stream_version > 1 AND NOT EXISTS (
        SELECT FROM lamphouse.events p
        WHERE p.stream_id = e.stream_id AND p.stream_version = e.stream_version - 1 AND p.stream_type = e.stream_type)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'version % of stream ''%'' does not follow: stream versions are gapless, and a stream''s type is fixed by its first event',
            wrong.stream_version, wrong.stream_id USING ERRCODE = 'check_violation';
    END IF;

    SELECT e.stream_id, e.stream_version, e.bytes, e.reason INTO wrong
    FROM (
        SELECT stream_id, stream_version, octet_length(data) + octet_length(metadata) AS bytes,
            metadata::jsonb -> 'reason' AS reason
        FROM new_events
    ) e
    WHERE e.bytes > settings.event_bytes_max
        OR CASE jsonb_typeof(e.reason)
            WHEN 'string' THEN char_length(e.reason #>> '{}')
                NOT BETWEEN settings.reason_chars_min AND settings.reason_chars_max
            WHEN 'null' THEN settings.reason_required
            ELSE e.reason IS NOT NULL OR settings.reason_required
        END
    LIMIT 1;
    IF FOUND THEN
        IF wrong.bytes > settings.event_bytes_max THEN
            RAISE EXCEPTION 'version % of stream ''%'': data and metadata are over [append] event_bytes_max',
                wrong.stream_version, wrong.stream_id USING ERRCODE = 'check_violation';
        END IF;
        RAISE EXCEPTION 'version % of stream ''%'': metadata.reason is missing, or its length is not within [append] reason_chars_min and reason_chars_max',
            wrong.stream_version, wrong.stream_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER events_append AFTER INSERT ON lamphouse.events
    REFERENCING NEW TABLE AS new_events
    FOR EACH STATEMENT EXECUTE FUNCTION lamphouse.check_events();

CREATE FUNCTION lamphouse.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % of % is refused', TG_ARGV[0], TG_OP, TG_TABLE_NAME USING ERRCODE = 'check_violation';
END
$$;

CREATE TRIGGER events_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON lamphouse.events
    FOR EACH STATEMENT EXECUTE FUNCTION lamphouse.refuse('events are immutable; append a correcting event instead');
CREATE TRIGGER log_no_delete BEFORE DELETE OR TRUNCATE ON lamphouse.log
    FOR EACH STATEMENT EXECUTE FUNCTION lamphouse.refuse('table log keeps its one row');
CREATE TRIGGER log_forward BEFORE UPDATE ON lamphouse.log FOR EACH ROW
    WHEN (NEW.position < OLD.position OR NEW.recorded_at < OLD.recorded_at OR NEW.id <> OLD.id OR NEW.one <> OLD.one)
    EXECUTE FUNCTION lamphouse.refuse('the counter row of table log never goes back');
CREATE TRIGGER idempotency_no_update BEFORE UPDATE ON lamphouse.idempotency
    FOR EACH STATEMENT EXECUTE FUNCTION lamphouse.refuse('the answer under an idempotency key never changes');

-- Also where triggers are switched off for a session.
ALTER TABLE lamphouse.events ENABLE ALWAYS TRIGGER events_no_change;
ALTER TABLE lamphouse.log ENABLE ALWAYS TRIGGER log_no_delete;
ALTER TABLE lamphouse.log ENABLE ALWAYS TRIGGER log_forward;

-- Wakes the readers of every host when the transaction commits.
CREATE FUNCTION lamphouse.notify_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('lamphouse_log', NEW.position::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER log_notify AFTER UPDATE ON lamphouse.log FOR EACH ROW
    WHEN (NEW.position > OLD.position) EXECUTE FUNCTION lamphouse.notify_log();

-- For a person: who did what, why and when.
CREATE VIEW lamphouse.event_history AS
SELECT
    stream_id,
    stream_type,
    stream_version,
    metadata::jsonb ->> 'user_id' AS who,
    event_type AS what,
    metadata::jsonb ->> 'reason' AS why,
    occurred_at,
    recorded_at,
    position,
    data::jsonb AS data,
    metadata::jsonb AS metadata
FROM lamphouse.events;

-- A field of a request's digest: `<bytes>:<text>,`.
CREATE FUNCTION lamphouse.netstring(field text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT octet_length(coalesce(field, ''))::text || ':' || coalesce(field, '') || ','
$$;

-- Appends one event in the caller's own transaction, and gives its position:
--
--   SELECT lamphouse.append('order-17', 'order', 'OrderPlaced',
--       '{"total": "12.50"}', '{"reason": "Checkout by the customer", "user_id": "c-9"}', expected_version => 0);
--
-- The event is in the log if and only if the caller's transaction commits. Call it several times for several events.
-- From the first call to the end of the transaction nobody else can append: call it last, and commit at once.
--
--   expected_version   NULL: any; 0: the stream must not exist; n: its last version must be n. Else SQLSTATE LH409.
--   idempotency_key    With idempotency_scope: a repeated call gives the first position and appends nothing; another
--                      request under the same key is SQLSTATE LH422.
--   occurred_at        NULL: now.   event_id   NULL: a new one.
--
-- It runs with the rights of the log's owner, so that a service needs no others and cannot write past it:
--
--   GRANT USAGE ON SCHEMA lamphouse TO shop;
--   GRANT EXECUTE ON FUNCTION lamphouse.append TO shop;
--
-- In REPEATABLE READ and SERIALIZABLE transactions an append beside another one is a serialisation failure (40001), to
-- be tried again; READ COMMITTED waits its turn.
CREATE FUNCTION lamphouse.append(
    stream_id         text,
    stream_type       text,
    event_type        text,
    data              jsonb,
    metadata          jsonb,
    expected_version  bigint      DEFAULT NULL,
    schema_version    integer     DEFAULT 1,
    occurred_at       timestamptz DEFAULT NULL,
    event_id          uuid        DEFAULT NULL,
    idempotency_key   text        DEFAULT NULL,
    idempotency_scope text        DEFAULT 'sql'
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = lamphouse, pg_temp
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    counter lamphouse.log;
    earlier lamphouse.idempotency;
    there   record;
    version bigint;
    request bytea;
    nested  text;
BEGIN
    IF data IS NULL OR metadata IS NULL THEN
        RAISE EXCEPTION 'data and metadata are not null' USING ERRCODE = 'not_null_violation';
    END IF;
    IF append.stream_id ~ '[\u0001-\u001f\u007f-\u009f]' OR append.stream_type ~ '[\u0001-\u001f\u007f-\u009f]'
        OR append.event_type ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION 'stream id, stream type and event type hold no control characters'
            USING ERRCODE = 'check_violation';
    END IF;

    SELECT * INTO STRICT counter FROM lamphouse.log FOR UPDATE;
    -- The log is durable, also in a transaction of somebody who is in a hurry.
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    nested := format('strict $.**{%s} ? (@.type() == "object" || @.type() == "array")', counter.json_depth_max);
    IF jsonb_path_exists(append.data, nested::jsonpath) OR jsonb_path_exists(append.metadata, nested::jsonpath) THEN
        RAISE EXCEPTION 'data or metadata is nested deeper than [append] json_depth_max' USING ERRCODE = 'check_violation';
    END IF;

    IF append.idempotency_key IS NOT NULL THEN
        request := sha256(convert_to(
            netstring('1') || netstring(append.stream_id) || netstring(append.stream_type)
            || netstring(coalesce(append.expected_version::text, 'any')) || netstring('1')
            || netstring(append.event_id::text) || netstring(append.event_type)
            || netstring(append.schema_version::text)
            || netstring(append.data::text) || netstring(append.metadata::text)
            || netstring((extract(epoch FROM append.occurred_at) * 1000000)::bigint::text), 'UTF8'));
        SELECT * INTO earlier FROM lamphouse.idempotency i
            WHERE i.scope = append.idempotency_scope AND i.key = append.idempotency_key;
        IF FOUND THEN
            IF earlier.digest <> request THEN
                RAISE EXCEPTION 'idempotency key ''%'' was used before for a different append', append.idempotency_key
                    USING ERRCODE = 'LH422', HINT = 'Use a new key for a new append.';
            END IF;
            RETURN earlier.position;
        END IF;
    END IF;

    SELECT e.stream_version, e.stream_type INTO there FROM lamphouse.events e
        WHERE e.stream_id = append.stream_id ORDER BY e.stream_version DESC LIMIT 1;
    version := coalesce(there.stream_version, 0);
    IF version > 0 AND there.stream_type <> append.stream_type THEN
        RAISE EXCEPTION 'stream ''%'' is of type ''%'', not ''%''', append.stream_id, there.stream_type, append.stream_type
            USING ERRCODE = 'check_violation', HINT = 'A stream''s type is fixed by its first event.';
    END IF;
    IF version <> append.expected_version THEN
        RAISE EXCEPTION 'stream ''%'' is at version %, not at %', append.stream_id, version, append.expected_version
            USING ERRCODE = 'LH409', HINT = 'Read the stream and decide again.';
    END IF;

    counter.position := counter.position + 1;
    counter.recorded_at := greatest(counter.recorded_at, clock_timestamp());
    UPDATE lamphouse.log l SET position = counter.position, recorded_at = counter.recorded_at WHERE l.one = 1;
    INSERT INTO lamphouse.events (position, id, stream_id, stream_type, stream_version, event_type, schema_version, data,
        metadata, occurred_at, recorded_at)
    VALUES (counter.position, coalesce(append.event_id, gen_random_uuid()), append.stream_id, append.stream_type,
        version + 1, append.event_type, append.schema_version, append.data::text, append.metadata::text,
        coalesce(append.occurred_at, counter.recorded_at), counter.recorded_at);
    IF append.idempotency_key IS NOT NULL THEN
        INSERT INTO lamphouse.idempotency (scope, key, digest, position, answer)
        VALUES (append.idempotency_scope, append.idempotency_key, request, counter.position,
            json_build_array(json_build_object('stream_id', append.stream_id, 'version', version + 1))::text);
    END IF;
    RETURN counter.position;
END
$$;

REVOKE EXECUTE ON FUNCTION lamphouse.append FROM PUBLIC;
