//! Files compiled to what checks events.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use super::counted::Counted;
use super::files::Read;
use super::json;
use super::name::{self, EventName, Kind, kind};
use crate::core::address::decoded;
use crate::core::limits::UnknownTypes;

/// Bytes of one compiled pattern. A pattern of a few characters with nested counts could else take gigabytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// References in all files together. Each is one more step that compiling and checking may go down.
const REFS_MAX: usize = 6_000;
/// Stack of the thread that compiles, and of each check: deep enough for as many references behind each other, and
/// only as much of it is used as it takes.
pub(super) const STACK_BYTES: usize = 256 << 20;
/// Where the files are, as far as references between them are concerned. No other address is ever looked at.
const BASE: &str = "lamphouse-schemas:///";
/// Characters of a problem.
const PROBLEM_CHARS_MAX: usize = 500;

/// The schema of one event type in one version.
#[derive(Debug)]
pub struct Schema {
    /// Name of its file.
    pub file: String,
    /// What the file holds.
    pub document: Arc<Value>,
    pub(super) validator: Validator<Counted>,
}

/// The schemas that count together.
#[derive(Debug, Default)]
pub struct Set {
    schemas: BTreeMap<EventName, BTreeMap<u32, Schema>>,
    /// Files that others refer to, and those of the schemas.
    documents: BTreeMap<String, Arc<Value>>,
    /// Why the schema of a type cannot be used.
    broken: BTreeMap<EventName, BTreeMap<u32, String>>,
    /// Why nothing is known of any schema.
    unreadable: Option<String>,
    is_whole: bool,
    pub(super) unknown: UnknownTypes,
}

impl Set {
    /// The schema of a type and version.
    pub fn schema(&self, event_type: &str, schema_version: u32) -> Option<&Schema> {
        find(&self.schemas, event_type, schema_version)
    }

    /// Why a type and version's schema cannot be used, if there is one that cannot.
    pub fn broken(&self, event_type: &str, schema_version: u32) -> Option<&str> {
        self.unreadable
            .as_deref()
            .or_else(|| find(&self.broken, event_type, schema_version).map(String::as_str))
    }

    /// Each schema with its version, and its type unless that is known by its digest alone; by name of the type.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, u32, &Schema)> {
        self.schemas.iter().flat_map(|(name, versions)| {
            let text = match name {
                EventName::Text(text) => Some(text.as_str()),
                EventName::Digest(_) => None,
            };
            versions
                .iter()
                .map(move |(version, schema)| (text, *version, schema))
        })
    }

    /// Every file, those too that others refer to.
    pub fn documents(&self) -> &BTreeMap<String, Arc<Value>> {
        &self.documents
    }

    /// How many schemas.
    pub fn len(&self) -> usize {
        self.schemas.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.schemas.is_empty()
    }

    /// Whether nothing was wrong with any file.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(super) fn unreadable(unknown: UnknownTypes, why: String) -> Self {
        Self {
            unreadable: Some(why),
            unknown,
            ..Self::default()
        }
    }

    /// Compiles files; says what is wrong with each that cannot be used.
    pub(super) fn compile(files: BTreeMap<String, Read>, unknown: UnknownTypes) -> (Self, Vec<String>) {
        let compiling = move || Compiling::default().all(files, unknown);
        let spawned = std::thread::Builder::new()
            .name("schemas-compile".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(compiling);
        let failed = |why: String| {
            let why = format!("the schemas of events cannot be compiled: {why}");
            (Self::unreadable(unknown, why.clone()), vec![why])
        };
        match spawned.map(std::thread::JoinHandle::join) {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(_)) => {
                failed("the compiler failed, which is a bug; the log of the host has its words".to_owned())
            }
            Err(error) => failed(format!("the machine gave no thread: {error}")),
        }
    }
}

fn find<'s, T>(
    map: &'s BTreeMap<EventName, BTreeMap<u32, T>>,
    event_type: &str,
    schema_version: u32,
) -> Option<&'s T> {
    if map.is_empty() {
        return None;
    }
    let by_text = map.get(&EventName::Text(event_type.to_owned()));
    let by_digest = || map.get(&EventName::Digest(name::digest(event_type)));
    by_text
        .and_then(|versions| versions.get(&schema_version))
        .or_else(|| by_digest()?.get(&schema_version))
}

#[derive(Default)]
struct Compiling {
    set: Set,
    problems: Vec<String>,
}

impl Compiling {
    fn all(mut self, files: BTreeMap<String, Read>, unknown: UnknownTypes) -> (Set, Vec<String>) {
        self.set.unknown = unknown;
        let mut wanted = Vec::new();
        let mut refs = 0;
        for (file, read) in files {
            let kind = match kind(&file) {
                Ok(kind) => kind,
                Err(why) => {
                    self.problem(&file, &why);
                    continue;
                }
            };
            let document = read.and_then(|bytes| {
                json::read(&bytes).map_err(|error| format!("it is not JSON that can be used: {error}"))
            });
            match document {
                Ok(document) => {
                    refs += references(&document);
                    self.set.documents.insert(file.clone(), Arc::new(document));
                    if let Kind::Event(name, version) = kind {
                        wanted.push((file, name, version));
                    }
                }
                Err(why) => self.broken(&file, kind, &why),
            }
        }
        if refs > REFS_MAX {
            let why =
                format!("the schema files have {refs} references, and {REFS_MAX} may be; merge some of them");
            self.problems.push(why.clone());
            return (Set::unreadable(unknown, why), self.problems);
        }
        let folder = Arc::new(Folder::of(&self.set.documents));
        for (file, name, version) in wanted {
            let document = self.set.documents[&file].clone();
            match compile(&file, &document, &folder) {
                Ok(validator) => {
                    let schema = Schema {
                        file,
                        document,
                        validator,
                    };
                    self.set.schemas.entry(name).or_default().insert(version, schema);
                }
                Err(why) => self.broken(&file, Kind::Event(name, version), &why),
            }
        }
        self.set.is_whole = self.problems.is_empty();
        (self.set, self.problems)
    }

    fn problem(&mut self, file: &str, why: &str) {
        let shown: String = file.chars().take(260).collect();
        let why: String = why.chars().take(PROBLEM_CHARS_MAX).collect();
        self.problems.push(format!("schema file {shown}: {why}"));
    }

    fn broken(&mut self, file: &str, kind: Kind, why: &str) {
        self.problem(file, why);
        if let Kind::Event(name, version) = kind {
            let why = self.problems.last().cloned().unwrap_or_default();
            self.set.broken.entry(name).or_default().insert(version, why);
        }
    }
}

/// How many references a document has.
fn references(document: &Value) -> usize {
    let mut count = 0;
    let mut left = vec![document];
    while let Some(value) = left.pop() {
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(entries) => {
                for (key, value) in entries {
                    count += usize::from(
                        value.is_string() && matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef"),
                    );
                    left.push(value);
                }
            }
            _ => {}
        }
    }
    count
}

fn compile(file: &str, document: &Value, folder: &Arc<Folder>) -> Result<Validator<Counted>, String> {
    jsonschema::options_for::<Counted>()
        .with_base_uri(format!("{BASE}{}", escaped(file)))
        .with_retriever(Shared(folder.clone()))
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(PATTERN_BYTES_MAX)
                .dfa_size_limit(PATTERN_BYTES_MAX),
        )
        .should_validate_formats(true)
        .build(document)
        .map_err(|error| match error.instance_path().as_str() {
            "" => format!("it is no schema that can be used: {}", error.masked()),
            place => format!("it is no schema that can be used, at {place}: {}", error.masked()),
        })
}

/// A file's name in an address.
fn escaped(file: &str) -> String {
    file.replace('%', "%25")
}

/// What references may lead to.
struct Folder {
    by_file: HashMap<String, Arc<Value>>,
    /// By the `$id` of a file, without a fragment.
    by_id: HashMap<String, Arc<Value>>,
    /// What stands before the last `/` of each `$id`: relative to such an address, a reference by file name is meant.
    id_folders: Vec<String>,
}

impl Folder {
    fn of(documents: &BTreeMap<String, Arc<Value>>) -> Self {
        let mut folder = Self {
            by_file: documents
                .iter()
                .map(|(file, document)| (file.clone(), document.clone()))
                .collect(),
            by_id: HashMap::new(),
            id_folders: Vec::new(),
        };
        for document in documents.values() {
            let Some(id) = document.get("$id").and_then(Value::as_str) else {
                continue;
            };
            let id = id.split('#').next().unwrap_or_default();
            folder.by_id.insert(id.to_owned(), document.clone());
            if let Some((before, _)) = id.rsplit_once('/') {
                folder.id_folders.push(before.to_owned());
            }
        }
        folder
    }

    fn find(&self, address: &str) -> Option<&Arc<Value>> {
        let address = address.split('#').next().unwrap_or_default();
        if let Some(document) = self.by_id.get(address) {
            return Some(document);
        }
        let (before, file) = address.rsplit_once('/')?;
        let is_ours = format!("{before}/") == BASE || self.id_folders.iter().any(|folder| folder == before);
        is_ours.then(|| self.by_file.get(&decoded(file)?)).flatten()
    }
}

struct Shared(Arc<Folder>);

impl Retrieve for Shared {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let found = self.0.find(uri.as_str());
        match found {
            Some(document) => Ok((**document).clone()),
            None => {
                Err("no file of the schema folder has this name or $id, and nothing else is looked at".into())
            }
        }
    }
}
