//! A database that goes away: what its host says meanwhile, and that it comes back.

use lamphouse_tests::database::own_server;
use lamphouse_tests::{Database, Project, wait};
use xtask::postgres::Stop;

use super::{Asked, event, import, named, stream, token, value};

#[test]
fn a_host_whose_database_is_away_answers_and_is_ready_again_by_itself() {
    let Some(mut server) = own_server("a host whose database is away") else {
        return;
    };
    let project = Project::new(Database::on_server(&server.url(), false));
    import(&project, "log", 500);
    project.deploy_bytes(&named("1.0.0"), "puppet");
    let mut host = project.serve();
    host.wait_level("puppet");
    let token = token(&project);
    let asked = Asked::of(&host, &token);
    let ready = |wanted: u16| {
        wait::until("readiness to follow the database", wait::LONG, || {
            match asked.get_without_token("/readyz") {
                answer if answer.status == wanted => Ok(()),
                answer => Err(format!("{}: {}", answer.status, answer.body)),
            }
        });
    };
    let append = |key: &str| {
        asked.append(
            &format!("Idempotency-Key: {key}\r\n"),
            &[stream("s-1", &[event("Put", 7)])],
        )
    };
    ready(200);
    for (round, how) in [Stop::Fast, Stop::Immediate].into_iter().enumerate() {
        server.stop(how).unwrap();
        ready(503);
        assert_eq!(
            asked.get_without_token("/healthz").status,
            200,
            "a restart would not help"
        );
        let page = asked.scrape();
        assert_eq!(value(&page, "lamphouse_ready", &[]), 0.0);
        let key = format!("round-{round}");
        let refused = append(&key);
        assert_eq!(refused.status, 503, "{}", refused.body);
        assert!(refused.header.contains("retry-after:"), "{}", refused.header);
        for path in ["/v1/events", "/v1/tables/puppet", "/v1/streams/s-1"] {
            let answer = asked.get(path);
            assert_eq!(answer.status, 503, "{path}: {}", answer.body);
            assert!(answer.body.contains("\"detail\""), "{path}: {}", answer.body);
        }
        let status = asked.get("/v1/status");
        assert_eq!(status.status, 200, "{}", status.body);
        assert!(host.is_running(), "{}", host.log());
        server.start_again().unwrap();
        // What was refused may be sent again, and counts once.
        for _ in 0..2 {
            wait::until("an append to be taken", wait::LONG, || match append(&key) {
                answer if answer.status == 200 => Ok(()),
                answer => Err(format!("{}: {}", answer.status, answer.body)),
            });
        }
        ready(200);
        host.wait_level("puppet");
        let events = project.status().unwrap()["log"]["head"].as_u64();
        assert_eq!(events, Some(501 + round as u64));
    }
    host.stop();
}
