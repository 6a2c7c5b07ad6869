//! Gathers what `lamphouse plugin new` writes (templates, cases, the SDKs) for the binary to hold.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const LANGUAGES: [&str; 5] = ["rust", "typescript", "python", "go", "c"];
const KINDS: [&str; 2] = ["projector", "upcaster"];
/// What tools leave beside sources.
const MADE: [&str; 5] = ["node_modules", "target", "build", "dist", "__pycache__"];

fn main() {
    // Asked for when it runs: a compiled build script may serve a checkout that has moved.
    let host = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&host).join("..");
    let mut gathered = Gathered {
        root,
        table: String::from("&[\n"),
        watched: BTreeSet::new(),
    };
    for kind in KINDS {
        gathered.tree("", kind, &format!("sdk/cases/{kind}"));
    }
    for language in LANGUAGES {
        for kind in KINDS {
            gathered.tree(language, kind, &format!("sdk/{language}/templates/{kind}"));
        }
        gathered.vendored(language);
    }
    gathered.add("rust", "workspace", "Cargo.toml", "Cargo.toml");
    gathered.table.push_str("]\n");
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("embedded.rs"), &gathered.table)
        .expect("the output folder can be written");
    for path in &gathered.watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

struct Gathered {
    root: PathBuf,
    table: String,
    watched: BTreeSet<PathBuf>,
}

impl Gathered {
    fn add(&mut self, language: &str, part: &str, path: &str, file: &str) {
        let file = self.root.join(file);
        writeln!(
            self.table,
            "    ({language:?}, {part:?}, {path:?}, include_bytes!({:?})),",
            file.display().to_string()
        )
        .expect("a string takes everything");
        self.watched.insert(file);
    }

    /// Every `.tmpl` below a folder.
    fn tree(&mut self, language: &str, part: &str, folder: &str) {
        let base = self.root.join(folder);
        self.watched.insert(base.clone());
        let templates = files(&base, &base, &mut self.watched);
        assert!(!templates.is_empty(), "{folder} holds no template");
        for path in templates {
            if let Some(name) = path.strip_suffix(".tmpl") {
                self.add(language, part, name, &format!("{folder}/{path}"));
            }
        }
    }

    /// What the language's `VENDORED` lists: globs from its folder, or with a leading `/` from the root.
    fn vendored(&mut self, language: &str) {
        let own = format!("sdk/{language}");
        let list = self.root.join(&own).join("VENDORED");
        self.watched.insert(list.clone());
        let list = fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
        let mut added = BTreeSet::new();
        for line in list.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (base, glob) = match line.strip_prefix('/') {
                Some(glob) => (String::new(), glob),
                None => (format!("{own}/"), line),
            };
            // Where the fixed part of the glob ends.
            let fixed: Vec<&str> = glob.split('/').take_while(|part| !part.contains('*')).collect();
            let start = self.root.join(&base).join(fixed.join("/"));
            let found = match start.is_file() {
                true => vec![glob.to_owned()],
                false => files(&self.root.join(&base), &start, &mut self.watched)
                    .into_iter()
                    .filter(|path| matches(glob, path))
                    .collect(),
            };
            assert!(!found.is_empty(), "{own}/VENDORED: nothing matches {line}");
            for path in found {
                // A package folder of the SDK's own name is the folder `lamphouse/` itself.
                let to = path.strip_prefix("lamphouse/").unwrap_or(&path).to_owned();
                if added.insert(to.clone()) {
                    self.add(language, "sdk", &to, &format!("{base}{path}"));
                }
            }
        }
    }
}

/// Paths, relative to `base`, of the files below a folder; without what tools left there.
fn files(base: &Path, folder: &Path, watched: &mut BTreeSet<PathBuf>) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("it can be read")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    // Cargo looks below a folder too: one with a tool's leftovers is left to its files.
    let is_clean = !entries
        .iter()
        .any(|entry| is_made(&entry.file_name().to_string_lossy()));
    if is_clean {
        watched.insert(folder.to_owned());
    }
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !is_made(&name) {
                found.extend(files(base, &path, watched));
            }
        } else if let Ok(inside) = path.strip_prefix(base) {
            found.push(inside.to_str().expect("our own names are UTF-8").to_owned());
        }
    }
    found
}

fn is_made(name: &str) -> bool {
    MADE.contains(&name) || (name.starts_with('.') && !name.ends_with(".tmpl")) || name.ends_with(".egg-info")
}

/// Whether a path is meant: `*` is anything but `/`, `**` any number of folders.
fn matches(glob: &str, path: &str) -> bool {
    fn parts(globs: &[&str], names: &[&str]) -> bool {
        match (globs, names) {
            ([], []) => true,
            (["**"], _) => !names.is_empty(),
            (["**", rest @ ..], _) => (0..=names.len()).any(|skip| parts(rest, &names[skip..])),
            ([glob, globs @ ..], [name, names @ ..]) => {
                part(glob.as_bytes(), name.as_bytes()) && parts(globs, names)
            }
            _ => false,
        }
    }
    fn part(glob: &[u8], name: &[u8]) -> bool {
        match (glob, name) {
            ([], []) => true,
            ([b'*', glob @ ..], _) => (0..=name.len()).any(|skip| part(glob, &name[skip..])),
            ([g, glob @ ..], [n, name @ ..]) => g == n && part(glob, name),
            _ => false,
        }
    }
    parts(
        &glob.split('/').collect::<Vec<_>>(),
        &path.split('/').collect::<Vec<_>>(),
    )
}
