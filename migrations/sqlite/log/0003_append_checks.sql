-- What may be appended is checked as before, in fewer steps: the last event of the log and that of the stream are looked
-- up once each. `max` gives the row that it is found in, by one look at the end of an index, and one row where there is
-- none.
DROP TRIGGER events_append;

CREATE TRIGGER events_append BEFORE INSERT ON events BEGIN
    SELECT CASE
        WHEN NEW.position IS NOT coalesce(last.position, 0) + 1 OR NEW.position > log.position
        THEN RAISE(ABORT, 'events are immutable and gapless: the next position is one after the last, as the counter row of table log gives it')

        WHEN NEW.recorded_at < last.recorded_at
        THEN RAISE(ABORT, 'recorded_at never goes back')

        WHEN octet_length(NEW.data) + octet_length(NEW.metadata) > log.event_bytes_max
        THEN RAISE(ABORT, 'data and metadata are over [append] event_bytes_max')

        WHEN json_type(NEW.metadata, '$.reason') = 'text'
            AND length(NEW.metadata ->> '$.reason') BETWEEN log.reason_chars_min AND log.reason_chars_max
        THEN NULL

        WHEN coalesce(json_type(NEW.metadata, '$.reason'), 'null') <> 'null' OR log.reason_required
        THEN RAISE(ABORT, 'metadata.reason is missing, or its length is not within [append] reason_chars_min and reason_chars_max')
    END
    FROM (SELECT max(position) AS position, recorded_at FROM events) AS last CROSS JOIN log;

    -- Before, not after, and not left to the UNIQUE constraint: see the trigger's first version.
    SELECT RAISE(ABORT, 'events are immutable: there is an event with this id') FROM events WHERE id = NEW.id;

    SELECT CASE
        WHEN NEW.stream_version IS NOT coalesce(latest.stream_version, 0) + 1
        THEN RAISE(ABORT, 'events are immutable and stream versions gapless: the next version is one after the stream''s last')

        WHEN latest.stream_version IS NOT NULL AND NEW.stream_type IS NOT latest.stream_type
        THEN RAISE(ABORT, 'a stream''s type is fixed by its first event')
    END
    FROM (SELECT max(stream_version) AS stream_version, stream_type FROM events WHERE stream_id = NEW.stream_id) AS latest;
END;
