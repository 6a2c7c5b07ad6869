//! `lamphouse dead-letters`: events that a projector could not take, and what is to become of them.

mod render;

use anyhow::{Result, anyhow, bail};
use serde::Serialize;

use super::UsageError;
use super::output::Output;
use super::place::Place;
use super::session::user;
use super::table::{plain, plain_lines};
use super::today::story_lines;
use super::units;
use crate::api::RemoteOperator;
use crate::core::{EventId, GenerationId, PluginName, Position, StoredEvent};
use crate::deploy::difference::generation_number;
use crate::deploy::kept_upcasters;
use crate::deploy::operator::{LettersOutcome, Operator, Verb};
use crate::deploy::story::dead_letter;
use crate::tables::{DeadLetter, Discard, DiscardQuery, LetterQuery, TableStore};

/// Look at parked events, replay them, or leave them out
///
/// With `on_fault = "dead-letter"` in lamphouse.toml, an event that a plugin cannot take is parked, and so is every later
/// event of its stream, in order; other streams go on. The tables lack what is parked until it is replayed, a mended
/// version of the plugin is deployed, or somebody decides to leave it out.
#[derive(Debug, clap::Args)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Retry(Retry),
    Discard(DiscardArgs),
}

/// List parked events, in the order of the log
///
/// Those of the public generations and of the ones on their way; what a retired generation had parked is in the tables of
/// its successor, or parked there too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse dead-letters list
  lamphouse dead-letters list order-summary --stream order-7
  lamphouse dead-letters list order-summary --generation 3
  lamphouse dead-letters list --discarded")]
struct List {
    /// Only this projection's
    #[arg(value_name = "NAME")]
    projection: Option<String>,
    /// Only this stream's
    #[arg(long, value_name = "ID")]
    stream: Option<String>,
    /// Only this generation's: 3 or g3; a retired one's too
    #[arg(long, value_name = "N", value_parser = generation_number, conflicts_with = "discarded")]
    generation: Option<i64>,
    /// Also those of retired generations
    #[arg(long, conflicts_with_all = ["discarded", "generation"])]
    retired: bool,
    /// List what was discarded instead: by whom, when and why
    #[arg(long)]
    discarded: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

/// Show one parked event: what failed and where, the plugin's last words, the event before and after upcasting
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse dead-letters show order-summary 4711
  lamphouse dead-letters show order-summary 0195f3a8-7c1e-7d3f-8b5a-000000000001")]
struct Show {
    /// The projection
    #[arg(value_name = "NAME")]
    projection: String,
    /// The event's position or id
    #[arg(value_name = "EVENT")]
    event: String,
}

/// Replay parked events, each stream's in order, up to the first that still fails
///
/// They go through the plugin and upcasters of the public generation. Each one that succeeds is in the tables and no
/// longer parked, in one transaction. Useful after a limit was raised, or after the event before them was discarded; a
/// mended version of the plugin builds its tables anew, with every event at its place.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse dead-letters retry order-summary
  lamphouse dead-letters retry order-summary --stream order-7")]
struct Retry {
    /// The projection
    #[arg(value_name = "NAME")]
    projection: String,
    /// Only this stream's
    #[arg(long, value_name = "ID")]
    stream: Option<String>,
    /// Apply events after others that came later, although the plugin does not declare `partition = stream`; marks the
    /// projection reordered until it is built anew
    #[arg(long)]
    accept_reorder: bool,
}

/// Leave an event out, now and whenever the projection is built anew; on record
///
/// It must be parked, or be the one at which the projection has stopped. What waits behind it in its stream stays parked
/// until it is retried.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse dead-letters discard order-summary 4711 --reason 'test order of the launch, agreed with finance'
  lamphouse dead-letters discard order-summary --stream order-7 --reason 'the whole stream is a duplicate of order-8'")]
struct DiscardArgs {
    /// The projection
    #[arg(value_name = "NAME")]
    projection: String,
    /// The event's position or id
    #[arg(value_name = "EVENT", required_unless_present = "stream")]
    event: Option<String>,
    /// Everything of this stream that is parked
    #[arg(long, value_name = "ID", conflicts_with = "event")]
    stream: Option<String>,
    /// Why, in 10 to 500 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl DeadLetters {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        match self.command {
            Command::List(list) => list.run(place, out),
            Command::Show(show) => show.run(place, out),
            Command::Retry(retry) => retry.run(place, out),
            Command::Discard(discard) => discard.run(place, out),
        }
    }
}

/// What `list --json` prints.
#[derive(Serialize)]
struct Listed {
    dead_letters: Vec<DeadLetter>,
}

/// What `list --discarded --json` prints.
#[derive(Serialize)]
struct ListedDiscards {
    discarded: Vec<Discard>,
}

impl List {
    fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let session = match place {
            Place::Project(session) => session,
            Place::Host(remote) => return self.run_elsewhere(&remote.operator, out),
        };
        let store = session.tables()?;
        let projection = match &self.projection {
            Some(name) => Some(known(&*store, name)?),
            None => None,
        };
        if self.discarded {
            let discarded = store.discard_page(&DiscardQuery {
                projection,
                stream_id: self.stream,
                after: None,
                limit: self.limit,
            })?;
            return show_discards(discarded, out);
        }
        if let Some(number) = self.generation {
            there_is(&*store, number, projection.as_ref())?;
        }
        let skip_retired = !self.retired && self.generation.is_none();
        let query = LetterQuery {
            projection,
            generation: self.generation.map(GenerationId),
            stream_id: self.stream,
            skip_retired,
            limit: self.limit.saturating_add(1),
            ..LetterQuery::default()
        };
        let mut letters = store.dead_letters(&query)?;
        let is_cut = letters.len() as u64 > self.limit;
        letters.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        if letters.is_empty() && !out.json {
            let hidden = LetterQuery {
                skip_retired: false,
                limit: 1,
                ..query
            };
            return out.line(match skip_retired && !store.dead_letters(&hidden)?.is_empty() {
                true => "no dead letters (--retired lists those of retired generations)",
                false => "no dead letters",
            });
        }
        show_letters(letters, is_cut, out)
    }

    /// The same of a host elsewhere.
    fn run_elsewhere(self, operator: &RemoteOperator, out: &mut Output) -> Result<()> {
        let (projection, stream) = (self.projection.as_deref(), self.stream.as_deref());
        let mut after: Option<String> = None;
        let mut left = self.limit;
        if self.discarded {
            let mut discarded = Vec::new();
            loop {
                let page = operator.discards(projection, stream, after.as_deref(), left.min(PAGE))?;
                left -= page.discarded.len() as u64;
                discarded.extend(page.discarded);
                after = page.next;
                if after.is_none() || left == 0 {
                    return show_discards(discarded, out);
                }
            }
        }
        let mut letters = Vec::new();
        loop {
            let limit = left.min(PAGE);
            let page = operator.dead_letters(
                projection,
                stream,
                self.generation,
                self.retired,
                after.as_deref(),
                limit,
            )?;
            left -= page.dead_letters.len() as u64;
            letters.extend(page.dead_letters);
            after = page.next;
            if after.is_none() || left == 0 {
                break;
            }
        }
        if letters.is_empty() && !out.json {
            return out.line("no dead letters");
        }
        show_letters(letters, after.is_some(), out)
    }
}

/// Dead letters of one answer of a host elsewhere.
const PAGE: u64 = 1_000;

fn show_letters(letters: Vec<DeadLetter>, is_cut: bool, out: &mut Output) -> Result<()> {
    if out.json {
        return out.document(&Listed {
            dead_letters: letters,
        });
    }
    render::letters(&letters, out.width(), out.style)
        .iter()
        .try_for_each(|line| out.line(line))?;
    if is_cut {
        out.line("there are more; --limit shows them")?;
    }
    Ok(())
}

fn show_discards(discarded: Vec<Discard>, out: &mut Output) -> Result<()> {
    if out.json {
        return out.document(&ListedDiscards { discarded });
    }
    if discarded.is_empty() {
        return out.line("nothing was discarded");
    }
    render::discards(&discarded, out.width(), out.style)
        .iter()
        .try_for_each(|line| out.line(line))
}

impl Show {
    fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let shown = match place {
            Place::Project(session) => {
                let (log, store) = (session.log()?, session.tables()?);
                let projection = known(&*store, &self.projection)?;
                let event = find_event(&*log, &self.event)?.id.to_string();
                let upcasters = |generation: &_| kept_upcasters(&session.config, &*store, generation);
                dead_letter(&*log, &*store, upcasters, &projection, &event)?
            }
            Place::Host(remote) => remote.operator.dead_letter(&self.projection, &self.event)?,
        };
        if out.json {
            return out.document(&shown);
        }
        let mut lines = render::letter(&shown.dead_letter, out.style);
        lines.push(String::new());
        lines.extend(story_lines(&shown.story, out.style));
        lines.iter().try_for_each(|line| out.line(line))
    }
}

/// What `retry --json` and `discard --json` print.
#[derive(Serialize)]
struct Settled {
    projection: String,
    message: String,
    #[serde(flatten)]
    outcome: LettersOutcome,
}

impl Retry {
    fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let operator = place.reach()?.operator;
        let mut all = LettersOutcome::default();
        let message = loop {
            let verb = Verb::RetryDeadLetters {
                stream_id: self.stream.clone(),
                accept_reorder: self.accept_reorder,
            };
            let outcome = operator.operate(&self.projection, verb)?;
            let letters = outcome.letters.unwrap_or_default();
            let is_over = !letters.more;
            all = LettersOutcome {
                replayed: all.replayed + letters.replayed,
                ..letters
            };
            if is_over {
                break outcome.message;
            }
        };
        let failed = all.failed.len();
        if out.json {
            out.document(&Settled {
                projection: self.projection,
                message,
                outcome: all,
            })?;
        } else {
            out.line(plain_lines(&message))?;
            for failure in &all.failed {
                out.line(format!(
                    "  {} at position {}: {}",
                    plain(&failure.stream_id),
                    units::count(failure.position),
                    out.style.bad(&plain_lines(&failure.message))
                ))?;
            }
        }
        match failed {
            0 => Ok(()),
            1 => bail!("1 stream has an event that still fails"),
            failed => bail!("{failed} streams have an event that still fails"),
        }
    }
}

impl DiscardArgs {
    fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let event_id = match &self.event {
            Some(event) => Some(place.event_id(event)?),
            None => None,
        };
        let verb = Verb::DiscardDeadLetters {
            event_id,
            stream_id: self.stream,
            reason: self.reason,
            by: user(),
        };
        let outcome = place.reach()?.operator.operate(&self.projection, verb)?;
        if out.json {
            return out.document(&Settled {
                projection: self.projection,
                message: outcome.message,
                outcome: outcome.letters.unwrap_or_default(),
            });
        }
        out.line(plain_lines(&outcome.message))
    }
}

/// The event of a position or an id.
pub(super) fn find_event(log: &dyn crate::log::EventLog, text: &str) -> Result<StoredEvent> {
    let found = if let Ok(position) = text.replace([',', '_'], "").parse::<u64>() {
        // No log is longer than what a signed number holds.
        match i64::try_from(position) {
            Ok(_) => log.event(Position(position))?,
            Err(_) => None,
        }
    } else if let Ok(id) = uuid::Uuid::parse_str(text) {
        log.event_by_id(EventId(id))?
    } else {
        return Err(anyhow!(UsageError(format!(
            "'{}' is neither a position nor an event id",
            plain(text)
        ))));
    };
    match found {
        Some(event) => Ok(event),
        None => bail!(
            "the log has no event {}; its last one is at position {}",
            plain(text),
            units::count(log.head()?.position.0)
        ),
    }
}

/// Refuses the number of a generation that is not there, or that is another projection's.
fn there_is(store: &dyn TableStore, number: i64, projection: Option<&PluginName>) -> Result<()> {
    let all = store.generations()?;
    let own = all
        .iter()
        .filter(|one| projection.is_none_or(|projection| one.projection == *projection));
    let numbers: Vec<String> = own.map(|one| one.id.to_string()).collect();
    let of = projection.map_or(String::new(), |projection| format!(" of {projection}"));
    match (
        numbers.contains(&GenerationId(number).to_string()),
        numbers.as_slice(),
    ) {
        (true, _) => Ok(()),
        (false, []) => bail!("there is no generation{of}"),
        (false, numbers) => bail!(
            "there is no generation g{number}{of}; there are: {}",
            numbers.join(", ")
        ),
    }
}

fn known(store: &dyn TableStore, name: &str) -> Result<PluginName> {
    let all = store.projections()?;
    match all.iter().find(|record| record.name.as_str() == name) {
        Some(record) => Ok(record.name.clone()),
        None => {
            let names: Vec<&str> = all.iter().map(|record| record.name.as_str()).collect();
            let there = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            bail!("there is no projection '{}'; there are: {there}", plain(name))
        }
    }
}
