//! The HTTP API of the real host.

use std::process::Command;

use lamphouse_tests::{Database, Project, on_each_database};
use serde_json::Value;

on_each_database!(
    the_lines_of_the_readme_do_what_it_says,
    no_made_up_request_breaks_the_document,
);

/// Where the host listens.
fn address(project: &Project) -> String {
    let status = project.status().unwrap();
    let address = status["host"]["address"].as_str();
    address
        .unwrap_or_else(|| panic!("no address: {status:#}"))
        .to_owned()
}

fn token(project: &Project) -> String {
    std::fs::read_to_string(project.path(".lamphouse/token")).unwrap()
}

fn the_lines_of_the_readme_do_what_it_says(database: Database) {
    let project = Project::new(database);
    project.deploy("order-summary-1.0.0", "order-summary");
    let host = project.serve();
    // Until a plugin file is taken up, nobody knows of its tables.
    host.wait_level("order-summary");
    let readme = std::fs::read_to_string(xtask::paths::root().join("README.md")).unwrap();
    let section = readme
        .split("\n## Over HTTP\n")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the section");
    let script: String = section
        .split("```sh\n")
        .skip(1)
        .map(|block| {
            block
                .split("```")
                .next()
                .expect("an end")
                .replace("127.0.0.1:7117", &address(&project))
        })
        .collect();
    // A line of their own for each answer.
    let script = format!("set -eu\ncurl() {{ command curl -f \"$@\"; echo; }}\n{script}");
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(project.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [appended, stream, events, rows, document] = &answers[..] else {
        panic!("{} answers: {said}", answers.len());
    };
    assert_eq!(appended["streams"][0]["version"], 1);
    assert_eq!(stream["events"][0]["event_type"], "OrderPlaced");
    assert_eq!(events["events"][0]["position"], appended["position"]);
    assert_eq!(
        rows,
        &serde_json::json!([{"order_id": "order-2", "country": "Malta"}])
    );
    assert!(document["paths"]["/v1/append"].is_object());
    host.wait_level("order-summary");
    let rows = project.ok(&["query", "--json", "SELECT customer_id FROM orders"]);
    assert!(rows.contains("\"18\""), "{rows}");
    host.stop();
}

/// Schemathesis makes requests up from the document, wrong ones too: nothing answers 5xx, and every answer is as the
/// document says.
fn no_made_up_request_breaks_the_document(database: Database) {
    let Some(python) = schemathesis() else { return };
    // No plugin: made-up events would stop it, and the host would rightly be unhealthy.
    let project = Project::new(database);
    let host = project.serve();
    // Streams have no end, and it would wait for one. What they refuse, and how they begin, is tested beside their code.
    let settings = project.path("schemathesis.toml");
    std::fs::write(
        &settings,
        "[[operations]]\ninclude-path = \"/v1/events\"\nparameters = { \"query.follow\" = \"false\" }\n",
    )
    .unwrap();
    // It does not know how a plugin's file is written: any bytes do.
    let hooks = "import schemathesis\n\n@schemathesis.serializer('application/wasm')\ndef wasm(ctx, value):\n    \
                 return value if isinstance(value, bytes) else repr(value).encode('utf-8', 'replace')\n";
    std::fs::write(project.path("made_up_plugins.py"), hooks).unwrap();
    let output = Command::new(python)
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(settings)
        .args(["run", "--exclude-path", "/v1/changes"])
        .arg(format!("http://{}/v1/openapi.json", address(&project)))
        .args(["--header", &format!("Authorization: Bearer {}", token(&project))])
        // What an append may hold is the log's own to say: a schema does not know that metadata needs a reason.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "30"])
        .args(["--seed", "1", "--request-timeout", "20"])
        .current_dir(project.path(""))
        .env("SCHEMATHESIS_HOOKS", "made_up_plugins")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains(" passed") && !said.contains(" failed"), "{said}");
    let status = project.status().unwrap();
    assert_eq!(status["problems"], serde_json::json!([]), "{}", host.log());
    assert!(
        status["log"]["head"].as_u64() > Some(0),
        "no made-up append was taken"
    );
    host.stop();
}

/// Its interpreter; None, with a loud line, where there is no Python.
pub(super) fn schemathesis() -> Option<std::path::PathBuf> {
    match xtask::languages::venv("schemathesis", &["schemathesis==4.32.5"]) {
        Ok(python) => Some(python),
        Err(why) => {
            assert!(!lamphouse_tests::strict(), "nothing may be skipped, and {why:#}");
            println!("SKIPPED ({why:#}): requests by Schemathesis");
            None
        }
    }
}
