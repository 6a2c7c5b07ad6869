//! The real Prometheus: it scrapes a host by the token file, loads the alert rules as they are, and understands every
//! expression of the dashboard.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use lamphouse_tests::{Database, Project, on_each_database, strict, wait};
use serde_json::{Value, json};

use super::{Asked, event, files, import, named, stream, token};

on_each_database!(prometheus_reads_a_host_and_everything_that_is_asked_of_it);

/// A server of the test's own; ended with it.
struct Prometheus {
    child: Child,
    address: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn get(&self, path: &str, parameters: &str) -> Result<Value, String> {
        let asked = Asked {
            address: self.address.clone(),
            token: "none",
        };
        std::net::TcpStream::connect(&self.address).map_err(|error| error.to_string())?;
        let answer = asked.get(&format!("{path}{parameters}"));
        let body: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        match answer.status {
            200 => Ok(body["data"].clone()),
            _ => Err(body.to_string()),
        }
    }

    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.get("/api/v1/query", &format!("?query={escaped}"))?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }
}

fn prometheus_reads_a_host_and_everything_that_is_asked_of_it(database: Database) {
    let program = match xtask::promtool::find() {
        Ok(tool) => tool.with_file_name("prometheus"),
        Err(why) => {
            assert!(!strict(), "nothing may be skipped, and {why:#}");
            println!("SKIPPED ({why:#}): a host scraped by Prometheus");
            return;
        }
    };
    let project = Project::with_settings(database, "[projection]\non_fault = \"dead-letter\"\n");
    import(&project, "log", 200);
    project.deploy_bytes(&named("1.0.0"), "puppet");
    let host = project.serve();
    host.wait_level("puppet");
    let token = token(&project);
    let asked = Asked::of(&host, &token);

    let scratch = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let config = files::scrape_configuration()
        .replace(
            "/etc/prometheus/lamphouse-token",
            project.path(".lamphouse/token").to_str().unwrap(),
        )
        .replace(
            "/etc/prometheus/lamphouse-alerts.yml",
            files::folder().join("alerts.yml").to_str().unwrap(),
        )
        .replace("127.0.0.1:7117", &asked.address)
        .replace("scrape_interval: 15s", "scrape_interval: 1s");
    fs::write(scratch.path().join("prometheus.yml"), config).unwrap();
    let child = Command::new(program)
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(scratch.path().join("said")).unwrap())
        .spawn()
        .unwrap();
    let prometheus = Prometheus {
        child,
        address: format!("127.0.0.1:{port}"),
    };
    let said = || fs::read_to_string(scratch.path().join("said")).unwrap_or_default();
    wait::until("Prometheus to scrape the host", wait::LONG, || {
        let up = prometheus
            .query("up{job=\"lamphouse\"}")
            .map_err(|why| why + &said())?;
        match up.first().map(|sample| sample["value"][1] == "1") {
            Some(true) => Ok(()),
            _ => Err(prometheus.get("/api/v1/targets", "")?.to_string()),
        }
    });
    // What the panels show is about work that goes on.
    let mut number = 0;
    wait::until("a rate", wait::LONG, || {
        number += 1;
        let events = [event("Put", number)];
        assert_eq!(asked.append("", &[stream("s", &events)]).status, 200);
        let rate = prometheus.query("sum(rate(lamphouse_appended_events_total[1m])) > 0")?;
        match rate.is_empty() {
            false => Ok(()),
            true => Err("no rate yet".to_owned()),
        }
    });
    let mut empty = Vec::new();
    for expression in files::of_dashboard() {
        let expression = expression
            .replace("$__rate_interval", "1m")
            .replace("$job", ".*")
            .replace("$instance", ".*")
            .replace("$projection", ".*");
        let found = prometheus
            .query(&expression)
            .unwrap_or_else(|why| panic!("{expression}: {why}"));
        if found.is_empty() {
            empty.push(expression);
        }
    }
    // Panels about faults, rebuilds and failures have nothing to show of a host that is well.
    for expression in &empty {
        let is_of_trouble = ["> 0", "rebuild_", "5xx"]
            .iter()
            .any(|part| expression.contains(part));
        assert!(is_of_trouble, "a panel that stays empty: {expression}");
    }
    let rules = prometheus.get("/api/v1/rules", "").unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 14, "{rules:#?}");
    for rule in rules {
        assert_eq!(rule["lastError"].as_str().unwrap_or_default(), "", "{rule:#}");
        assert_eq!(rule["state"], json!("inactive"), "all is well: {rule:#}");
    }
    host.stop();
}
