-- Serves who wants few of the event types. An entry of a SQLite index ends with the row's key, the position, so that the
-- events of one type are in order.
CREATE INDEX events_by_type ON events (event_type);
