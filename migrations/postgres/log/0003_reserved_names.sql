-- lamphouse.append as it was, and it refuses the names that are the host's own: events of the types 'lamphouse.…' say who
-- operated the host and why, and nobody else may write them. Rights and owner stay as they are.
CREATE OR REPLACE FUNCTION lamphouse.append(
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
    IF starts_with(append.event_type, 'lamphouse.') OR starts_with(append.stream_type, 'lamphouse.')
        OR starts_with(append.stream_id, 'lamphouse.') THEN
        RAISE EXCEPTION 'names that begin with ''lamphouse.'' are reserved for the host''s own events'
            USING ERRCODE = 'check_violation', HINT = 'Choose another event type, stream type or stream id.';
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
