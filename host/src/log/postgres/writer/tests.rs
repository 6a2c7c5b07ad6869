//! What the server does with an append.

use crate::log::ExpectedVersion;
use crate::log::conformance::{Place, append_to, with_key};

#[test]
fn an_append_is_durable_where_the_database_would_not_wait() {
    let Some(place) = Place::postgres("an_append_is_durable_where_the_database_would_not_wait") else {
        return;
    };
    drop(place.open());
    // Run with the commit itself, it says what the commit goes by.
    place
        .raw(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$;
             CREATE TABLE public.commits (setting text);
             CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO public.commits VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER note AFTER UPDATE ON lamphouse.log DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW WHEN (NEW.position > OLD.position) EXECUTE FUNCTION public.note();",
        )
        .unwrap();
    let log = place.open();
    log.append(append_to("order-1", ExpectedVersion::Any, 2)).unwrap();
    let keyed = with_key(append_to("order-1", ExpectedVersion::Any, 1), "job-17");
    log.append(keyed).unwrap();
    let commits = place.text("SELECT string_agg(setting, ' ') FROM public.commits");
    assert_eq!(commits, "on on");
}
