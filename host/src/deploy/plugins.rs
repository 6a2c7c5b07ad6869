//! Files of the plugin folder as a person asks for them: what is there, what is in a file, put one in, take one out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::conductor::Conductor;
use super::detail::{TableShape, table_shapes};
use super::operator::{HostStatus, OperateError};
use super::plan::Step;
use super::stage::FileState;
use super::uploads::Received;
use crate::core::PluginDigest;
use crate::plugin::{AnyPlugin, Lane};
use crate::tables::ProjectionRecord;
use crate::tables::ddl::Dialect;

/// A file of the plugin folder, or a plugin that is deployed and has no file any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginStatus {
    /// What it is asked for by: the file's name without `.wasm`, or the plugin's own where there is no file.
    pub name: String,
    /// Its file; null where that was removed.
    pub file: Option<String>,
    /// `projector` or `upcaster`, once known.
    pub kind: Option<String>,
    /// The plugin that it holds, once known.
    pub plugin: Option<String>,
    /// Its version, once known.
    pub version: Option<String>,
    /// SHA-256 of its file, once known.
    pub digest: Option<String>,
    /// `deployed`, `refused`, `held` (by a rollback), `settling` (it is being looked at) or `removed` (it has no file;
    /// what it made is still there).
    pub state: String,
    /// Why it is not deployed, and what to do; empty when it is.
    pub message: String,
    /// The projections that it makes, or whose events it lifts.
    pub projections: Vec<String>,
}

/// A plugin, and what is in its file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PluginDetail {
    /// How it stands.
    #[serde(flatten)]
    pub status: PluginStatus,
    /// What its file holds; null where that is no plugin, is being looked at, or is gone.
    pub contents: Option<Contents>,
}

/// What a plugin declares, and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contents {
    /// Bytes of its file.
    pub bytes: u64,
    /// How its calls cross the boundary: `typed` or `packed`.
    pub lane: String,
    /// The events that a projector takes.
    pub subscriptions: Vec<SubscriptionShape>,
    /// The tables that a projector keeps.
    pub tables: Vec<TableShape>,
    /// What an upcaster takes and gives.
    pub rules: Vec<RuleShape>,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
}

/// Events that a projector takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionShape {
    /// Of this type; null: of any.
    pub event_type: Option<String>,
    /// In streams of this type; null: of any.
    pub stream_type: Option<String>,
    /// Of these schema versions; empty: of any.
    pub schema_versions: Vec<u32>,
}

/// What an upcaster makes of one type of event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleShape {
    /// Event type and schema version: `LineAdded 1`.
    pub takes: String,
    /// The same of what it gives; empty: it drops the event.
    pub gives: Vec<String>,
}

/// What must be so for a file to be replaced or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// There must be a file.
    Present,
    /// There must be none.
    Absent,
    /// There must be a file of one of these digests.
    OneOf(Vec<PluginDigest>),
}

/// What came of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Installed {
    /// What it is asked for by from now on.
    pub name: String,
    /// Its file in the plugin folder.
    pub file: String,
    /// `projector` or `upcaster`.
    pub kind: String,
    /// The plugin's own name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// `deployed` (these bytes were already), `deploying` (watch it), or `held` (a rollback holds it back; the message
    /// says how to go on).
    pub state: String,
    /// One sentence for a person.
    pub message: String,
    /// The projections that it makes, or whose events it lifts.
    pub projections: Vec<String>,
}

/// What came of a removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// The file that is gone.
    pub file: String,
    /// One sentence for a person.
    pub message: String,
    /// The projections that stop; their tables stay.
    pub projections: Vec<String>,
}

/// Every file of the plugin folder, by name, and what is deployed without one.
pub fn list(status: &HostStatus) -> Vec<PluginStatus> {
    let lifts = |name: &str, digest: Option<&str>| {
        let known = status.upcasters.iter().filter(|upcaster| upcaster.name == name);
        let same = known.filter(|upcaster| digest.is_none_or(|digest| upcaster.digest == digest));
        same.flat_map(|upcaster| upcaster.projections.iter().cloned())
            .collect()
    };
    let mut all: Vec<PluginStatus> = status
        .files
        .iter()
        .map(|file| PluginStatus {
            name: file.file.strip_suffix(".wasm").unwrap_or(&file.file).to_owned(),
            file: Some(file.file.clone()),
            kind: file.kind.clone(),
            plugin: file.plugin.clone(),
            version: file.version.clone(),
            digest: file.digest.clone(),
            state: file.state.clone(),
            message: file.message.clone(),
            projections: match (file.kind.as_deref(), &file.plugin) {
                (Some("upcaster"), Some(plugin)) => lifts(plugin, file.digest.as_deref()),
                (_, Some(plugin)) => {
                    let made = status.projections.iter().filter(|made| made.name == *plugin);
                    made.map(|made| made.name.clone()).collect()
                }
                (_, None) => Vec::new(),
            },
        })
        .collect();
    let has_file = |kind: &str, name: &str| {
        status
            .files
            .iter()
            .any(|file| file.kind.as_deref() == Some(kind) && file.plugin.as_deref() == Some(name))
    };
    // Before the folder is judged, nothing can be said of what is not in it.
    let is_judged = status.files.iter().all(|file| file.state != "settling");
    if !is_judged {
        return all;
    }
    for projection in &status.projections {
        if has_file("projector", &projection.name) {
            continue;
        }
        let shown = projection.live.as_ref().or(projection.others.first());
        all.push(PluginStatus {
            name: projection.name.clone(),
            file: None,
            kind: Some("projector".to_owned()),
            plugin: Some(projection.name.clone()),
            version: shown.map(|shown| shown.version.clone()),
            digest: shown.map(|shown| shown.digest.clone()),
            state: "removed".to_owned(),
            message: projection.message.clone(),
            projections: vec![projection.name.clone()],
        });
    }
    for upcaster in &status.upcasters {
        if has_file("upcaster", &upcaster.name) {
            continue;
        }
        all.push(PluginStatus {
            name: upcaster.name.clone(),
            file: None,
            kind: Some("upcaster".to_owned()),
            plugin: Some(upcaster.name.clone()),
            version: Some(upcaster.version.clone()),
            digest: Some(upcaster.digest.clone()),
            state: "removed".to_owned(),
            message: "its file is gone; the tables that were built with it still use it".to_owned(),
            projections: lifts(&upcaster.name, Some(&upcaster.digest)),
        });
    }
    all
}

impl Contents {
    /// What is in a file.
    pub(crate) fn of(plugin: &AnyPlugin, bytes: &[u8], dialect: Dialect) -> Self {
        let lane = match plugin.lane() {
            Lane::Typed => "typed",
            Lane::Packed => "packed",
        };
        let mut contents = Self {
            bytes: bytes.len() as u64,
            lane: lane.to_owned(),
            subscriptions: Vec::new(),
            tables: Vec::new(),
            rules: Vec::new(),
            options: BTreeMap::new(),
            imports: crate::plugin::imports(bytes),
        };
        match plugin {
            AnyPlugin::Projector(plugin) => {
                let descriptor = plugin.descriptor();
                let subscriptions = descriptor.subscriptions.iter();
                contents.subscriptions = subscriptions
                    .map(|one| SubscriptionShape {
                        event_type: one.event_type.clone(),
                        stream_type: one.stream_type.clone(),
                        schema_versions: one.schema_versions.clone(),
                    })
                    .collect();
                contents.tables = table_shapes(&descriptor.tables, dialect);
                contents.options = descriptor.options.iter().cloned().collect();
            }
            AnyPlugin::Upcaster(upcaster) => {
                let descriptor = upcaster.descriptor();
                let rules = descriptor.rules.iter();
                contents.rules = rules
                    .map(|rule| RuleShape {
                        takes: rule.takes.to_string(),
                        gives: rule.gives.iter().map(ToString::to_string).collect(),
                    })
                    .collect();
                contents.options = descriptor.options.iter().cloned().collect();
            }
        }
        contents
    }
}

impl Conductor {
    /// The plugin of a file and its bytes, if it is one.
    pub(super) fn staged(&self, file: &str) -> Option<(AnyPlugin, Arc<[u8]>)> {
        match self.files.state(file)? {
            FileState::Staged(plugin, bytes) => Some((plugin.clone(), bytes.clone())),
            FileState::Staging | FileState::Refused(_) => None,
        }
    }

    /// Whether the folder had this file when it was looked at last.
    pub(super) fn has_file(&self, file: &str) -> bool {
        self.files.state(file).is_some()
    }

    /// Refuses what this host cannot do now, before anything is compiled for it.
    pub(super) fn may_install(&self) -> Result<(), OperateError> {
        self.must_own()?;
        match &self.folder {
            Some(_) => Ok(()),
            None => Err(OperateError::Refused(
                "this host does not look at the plugin folder".to_owned(),
            )),
        }
    }

    /// Puts an upload into the folder, if it may be deployed beside what is there.
    pub(super) fn install(
        &mut self,
        file: &str,
        plugin: &AnyPlugin,
        bytes: &Arc<[u8]>,
        received: &Received,
        condition: &Condition,
    ) -> Result<Installed, OperateError> {
        self.may_install()?;
        let path = self.path_of(file);
        self.check(file, &path, condition)?;
        let before = self.staged(file);
        if let Some((there, _)) = &before
            && (there.name(), there.kind()) != (plugin.name(), plugin.kind())
        {
            return Err(OperateError::Refused(format!(
                "{file} holds the {} '{}', and this is the {} '{}': give it another name, or remove {file} first",
                there.kind(),
                there.name(),
                plugin.kind(),
                plugin.name()
            )));
        }
        let with = self.files.with(file, plugin.clone(), bytes.clone());
        let without = std::mem::replace(&mut self.files, with);
        let weighed = self.weigh();
        self.files = without;
        let wanted = weighed
            .wanted
            .map_err(|conflict| OperateError::Refused(conflict.to_string()))?;
        if let Some(why) = weighed.words.get(file) {
            return Err(OperateError::Invalid(why.clone()));
        }
        let (name, version) = (plugin.name(), plugin.version());
        let mut installed = Installed {
            name: file.strip_suffix(".wasm").unwrap_or(file).to_owned(),
            file: file.to_owned(),
            kind: plugin.kind().to_owned(),
            plugin: name.to_owned(),
            version: version.to_owned(),
            digest: received.digest().to_string(),
            bytes: received.len(),
            state: "deploying".to_owned(),
            message: format!("{name} {version} is in the plugin folder as {file}, and is being deployed"),
            projections: Vec::new(),
        };
        let mut is_deployed = true;
        match plugin {
            AnyPlugin::Projector(_) => {
                installed.projections.push(name.to_owned());
                let candidate = weighed.candidates.iter().find(|one| one.file == file);
                if let Some(candidate) = candidate {
                    match self.step(candidate) {
                        Step::Refused(why) => return Err(OperateError::Invalid(why)),
                        Step::Held(why) => {
                            installed.state = "held".to_owned();
                            installed.message = why;
                        }
                        Step::Nothing | Step::Withdraw | Step::NewGeneration => {}
                    }
                    let code = candidate.code();
                    is_deployed = self.projections.get(name).is_some_and(|projection| {
                        let live = projection.live();
                        live.is_some_and(|live| live.record.code() == code) && !projection.record.removed
                    });
                }
            }
            AnyPlugin::Upcaster(_) => {
                let concerned = weighed.candidates.iter().filter(|candidate| {
                    let mut upcasters = candidate.upcasters.iter();
                    upcasters.any(|upcaster| upcaster.digest == plugin.digest())
                });
                installed.projections = concerned.map(|candidate| candidate.name.clone()).collect();
                is_deployed = wanted.iter().any(|wanted| wanted.digest == plugin.digest());
            }
        }
        let is_there = before.is_some_and(|(there, _)| there.digest() == received.digest());
        if is_there {
            if is_deployed && installed.state != "held" {
                installed.state = "deployed".to_owned();
                installed.message = format!("{name} {version} is deployed already, with these very bytes");
            }
            return Ok(installed);
        }
        received.put(&path).map_err(|error| {
            OperateError::Unavailable(format!("{} cannot be put in place: {error}", path.display()))
        })?;
        tracing::info!(file, plugin = name, version, digest = %received.digest().short(), "A plugin was put into the folder over HTTP");
        self.files.expect(file);
        self.seen_again();
        Ok(installed)
    }

    /// Takes a file out of the folder. Its projection stops, and its tables stay.
    pub(super) fn remove_plugin(
        &mut self,
        file: &str,
        condition: &Condition,
    ) -> Result<Removed, OperateError> {
        self.may_install()?;
        let away = |what: &str, error: &dyn std::fmt::Display| {
            OperateError::Unavailable(format!("{what} cannot be removed: {error}"))
        };
        if self.files.state(file).is_none() {
            return Err(OperateError::NotFound(format!(
                "there is no {file} in the plugin folder"
            )));
        }
        let path = self.path_of(file);
        self.check(file, &path, condition)?;
        let is_deployed = |name: &str| {
            self.file_status
                .iter()
                .any(|status| status.file == name && matches!(status.state.as_str(), "deployed" | "held"))
        };
        let mut projections = Vec::new();
        if let Some((AnyPlugin::Projector(plugin), _)) = self.staged(file)
            && is_deployed(file)
            && let Some(projection) = self.projections.get_mut(&plugin.descriptor().name)
        {
            // Recorded first, because somebody has said it: an empty folder alone would not be taken for it.
            let record = ProjectionRecord {
                removed: true,
                ..projection.record.clone()
            };
            let store = &self.surroundings.store;
            store
                .save_projection(&record)
                .map_err(|error| away(file, &error))?;
            projection.record = record;
            projections.push(plugin.descriptor().name.clone());
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                // The next judgement finds the file, and the projection goes on.
                self.judged = false;
                return Err(away(&path.display().to_string(), &error));
            }
            _ => {}
        }
        tracing::info!(file, "A plugin was removed from the folder over HTTP");
        self.files.forget(file);
        self.seen_again();
        let message = match projections.as_slice() {
            [] => format!("{file} is removed"),
            names => format!(
                "{file} is removed; {} stops, and its tables stay",
                names.join(", ")
            ),
        };
        Ok(Removed {
            file: file.to_owned(),
            message,
            projections,
        })
    }

    fn path_of(&self, file: &str) -> std::path::PathBuf {
        self.config.plugins.join(file)
    }

    /// The folder is another than it was; what is said of its files must be too.
    fn seen_again(&mut self) {
        self.judged = false;
        self.next_look = std::time::Instant::now();
        let words = self
            .file_status
            .iter()
            .filter(|status| status.state != "deployed");
        let words = words.map(|status| (status.file.clone(), status.message.clone()));
        self.describe_files(&words.collect());
    }

    fn check(&self, file: &str, path: &Path, condition: &Condition) -> Result<(), OperateError> {
        let changed = |why: String| Err(OperateError::Changed(why));
        if *condition == Condition::None {
            return Ok(());
        }
        let there = match self.files.state(file) {
            Some(FileState::Staged(plugin, _)) => Some(plugin.digest()),
            _ => match std::fs::read(path) {
                Ok(bytes) => Some(PluginDigest::of(&bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => {
                    return Err(OperateError::Unavailable(format!(
                        "{} cannot be read: {error}",
                        path.display()
                    )));
                }
            },
        };
        match (condition, there) {
            (Condition::Absent, Some(there)) => changed(format!(
                "{file} is there already, with digest {there}; nothing was changed"
            )),
            (Condition::Present | Condition::OneOf(_), None) => changed(format!(
                "there is no {file} in the plugin folder; nothing was changed"
            )),
            (Condition::OneOf(wanted), Some(there)) if !wanted.contains(&there) => changed(format!(
                "{file} has digest {there}, which is not what the request names; nothing was changed: look at it again"
            )),
            _ => Ok(()),
        }
    }
}
