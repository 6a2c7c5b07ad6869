//! From a project folder to a [`Config`].

use std::path::Path;
use std::time::Duration;

use toml_edit::Document;

use super::section::{Findings, Section};
use super::{
    Config, ConfigErrors, CutoverMode, DatabaseUrl, FILE, Mistake, ProjectionConfig, TelemetryConfig, schema,
};
use crate::core::limits::{
    AppendLimits, FaultPolicy, PipelineLimits, PluginLimits, StateLimits, UnknownTypes,
};

impl Config {
    /// Reads `lamphouse.toml` of the project folder, and the environment variables that stand over it.
    ///
    /// All mistakes come back at once. A folder without the file is a mistake too, whose message names
    /// `lamphouse init`.
    pub fn load(root: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with(root, |name| std::env::var(name).ok())
    }

    /// As [`Self::load`], with the environment passed in.
    pub fn load_with(root: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let root = std::path::absolute(root).map_err(|error| {
            ConfigErrors::one(
                root.join(FILE),
                format!("its folder has no absolute path: {error}"),
            )
        })?;
        let file = root.join(FILE);
        let text = match std::fs::read(&file) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
                let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                    .split(|b| *b == b'\n')
                    .count();
                ConfigErrors {
                    file: file.clone(),
                    mistakes: vec![Mistake {
                        line: Some(line),
                        message: "is not UTF-8 text".to_owned(),
                    }],
                }
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ConfigErrors::one(
                    file,
                    "there is no such file; 'lamphouse init' makes a project here, '--project DIR' names another folder"
                        .to_owned(),
                ));
            }
            Err(error) => return Err(ConfigErrors::one(file, format!("cannot be read: {error}"))),
        };
        Self::parse(&root, &text, env)
    }

    /// As [`Self::load`], from the file's text. `root` is absolute.
    pub fn parse(
        root: &Path,
        text: &str,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let findings = Findings::new(text);
        let mut config = Self::defaults(root);
        match Document::parse(text) {
            Ok(document) => schema::read(&Section::root(&findings, document.as_table()), &mut config),
            Err(error) => findings.add(error.span(), format!("not TOML: {}", error.message().trim())),
        }
        overrides(&mut config, &findings, env);
        if let (DatabaseUrl::Sqlite(log), DatabaseUrl::Sqlite(tables)) = (&config.log, &config.tables)
            && log == tables
        {
            let message = "[log] url and [tables] url name one file; the tables need a file of their own, because it can \
                           be deleted and built again";
            findings.add(None, message.to_owned());
        }
        match findings.into_mistakes() {
            mistakes if mistakes.is_empty() => Ok(config),
            mistakes => Err(ConfigErrors {
                file: root.join(FILE),
                mistakes,
            }),
        }
    }

    /// What an empty `lamphouse.toml` gives. `root` is absolute.
    pub fn defaults(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            log: DatabaseUrl::Sqlite(root.join("log.db")),
            tables: DatabaseUrl::Sqlite(root.join("tables.db")),
            plugins: root.join("plugins"),
            data: root.join(".lamphouse"),
            listen: "127.0.0.1:7117".to_owned(),
            tokens: root.join("tokens.toml"),
            names: Vec::new(),
            cors_origins: Vec::new(),
            plain_http: false,
            connections_max: 1_024,
            tls: None,
            body_bytes_max: 16 << 20,
            subscriptions_max: 1_000,
            metrics_open: false,
            ready_lag_events_max: 10_000,
            ready_lag_ms_max: 60_000,
            telemetry: TelemetryConfig::default(),
            append: AppendLimits::default(),
            limits: PluginLimits::default(),
            pipeline: PipelineLimits::default(),
            query_rows_max: 1_000,
            query_time_max: Duration::from_secs(10),
            schemas: root.join("schemas"),
            unknown_types: UnknownTypes::default(),
            state: StateLimits::default(),
            changes_rows_max: 100_000,
            projection: ProjectionConfig::default(),
            projections: Default::default(),
        }
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            otlp_sample_percent: 100,
            otlp_pipeline_spans_per_second_max: 20,
            otlp_traces_url: None,
        }
    }
}

impl Default for ProjectionConfig {
    fn default() -> Self {
        Self {
            cutover: CutoverMode::Auto,
            keep_generations: 1,
            follow_retired: false,
            ready: true,
            faults: FaultPolicy::default(),
        }
    }
}

/// Environment variables over the file; an empty one counts as unset.
fn overrides(config: &mut Config, findings: &Findings<'_>, env: impl Fn(&str) -> Option<String>) {
    let root = config.root.clone();
    let set = |name: &str| env(name).filter(|text| !text.is_empty());
    let note = |name: &str, error: String| findings.add(None, format!("environment variable {name} {error}"));
    for (name, target) in [
        ("LAMPHOUSE_LOG_URL", &mut config.log),
        ("LAMPHOUSE_TABLES_URL", &mut config.tables),
    ] {
        match set(name).map(|text| DatabaseUrl::parse(&text, &root)) {
            Some(Ok(url)) => *target = url,
            Some(Err(error)) => note(name, error),
            None => {}
        }
    }
    match set("LAMPHOUSE_LISTEN").map(|text| schema::listen(&text)) {
        Some(Ok(address)) => {
            config.listen = address;
            if schema::is_exposed(config) {
                note(
                    "LAMPHOUSE_LISTEN",
                    format!("'{}' {}", config.listen, schema::EXPOSED),
                );
            }
        }
        Some(Err(error)) => note("LAMPHOUSE_LISTEN", error),
        None => {}
    }
    for (name, target) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &mut config.telemetry.otlp_endpoint),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &mut config.telemetry.otlp_traces_url,
        ),
    ] {
        match set(name).map(|text| schema::collector(&text)) {
            Some(Ok(url)) => *target = url,
            Some(Err(error)) => note(name, error),
            None => {}
        }
    }
    if set("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        config.telemetry.otlp_endpoint = None;
        config.telemetry.otlp_traces_url = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsFiles;
    use crate::core::limits::OnFault;

    fn parse(text: &str) -> Result<Config, ConfigErrors> {
        Config::parse(Path::new("/project"), text, |_| None)
    }

    fn mistakes(text: &str) -> String {
        parse(text).expect_err("mistakes").to_string()
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(parse(""), Ok(Config::defaults(Path::new("/project"))));
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            r#"
            [log]
            url = "postgres://me:secret@db/log"
            [tables]
            url = "sqlite:read/tables.db"
            [plugins]
            folder = "wasm"
            [host]
            listen = "localhost:9000"
            data = "/var/lib/lamphouse"
            subscriptions_max = 7
            metrics_open = true
            ready_lag_events_max = 0
            ready_lag_ms_max = 1_500
            tokens = "secrets/tokens.toml"
            names = ["Lamphouse.example.com", "::1"]
            cors_origins = ["https://app.example.com", "http://localhost:3000"]
            plain_http = true
            connections_max = 16
            [tls]
            certificate = "cert.pem"
            key = "/etc/key.pem"
            [telemetry]
            otlp_endpoint = "http://127.0.0.1:4318/"
            otlp_sample_percent = 5
            otlp_pipeline_spans_per_second_max = 0
            [append]
            reason_required = false
            event_bytes_max = 2_097_152
            [limits]
            call_ms_max = 10
            [pipeline]
            cache_bytes_max = 8_388_608
            [query]
            rows_max = 5
            time_ms_max = 250
            [schemas]
            folder = "events"
            unknown = "refuse"
            [state]
            runs_max = 1
            rows_max = 50
            [changes]
            rows_max = 0
            [projection]
            keep_generations = 2
            on_fault = "dead-letter"
            [projections.order-summary]
            parked_events_max = 7
            ready = false
            cutover = "manual"
            follow_retired = true
            "#,
        )
        .expect("a configuration");
        assert_eq!(
            config.log,
            DatabaseUrl::Postgres("postgres://me:secret@db/log".to_owned())
        );
        assert_eq!(
            config.tables,
            DatabaseUrl::Sqlite("/project/read/tables.db".into())
        );
        assert_eq!(config.plugins, Path::new("/project/wasm"));
        assert_eq!(config.data, Path::new("/var/lib/lamphouse"));
        assert_eq!(config.listen, "127.0.0.1:9000");
        assert_eq!(
            (
                config.metrics_open,
                config.ready_lag_events_max,
                config.ready_lag_ms_max
            ),
            (true, 0, 1_500)
        );
        assert_eq!(config.tokens, Path::new("/project/secrets/tokens.toml"));
        assert_eq!(config.names, ["lamphouse.example.com", "::1"]);
        assert_eq!(
            config.cors_origins,
            ["https://app.example.com", "http://localhost:3000"]
        );
        assert_eq!((config.plain_http, config.connections_max), (true, 16));
        assert_eq!(
            config.tls,
            Some(TlsFiles {
                certificate: "/project/cert.pem".into(),
                key: "/etc/key.pem".into()
            })
        );
        let traces = config.telemetry.traces().expect("a collector");
        assert_eq!(traces.traces_url, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(
            (traces.sample_percent, traces.pipeline_spans_per_second_max),
            (5, 0)
        );
        assert!(!config.append.reason_required);
        assert_eq!(config.append.event_bytes_max, 2 << 20);
        assert_eq!(config.limits.call_ms_max, 10);
        assert_eq!(config.pipeline.cache_bytes_max, 8 << 20);
        assert_eq!(
            (config.query_rows_max, config.query_time_max),
            (5, Duration::from_millis(250))
        );
        assert_eq!(config.schemas, Path::new("/project/events"));
        assert_eq!(config.unknown_types, UnknownTypes::Refuse);
        assert_eq!((config.state.runs_max, config.state.rows_max), (1, 50));
        assert_eq!((config.changes_rows_max, config.subscriptions_max), (0, 7));
        let orders = ProjectionConfig {
            cutover: CutoverMode::Manual,
            keep_generations: 2,
            follow_retired: true,
            ready: false,
            faults: FaultPolicy {
                on_fault: OnFault::DeadLetter,
                parked_events_max: 7,
                ..FaultPolicy::default()
            },
        };
        assert_eq!(config.projection("order-summary"), &orders);
        assert_eq!(config.projection("another").cutover, CutoverMode::Auto);
    }

    #[test]
    fn all_mistakes_come_at_once_with_their_lines() {
        insta::assert_snapshot!(mistakes(
            r#"[log]
url = "mysql://db/log"
[host]
listen = "0.0.0.0:80"
prot = 1
names = ["https://example.com"]
cors_origins = ["*", "https://app.example.com/"]
[tls]
certificate = "cert.pem"
[pipline]
batch_events_max = 5
[pipeline]
batch_evnets_max = 5
cache_bytes_max = "1 GB"
rebuild_share_percent = 101
[append]
reason_chars_min = 600
[projection]
cutover = "maybe"
follow_retired = 1
on_fault = "skip"
[projections.Orders]
keep_generations = -1
[projections]
daily = 3
"#
        ), @r#"
        /project/lamphouse.toml has 18 mistakes:
          line 2: [log] url must begin with 'sqlite:' or 'postgres://'
          line 4: [host] listen '0.0.0.0:80' is reachable from other machines, and tokens would travel in the clear: give [tls] certificate and key, or set [host] plain_http = true where a proxy in front does TLS
          line 5: [host] has no key 'prot'; there are: listen, data, body_bytes_max, subscriptions_max, connections_max, tokens, names, cors_origins, plain_http, metrics_open, ready_lag_events_max, ready_lag_ms_max
          line 6: [host] names holds 'https://example.com', which is no name of a host: write it without scheme and port, such as 'lamphouse.example.com'
          line 7: [host] cors_origins holds '*', which is no origin: write it as a browser does, such as 'https://app.example.com' or 'http://localhost:3000', without a path, and never '*'
          line 7: [host] cors_origins holds 'https://app.example.com/', which is no origin: write it as a browser does, such as 'https://app.example.com' or 'http://localhost:3000', without a path, and never '*'
          line 9: [tls] certificate needs key beside it: a file in PEM form with its private key
          line 10: unknown section or key 'pipline'; did you mean 'pipeline'?
          line 13: [pipeline] has no key 'batch_evnets_max'; did you mean 'batch_events_max'?
          line 14: [pipeline] cache_bytes_max must be a whole number from 4096 to 1099511627776, not text
          line 15: [pipeline] rebuild_share_percent must be from 1 to 100
          line 17: [append] reason_chars_min is above reason_chars_max: no reason could be given
          line 19: [projection] cutover must be "auto" or "manual"
          line 20: [projection] follow_retired must be true or false, not a number
          line 21: [projection] on_fault must be "pause" or "dead-letter"
          line 22: [projections.Orders] plugin name 'Orders' must be lower-case ASCII: a letter first, then letters, digits, '_' and '-'
          line 23: [projections.Orders] keep_generations must be from 0 to 20
          line 25: 'projections.daily' must be a table: write [projections.daily] and its keys below
        "#);
    }

    #[test]
    fn beyond_loopback_somebody_does_tls() {
        let exposed = "[host]\nlisten = \"0.0.0.0:80\"\n";
        insta::assert_snapshot!(mistakes(exposed), @"/project/lamphouse.toml: line 2: [host] listen '0.0.0.0:80' is reachable from other machines, and tokens would travel in the clear: give [tls] certificate and key, or set [host] plain_http = true where a proxy in front does TLS");
        let tls = "[tls]\ncertificate = \"c\"\nkey = \"k\"\n";
        assert_eq!(
            parse(&format!("{exposed}{tls}")).expect("a configuration").listen,
            "0.0.0.0:80"
        );
        assert!(parse(&format!("{exposed}plain_http = true\n")).is_ok());
        let env = |name: &str| (name == "LAMPHOUSE_LISTEN").then(|| "10.0.0.1:7117".to_owned());
        let wrong = Config::parse(Path::new("/project"), "", env)
            .expect_err("a mistake")
            .to_string();
        assert!(
            wrong.contains("LAMPHOUSE_LISTEN '10.0.0.1:7117' is reachable"),
            "{wrong}"
        );
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for (origin, right) in [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("http://[::1]:3000", true),
            ("https://app.example.com/", false),
            ("https://app.example.com:", false),
            ("https://app.example.com:080", false),
            ("https://App.example.com", false),
            ("https://*.example.com", false),
            ("https://user@example.com", false),
            ("app.example.com", false),
            ("null", false),
            ("*", false),
            ("", false),
        ] {
            let parsed = parse(&format!("[host]\ncors_origins = [\"{origin}\"]\n"));
            assert_eq!(parsed.is_ok(), right, "{origin}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_names_the_line() {
        insta::assert_snapshot!(mistakes("[log]\nurl = \"sqlite:log.db\"\n[tables\n"), @"/project/lamphouse.toml: line 3: not TOML: unclosed table, expected `]`");
    }

    #[test]
    fn one_mistake_is_said_on_one_line() {
        insta::assert_snapshot!(mistakes("\nlog = 3\n"), @"/project/lamphouse.toml: line 2: 'log' must be a table: write [log] and its keys below");
    }

    #[test]
    fn log_and_tables_are_not_one_file() {
        insta::assert_snapshot!(mistakes("[tables]\nurl = \"sqlite:./log.db\"\n"), @"/project/lamphouse.toml: [log] url and [tables] url name one file; the tables need a file of their own, because it can be deleted and built again");
    }

    #[test]
    fn the_environment_stands_over_the_file() {
        let env = |name: &str| match name {
            "LAMPHOUSE_LOG_URL" => Some("postgres://db/log".to_owned()),
            "LAMPHOUSE_TABLES_URL" => Some(String::new()),
            "LAMPHOUSE_LISTEN" => Some("[::1]:0".to_owned()),
            _ => None,
        };
        let config = Config::parse(Path::new("/project"), "", env).expect("a configuration");
        assert_eq!(config.log, DatabaseUrl::Postgres("postgres://db/log".to_owned()));
        assert_eq!(config.tables, DatabaseUrl::Sqlite("/project/tables.db".into()));
        assert_eq!(config.listen, "[::1]:0");
        let wrong = Config::parse(Path::new("/project"), "", |_| Some("somewhere:1".to_owned()))
            .expect_err("mistakes");
        assert_eq!(wrong.mistakes.len(), 5);
    }

    #[test]
    fn the_standard_variables_name_the_collector() {
        let parse = |variables: &'static [(&str, &str)]| {
            let env = |name: &str| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let text = "[telemetry]\notlp_endpoint = \"http://file:4318\"\n";
            Config::parse(Path::new("/project"), text, env)
        };
        let url = |variables| {
            let config = parse(variables).expect("a configuration");
            config.telemetry.traces().map(|traces| traces.traces_url)
        };
        assert_eq!(url(&[]).as_deref(), Some("http://file:4318/v1/traces"));
        assert_eq!(
            url(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://env:4318/base/")]).as_deref(),
            Some("https://env:4318/base/v1/traces")
        );
        assert_eq!(
            url(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://env/in/full")]).as_deref(),
            Some("http://env/in/full")
        );
        assert_eq!(url(&[("OTEL_SDK_DISABLED", "true")]), None);
        let wrong = parse(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]).expect_err("a mistake");
        insta::assert_snapshot!(wrong, @"/project/lamphouse.toml: environment variable OTEL_EXPORTER_OTLP_ENDPOINT 'collector:4318' must be the address of a collector, for example http://127.0.0.1:4318");
    }

    #[test]
    fn a_missing_file_names_init() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = Config::load_with(folder.path(), |_| None)
            .expect_err("a mistake")
            .to_string();
        assert!(error.contains("lamphouse init"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_text_names_the_line() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), b"[log]\n\xff").expect("written");
        let error = Config::load_with(folder.path(), |_| None)
            .expect_err("a mistake")
            .to_string();
        assert!(error.ends_with("line 2: is not UTF-8 text"), "{error}");
    }
}
