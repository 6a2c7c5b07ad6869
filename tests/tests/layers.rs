//! Holds the host's layers to their arrows: they point down only.
//!
//! `cli → api, deploy → projection → upcast, plugin, tables, log → core`. `plugin`, `tables` and `log` do not know each
//! other, so that each can be tested, replaced and understood alone. `config` and `telemetry` stand on `core`, as `schemas` does.

#![allow(clippy::unwrap_used, reason = "a test panics where it cannot go on")]

use std::fs;
use std::path::Path;

/// Each layer and what it may use; its own name is always allowed.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("telemetry", &["core"]),
    ("wal", &[]),
    ("config", &["core"]),
    // `config::DatabaseUrl` names where a database is; nothing else of the configuration reaches down here.
    ("log", &["wal", "core", "config"]),
    ("tables", &["wal", "core", "config"]),
    ("plugin", &["core"]),
    ("watch", &["core"]),
    ("schemas", &["watch", "core"]),
    ("upcast", &["plugin", "core"]),
    (
        "projection",
        &["upcast", "plugin", "tables", "log", "telemetry", "config", "core"],
    ),
    (
        "deploy",
        &[
            "projection",
            "upcast",
            "plugin",
            "tables",
            "log",
            "telemetry",
            "config",
            "schemas",
            "watch",
            "core",
        ],
    ),
    // The surface speaks to `deploy::operator`; never the other way round.
    (
        "api",
        &[
            "deploy",
            "projection",
            "upcast",
            "plugin",
            "tables",
            "log",
            "telemetry",
            "config",
            "schemas",
            "core",
        ],
    ),
    ("console", &["api"]),
    (
        "cli",
        &[
            "api",
            "console",
            "deploy",
            "projection",
            "upcast",
            "plugin",
            "tables",
            "log",
            "telemetry",
            "config",
            "schemas",
            "core",
        ],
    ),
];

/// What `log` and `tables` may use of `config`.
const CONFIG_BELOW: &str = "DatabaseUrl";

/// One file's uses of other layers that its layer may not make, as sentences.
fn violations(file: &str, text: &str) -> Vec<String> {
    let layer = file.split(['/', '.']).next().unwrap_or_default();
    if matches!(layer, "lib" | "main") {
        return Vec::new();
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!(
            "{file}: the layer '{layer}' has no arrows; add it to tests/tests/layers.rs"
        )];
    };
    let mut found = Vec::new();
    for (number, path) in paths_from_root(file, text) {
        let mut parts = path.split("::");
        let target = parts.next().unwrap_or_default();
        if target == layer {
            continue;
        }
        let reaches_config = target == "config" && matches!(layer, "log" | "tables");
        if !allowed.contains(&target) {
            found.push(format!(
                "{file}:{number}: '{layer}' may not use '{target}' (crate::{path})"
            ));
        } else if reaches_config && parts.next() != Some(CONFIG_BELOW) {
            found.push(format!(
                "{file}:{number}: '{layer}' may use only {CONFIG_BELOW} of '{target}' (crate::{path})"
            ));
        }
    }
    found
}

/// Every path that starts at the crate's root, without `crate::`, with its line number; groups are spread.
fn paths_from_root(file: &str, text: &str) -> Vec<(usize, String)> {
    let bare = without_comments(text);
    let depth = file
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| *part != "mod")
        .count();
    let to_root = [
        "crate::".to_owned(),
        "lamphouse::".to_owned(),
        "super::".repeat(depth),
    ];
    let mut found = Vec::new();
    for start in &to_root {
        for (at, _) in bare.match_indices(start.as_str()) {
            let before = bare[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '-') {
                continue;
            }
            let number = bare[..at].matches('\n').count() + 1;
            let rest = &bare[at + start.len()..];
            for path in spread(rest) {
                // `super::` may also name a neighbour in a file's own inline module.
                let is_layer = ARROWS
                    .iter()
                    .any(|(name, _)| path.split("::").next() == Some(name));
                if is_layer || start == "crate::" {
                    found.push((number, path));
                }
            }
        }
    }
    found
}

/// `log::{A, b::C}` and `{log::A, core}` as single paths, two parts deep.
fn spread(rest: &str) -> Vec<String> {
    let Some(inside) = rest.strip_prefix('{') else {
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let after = &rest[name.len()..];
        return match after.strip_prefix("::") {
            Some(deeper) if deeper.starts_with('{') => spread(deeper)
                .into_iter()
                .map(|path| format!("{name}::{path}"))
                .collect(),
            Some(deeper) => {
                let second: String = deeper
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                vec![format!("{name}::{second}")]
            }
            None => vec![name],
        };
    };
    let mut paths = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let part = inside[from..at].trim();
                if !part.is_empty() {
                    paths.extend(spread(part));
                }
                from = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    paths
}

/// Comments blanked out, line breaks kept.
fn without_comments(text: &str) -> String {
    let blank = |line: &str| line.find("//").map_or(line, |at| &line[..at]).to_owned();
    text.lines().map(blank).collect::<Vec<_>>().join("\n")
}

fn check_folder(root: &Path, folder: &Path, files: &mut usize, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check_folder(root, &path, files, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/");
            *files += 1;
            found.extend(violations(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_arrow_between_the_hosts_layers_points_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src");
    let (mut files, mut found) = (0, Vec::new());
    check_folder(&root, &root, &mut files, &mut found);
    assert!(files > 15, "only {files} files were read");
    assert!(
        found.is_empty(),
        "arrows that point up or sideways:\n{}",
        found.join("\n")
    );
}

#[test]
fn an_arrow_that_points_up_or_sideways_is_found_in_every_spelling() {
    for (file, text) in [
        ("log/sqlite.rs", "use crate::tables::TableStore;"),
        ("log/mod.rs", "use crate::{core::Position, plugin::{self, Call}};"),
        (
            "plugin/engine.rs",
            "fn f() -> Option<crate::tables::StoreError> { None }",
        ),
        ("core/ids.rs", "use crate::log;"),
        ("tables/sqlite/mod.rs", "use crate::config::Config;"),
        ("tables/sqlite/mod.rs", "use super::super::log::EventLog;"),
        ("projection/mod.rs", "pub use crate::deploy::Operator;"),
        ("deploy/plan.rs", "use crate::api::Server;"),
        ("novel/mod.rs", "use std::fs;"),
    ] {
        assert!(
            !violations(file, text).is_empty(),
            "{file}: {text} was let through"
        );
    }
}

#[test]
fn an_arrow_that_points_down_is_fine() {
    for (file, text) in [
        (
            "log/mod.rs",
            "use crate::core::{Position, signal::Signal};\n//! crate::tables is not known here",
        ),
        (
            "log/postgres.rs",
            "use crate::config::DatabaseUrl;\nuse super::tables_are_not_meant;",
        ),
        (
            "tables/mod.rs",
            "use crate::{config::DatabaseUrl, core::{Class, Position}};",
        ),
        (
            "projection/cache.rs",
            "use crate::tables::{Flush, TableFlush};\nuse crate::projection::runner;",
        ),
        ("cli/status.rs", "use crate::deploy::operator::Operator;"),
        ("main.rs", "lamphouse::cli::main()"),
    ] {
        assert_eq!(violations(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}
