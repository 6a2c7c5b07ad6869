-- Serves who wants few of the event types: the events of one type in order. Appends wait while it is made.
CREATE INDEX events_by_type ON lamphouse.events (event_type, position);
