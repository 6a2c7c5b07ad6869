//! The loop: `lamphouse-fuzz TARGET SECONDS SEED SCRATCH [--keep]`. Called by `cargo xtask fuzz`, which compiles it with
//! counters.
//!
//! The input that is being tried stands in `SCRATCH` before it is tried, so that one that takes the process with it
//! (a stack, an abort, a run without end) is there afterwards. With `--keep`, the kept corpus becomes what this run found
//! worth keeping.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lamphouse_fuzz::coverage::Coverage;
use lamphouse_fuzz::mutate::Mutator;
use lamphouse_fuzz::{TARGETS, Target, check, corpus};
use sha2::{Digest as _, Sha256};

/// Longest input of the kept corpus, which lies in the repository.
const KEPT_BYTES_MAX: usize = 512;
/// After how long a run is taken to have no end.
const ENDLESS: Duration = Duration::from_secs(20);
/// Counts the runs, for the thread that watches for one without end.
static RUNS: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, seconds, seed, scratch, rest @ ..] = &arguments[..] else {
        bail!("lamphouse-fuzz TARGET SECONDS SEED SCRATCH [--keep]; use `cargo xtask fuzz`");
    };
    let target = TARGETS
        .into_iter()
        .find(|target| target.name == name)
        .with_context(|| format!("there is no target {name}"))?;
    let coverage =
        Coverage::new().context("this program was compiled without counters; use `cargo xtask fuzz`")?;
    let mut fuzzer = Fuzzer {
        target,
        coverage,
        corpus: Vec::new(),
        scratch: File::create(scratch).with_context(|| format!("cannot make {scratch}"))?,
    };
    watch_for_one_without_end();
    let (seconds, seed) = (
        seconds.parse().context("seconds")?,
        seed.parse().context("a seed")?,
    );
    let found = fuzzer.fuzz(Duration::from_secs(seconds), seed)?;
    if let Some(input) = found {
        eprintln!("the input: {}", input.escape_ascii());
        return Ok(false);
    }
    if rest.iter().any(|argument| argument == "--keep") {
        fuzzer.keep(&corpus(target.name))?;
    }
    Ok(true)
}

/// How a run of an input went.
#[derive(PartialEq, Eq)]
enum Tried {
    /// Something does not hold.
    Failed,
    /// It passed what no input before it did.
    New,
    Known,
}

struct Fuzzer {
    target: Target,
    coverage: Coverage,
    corpus: Vec<Vec<u8>>,
    scratch: File,
}

impl Fuzzer {
    /// Tries inputs until the time is over, or until one fails: that one.
    fn fuzz(&mut self, time: Duration, seed: u64) -> Result<Option<Vec<u8>>> {
        let began = Instant::now();
        for input in kept(&corpus(self.target.name))? {
            if self.try_one(&input)? == Tried::Failed {
                return Ok(Some(input));
            }
            self.corpus.push(input);
        }
        let (known, known_edges) = (self.corpus.len(), self.coverage.edges_seen());
        let mut mutator = Mutator::new(seed, self.target.words, self.target.bytes_max);
        let mut runs = 0_u64;
        while began.elapsed() < time {
            let input = mutator.next(&self.corpus);
            runs += 1;
            match self.try_one(&input)? {
                Tried::Failed => return Ok(Some(input)),
                Tried::New => self.corpus.push(input),
                Tried::Known => {}
            }
        }
        eprintln!(
            "{:<12} {runs} runs in {} s (seed {seed}): {} of {} edges, {} of them new; {} inputs, {} of them new",
            self.target.name,
            began.elapsed().as_secs(),
            self.coverage.edges_seen(),
            self.coverage.edges(),
            self.coverage.edges_seen() - known_edges,
            self.corpus.len(),
            self.corpus.len() - known
        );
        Ok(None)
    }

    fn try_one(&mut self, input: &[u8]) -> Result<Tried> {
        let mut record = u32::try_from(input.len())?.to_be_bytes().to_vec();
        record.extend_from_slice(input);
        self.scratch
            .write_all_at(&record, 0)
            .context("the scratch file")?;
        RUNS.fetch_add(1, Ordering::Relaxed);
        self.coverage.reset();
        let target = self.target;
        let good = catch_unwind(AssertUnwindSafe(|| check(&target, input))).is_ok();
        let new = self.coverage.take();
        Ok(match (good, new) {
            (false, _) => Tried::Failed,
            (true, true) => Tried::New,
            (true, false) => Tried::Known,
        })
    }

    /// Makes the kept corpus anew: of all inputs, the short ones first, those that pass an edge that none before did.
    fn keep(&mut self, folder: &Path) -> Result<()> {
        self.corpus.sort_by_key(Vec::len);
        self.coverage.forget();
        let inputs = std::mem::take(&mut self.corpus);
        fs::create_dir_all(folder)?;
        for file in fs::read_dir(folder)?.flatten() {
            // What has a name of its own was a finding, and stays.
            let name = file.file_name();
            if name.len() == 16
                && name
                    .to_str()
                    .is_some_and(|name| u64::from_str_radix(name, 16).is_ok())
            {
                fs::remove_file(file.path())?;
            }
        }
        let mut kept = 0;
        for input in inputs.iter().filter(|input| input.len() <= KEPT_BYTES_MAX) {
            let before = self.coverage.edges_seen();
            self.try_one(input)?;
            if self.coverage.edges_seen() > before {
                let digest = Sha256::digest(input);
                let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                fs::write(folder.join(name), input)?;
                kept += 1;
            }
        }
        eprintln!(
            "{:<12} {kept} inputs are kept in {}",
            self.target.name,
            folder.display()
        );
        Ok(())
    }
}

/// The inputs of a folder, by name.
fn kept(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let Ok(files) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).with_context(|| path.display().to_string()))
        .collect()
}

/// Ends the process where one run takes too long: its input is in the scratch file.
fn watch_for_one_without_end() {
    std::thread::spawn(|| {
        loop {
            let before = RUNS.load(Ordering::Relaxed);
            std::thread::sleep(ENDLESS);
            if before > 0 && RUNS.load(Ordering::Relaxed) == before {
                eprintln!("a run has not ended after {ENDLESS:?}");
                std::process::abort();
            }
        }
    });
}
