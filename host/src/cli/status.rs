//! `lamphouse status`: how everything stands.

use std::time::Duration;

use anyhow::Result;

use super::interrupt::Interrupt;
use super::output::{Output, Style};
use super::place::Place;
use super::table::{Cell, Look, lay_out, plain, plain_lines};
use super::units;
use crate::deploy::operator::{
    FileStatus, GenerationStatus, HostInfo, HostStatus, ProjectionStatus, UpcasterStatus,
};

/// Between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Show the host, the log, every projection, and what is wrong
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse status
  lamphouse status --watch
  lamphouse status --json | jq '.projections[] | {name, state, lag: .live.lag_events}'")]
pub(super) struct Status {
    /// Look again every second, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

impl Status {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let reached = place.reach()?;
        if !self.watch {
            let status = reached.operator.status()?;
            if out.json {
                return out.document(&status);
            }
            return render(&status, out.width(), out.style)
                .iter()
                .try_for_each(|line| out.line(line));
        }
        let interrupt = Interrupt::listen(place.runtime(), "");
        while !interrupt.is_set() {
            let status = reached.operator.status()?;
            if out.json {
                out.json_line(&status)?;
            } else {
                let lines = render(&status, out.width(), out.style);
                if out.width().is_some() {
                    // Home, then what is there, then nothing below: does not flicker as clearing first does.
                    out.raw(b"\x1b[H")?;
                    lines
                        .iter()
                        .try_for_each(|line| out.line(format!("{}\x1b[K", line.replace('\n', "\x1b[K\n"))))?;
                    out.raw(b"\x1b[J")?;
                } else {
                    lines.iter().try_for_each(|line| out.line(line))?;
                    out.line("")?;
                }
            }
            out.flush()?;
            std::thread::sleep(WATCH_EVERY);
        }
        Ok(())
    }
}

/// The whole status for a person.
fn render(status: &HostStatus, width: Option<usize>, style: Style) -> Vec<String> {
    let head = status.log.head;
    let mut lines = vec![
        format!("{}  {}", style.dim("host"), host(&status.host, style)),
        format!(
            "{}   {}, head {}",
            style.dim("log"),
            status.log.database,
            units::count(head)
        ),
    ];
    for problem in &status.problems {
        lines.push(style.bad(&format!("problem: {}", plain_lines(problem))));
    }
    lines.push(String::new());
    if status.projections.is_empty() {
        lines.push("no projection yet: put a projector into the plugin folder".to_owned());
    } else {
        let headings = [
            "projection",
            "state",
            "version",
            "generation",
            "checkpoint",
            "lag",
            "rate",
            "doing",
        ];
        let rows: Vec<Vec<Cell>> = status
            .projections
            .iter()
            .flat_map(|projection| rows(projection, head))
            .collect();
        lines.extend(lay_out(&headings, &rows, width, style));
    }
    let remarks: Vec<String> = status
        .projections
        .iter()
        .flat_map(|projection| remarks(projection, style))
        .collect();
    if !remarks.is_empty() {
        lines.push(String::new());
        lines.extend(remarks);
    }
    if !status.upcasters.is_empty() {
        lines.push(String::new());
        let rows: Vec<Vec<Cell>> = status.upcasters.iter().map(upcaster).collect();
        lines.extend(lay_out(
            &["upcaster", "version", "concerns", ""],
            &rows,
            width,
            style,
        ));
    }
    let refused: Vec<&FileStatus> = status
        .files
        .iter()
        .filter(|file| file.state != "deployed")
        .collect();
    if !refused.is_empty() {
        lines.push(String::new());
        lines.extend(refused.into_iter().map(|file| {
            let text = format!("{}: {}", plain(&file.file), plain(&file.state));
            let painted = if file.state == "refused" {
                style.bad(&text)
            } else {
                style.busy(&text)
            };
            let message = plain_lines(&file.message);
            if message.is_empty() {
                painted
            } else {
                format!("{painted}: {message}")
            }
        }));
    }
    lines
}

fn host(host: &HostInfo, style: Style) -> String {
    if !host.running {
        return style.busy("not running; 'lamphouse serve' starts one");
    }
    let place = host
        .address
        .as_ref()
        .map(|address| format!(" at {address}"))
        .unwrap_or_default();
    let pid = host.pid.map(|pid| format!("pid {pid}, ")).unwrap_or_default();
    let role = if host.role == "owner" {
        String::new()
    } else {
        format!(", {}", plain(&host.role))
    };
    format!(
        "{}{place} ({pid}version {}{role})",
        style.good("running"),
        plain(&host.version)
    )
}

/// A projection's line, and one for each other generation that is of interest.
fn rows(projection: &ProjectionStatus, head: u64) -> Vec<Vec<Cell>> {
    let look = match projection.state.as_str() {
        _ if !projection.healthy => Look::Bad,
        "live" => Look::Good,
        _ => Look::Busy,
    };
    let name = Cell::text(&projection.name).look(Look::Bold);
    let state = Cell::text(&projection.state).look(look);
    let mut generations = projection.live.iter().chain(&projection.others).peekable();
    if generations.peek().is_none() {
        let empty = std::iter::repeat_with(|| Cell::text("")).take(5);
        return vec![
            [name, state]
                .into_iter()
                .chain(empty)
                .chain([Cell::text(&projection.message)])
                .collect(),
        ];
    }
    let mut leading = Some([name, state]);
    generations
        .map(|generation| {
            let [name, state] = leading.take().unwrap_or_else(|| [Cell::text(""), Cell::text("")]);
            let mut row = vec![name, state];
            row.extend(figures(generation, head));
            row
        })
        .collect()
}

fn figures(generation: &GenerationStatus, head: u64) -> [Cell; 6] {
    let checkpoint = units::count(generation.checkpoint);
    let share = match (generation.state.as_str(), head) {
        ("building", 1..) => format!(" ({:.0} %)", generation.checkpoint as f64 / head as f64 * 100.0),
        _ => String::new(),
    };
    let lag = match (generation.lag_events, generation.lag_ms) {
        (0, _) => "0".to_owned(),
        (events, 0) => units::count(events),
        (events, ms) => format!("{} ({})", units::count(events), units::duration(ms)),
    };
    let rate = generation.events_per_second.map(units::rate).unwrap_or_default();
    let left = generation
        .time_left_ms
        .map(|ms| format!(", {} left", units::duration(ms)))
        .unwrap_or_default();
    let is_old = generation.state == "retired";
    let look = |cell: Cell| if is_old { cell.look(Look::Dim) } else { cell };
    [
        look(Cell::text(&generation.version)),
        look(Cell::text(format!(
            "g{} {}",
            generation.generation, generation.state
        ))),
        look(Cell::figure(checkpoint + &share)),
        look(Cell::figure(lag)),
        look(Cell::figure(rate)),
        look(Cell::text(format!("{}{left}", generation.activity))),
    ]
}

fn upcaster(upcaster: &UpcasterStatus) -> Vec<Cell> {
    let concerns = if upcaster.projections.is_empty() {
        "no projection".to_owned()
    } else {
        upcaster.projections.join(", ")
    };
    let left = if upcaster.deployed {
        ""
    } else {
        "no longer deployed"
    };
    vec![
        Cell::text(&upcaster.name).look(Look::Bold),
        Cell::text(&upcaster.version),
        Cell::text(concerns),
        Cell::text(left).look(Look::Busy),
    ]
}

/// What a person should know beside the figures.
fn remarks(projection: &ProjectionStatus, style: Style) -> Vec<String> {
    let name = plain(&projection.name);
    let mut remarks = Vec::new();
    if let Some(reason) = &projection.paused {
        let because = if reason.is_empty() {
            String::new()
        } else {
            format!(": {}", plain(reason))
        };
        remarks.push(style.busy(&format!(
            "{name} is paused{because}; 'lamphouse resume {name}' goes on"
        )));
    }
    if let Some(held) = &projection.held {
        remarks.push(style.busy(&format!("{name} is {}", plain(held))));
    }
    if let Some(lacks) = &projection.incomplete {
        remarks.push(style.bad(&format!(
            "{name} is incomplete: {}; 'lamphouse dead-letters list {name}' says why",
            plain(lacks)
        )));
    }
    if projection.reordered {
        remarks.push(style.busy(&format!(
            "{name} is reordered: dead letters were replayed after later events; 'lamphouse rebuild {name}' brings it in \
             order"
        )));
    }
    let is_news = !projection.healthy || !["live", "paused"].contains(&projection.state.as_str());
    if is_news && !projection.message.is_empty() && !projection.message.starts_with("incomplete:") {
        let text = format!("{name}: {}", plain_lines(&projection.message));
        remarks.push(if projection.healthy {
            style.busy(&text)
        } else {
            style.bad(&text)
        });
    }
    remarks
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::deploy::operator::LogStatus;

    pub(in crate::cli) fn generation(
        number: i64,
        version: &str,
        state: &str,
        checkpoint: u64,
    ) -> GenerationStatus {
        GenerationStatus {
            generation: number,
            version: version.to_owned(),
            digest: "ab".repeat(32),
            upcasters: Vec::new(),
            because: Vec::new(),
            state: state.to_owned(),
            checkpoint,
            lag_events: 567_806 - checkpoint,
            lag_ms: if checkpoint == 567_806 { 0 } else { 65_000 },
            events_per_second: None,
            time_left_ms: None,
            activity: "following".to_owned(),
            cache_is_whole: false,
            cache_bytes: 0,
            parked_events: 0,
            parked_streams: 0,
            reordered: false,
            tables: vec!["orders".to_owned()],
            fault: None,
            log: Vec::new(),
            profile: None,
        }
    }

    pub(in crate::cli) fn projection(
        name: &str,
        state: &str,
        live: Option<GenerationStatus>,
    ) -> ProjectionStatus {
        ProjectionStatus {
            name: name.to_owned(),
            state: state.to_owned(),
            healthy: true,
            message: String::new(),
            needs_decision: false,
            hindered: false,
            paused: None,
            held: None,
            refused: None,
            incomplete: None,
            reordered: false,
            live,
            others: Vec::new(),
        }
    }

    pub(in crate::cli) fn status(projections: Vec<ProjectionStatus>) -> HostStatus {
        HostStatus {
            host: HostInfo {
                running: true,
                version: "0.1.0".to_owned(),
                pid: Some(4_711),
                address: Some("127.0.0.1:7117".to_owned()),
                role: "owner".to_owned(),
                settled: true,
            },
            log: LogStatus {
                database: "sqlite".to_owned(),
                id: "an-id".to_owned(),
                head: 567_806,
            },
            projections,
            upcasters: Vec::new(),
            files: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn shown(status: &HostStatus) -> String {
        render(status, None, Style::default()).join("\n")
    }

    #[test]
    fn a_rebuild_beside_live_tables() {
        let mut orders = projection(
            "order-summary",
            "building",
            Some(generation(3, "1.0.0", "live", 567_806)),
        );
        orders.message = "version 2.0.0 is being built".to_owned();
        orders.others.push(GenerationStatus {
            events_per_second: Some(48_211.4),
            time_left_ms: Some(9_200),
            activity: "rebuilding".to_owned(),
            ..generation(4, "2.0.0", "building", 123_000)
        });
        orders.others.push(generation(2, "0.9.0", "retired", 567_000));
        insta::assert_snapshot!(shown(&status(vec![orders])), @"
        host  running at 127.0.0.1:7117 (pid 4711, version 0.1.0)
        log   sqlite, head 567,806

        projection     state     version  generation       checkpoint                  lag      rate  doing
        order-summary  building  1.0.0    g3 live             567,806                    0            following
                                 2.0.0    g4 building  123,000 (22 %)  444,806 (1 min 5 s)  48,211/s  rebuilding, 9.2 s left
                                 0.9.0    g2 retired          567,000      806 (1 min 5 s)            following

        order-summary: version 2.0.0 is being built
        ");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut faulted = projection("orders", "faulted", Some(generation(3, "1.0.0", "live", 41)));
        faulted.healthy = false;
        faulted.message = "the projector trapped at position 42: unreachable".to_owned();
        let mut paused = projection("names", "paused", None);
        paused.paused = Some("the audit\u{1b}[31m".to_owned());
        let mut all = status(vec![faulted, paused]);
        all.host.running = false;
        all.problems
            .push("the plugin folder /srv/plugins is missing; make it again".to_owned());
        all.files.push(FileStatus {
            file: "bad.wasm".to_owned(),
            kind: None,
            state: "refused".to_owned(),
            plugin: None,
            version: None,
            digest: None,
            message: "it is not Wasm".to_owned(),
        });
        insta::assert_snapshot!(shown(&all), @r"
        host  not running; 'lamphouse serve' starts one
        log   sqlite, head 567,806
        problem: the plugin folder /srv/plugins is missing; make it again

        projection  state    version  generation  checkpoint                  lag  rate  doing
        orders      faulted  1.0.0    g3 live             41  567,765 (1 min 5 s)        following
        names       paused

        orders: the projector trapped at position 42: unreachable
        names is paused: the audit\u{1b}[31m; 'lamphouse resume names' goes on

        bad.wasm: refused: it is not Wasm
        ");
    }

    #[test]
    fn upcasters_are_listed_with_what_they_concern() {
        let orders = projection("orders", "live", Some(generation(3, "1.0.0", "live", 567_806)));
        let mut all = status(vec![orders]);
        let upcaster = |version: &str, deployed, projections: &[&str]| UpcasterStatus {
            name: "order-upcasters".to_owned(),
            version: version.to_owned(),
            digest: "cd".repeat(32),
            deployed,
            projections: projections.iter().map(ToString::to_string).collect(),
        };
        all.upcasters = vec![
            upcaster("1.0.0", false, &["names", "orders"]),
            upcaster("1.1.0", true, &[]),
        ];
        insta::assert_snapshot!(shown(&all), @"
        host  running at 127.0.0.1:7117 (pid 4711, version 0.1.0)
        log   sqlite, head 567,806

        projection  state  version  generation  checkpoint  lag  rate  doing
        orders      live   1.0.0    g3 live        567,806    0        following

        upcaster         version  concerns
        order-upcasters  1.0.0    names, orders  no longer deployed
        order-upcasters  1.1.0    no projection
        ");
    }

    #[test]
    fn an_empty_project_says_what_to_do() {
        insta::assert_snapshot!(shown(&status(Vec::new())), @"
        host  running at 127.0.0.1:7117 (pid 4711, version 0.1.0)
        log   sqlite, head 567,806

        no projection yet: put a projector into the plugin folder
        ");
    }
}
