//! What the server does with an append.

use tokio::runtime::Handle;

use super::PostgresWriter;
use crate::config::DatabaseUrl;
use crate::core::limits::AppendLimits;
use crate::log::conformance::{Place, append_to, with_key};
use crate::log::group::Backend as _;
use crate::log::postgres::Server;
use crate::log::{ExpectedVersion, plan, validate};

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

#[test]
fn a_writer_remembers_until_somebody_else_appends() {
    let Some(place) = Place::postgres("a_writer_remembers_until_somebody_else_appends") else {
        return;
    };
    let other = place.open();
    let DatabaseUrl::Postgres(url) = &place.url else {
        panic!("not PostgreSQL")
    };
    let server = Server::new(url, place.block_on(async { Handle::current() })).unwrap();
    let mut writer = PostgresWriter::new(server.of_one_thread());
    let request = append_to("order-1", ExpectedVersion::Any, 1);
    let prepared = validate::append(request, &AppendLimits::default()).unwrap();
    let members = [&prepared];
    let ask = plan::ask_appends(&members, false);

    assert!(
        writer.remembered(&ask).is_none(),
        "nothing of a log that it has not seen"
    );
    let (counter, known) = writer.look(&ask).unwrap().unwrap();
    let (_, write) = plan::decide_appends(&members, false, known, counter, 1);
    assert!(matches!(writer.write_at_once(counter, &write), Ok(true)));
    let (counter, known) = writer.remembered(&ask).unwrap();
    assert_eq!((counter.position, known.streams["order-1"].version), (1, 1));

    other
        .append(append_to("order-1", ExpectedVersion::Any, 1))
        .unwrap();
    let (_, write) = plan::decide_appends(&members, false, known, counter, 2);
    assert!(matches!(writer.write_at_once(counter, &write), Ok(false)));
    assert!(writer.remembered(&ask).is_none(), "others append");
    let (counter, known) = writer.look(&ask).unwrap().unwrap();
    assert_eq!((counter.position, known.streams["order-1"].version), (2, 2));
}
