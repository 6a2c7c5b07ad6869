//! What is imported: a file or standard input, plain, gzip or zstd by its first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Read at once from a file, and handed on at once by a decoder.
const BUFFER_BYTES: usize = 256 << 10;
/// The largest window that a zstd file may ask for, as a power of two: what `zstd --long=31` makes.
const ZSTD_WINDOW_LOG_MAX: u32 = 31;

/// Something to import, which can be read from its start more than once.
pub(super) struct Input {
    /// As messages name it: the path, or `standard input`.
    pub(super) name: String,
    place: Place,
}

enum Place {
    Path(PathBuf),
    /// A nameless copy of standard input.
    Spooled(File),
    /// Standard input itself: can be read once.
    Stdin,
}

impl Input {
    pub(super) fn path(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            place: Place::Path(path.to_owned()),
        }
    }

    pub(super) fn stdin() -> Self {
        Self {
            name: "standard input".to_owned(),
            place: Place::Stdin,
        }
    }

    /// Whether it can be read once only: a pipe.
    pub(super) fn is_stream(&self) -> bool {
        match &self.place {
            // What is not there is reported when it is opened.
            Place::Path(path) => path
                .metadata()
                .is_ok_and(|about| !about.is_file() && !about.is_dir()),
            Place::Spooled(_) => false,
            Place::Stdin => true,
        }
    }

    /// A nameless copy in a folder, made by reading it to its end.
    pub(super) fn spooled(self, folder: &Path) -> io::Result<Self> {
        // It may be the data folder, which is for its owner's eyes only.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let path = folder.join(format!("import-{}", std::process::id()));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        // Without its name it goes away with this process, however that ends.
        std::fs::remove_file(&path)?;
        match &self.place {
            Place::Path(path) => io::copy(&mut File::open(path)?, &mut file)?,
            Place::Spooled(_) => return Ok(self),
            Place::Stdin => io::copy(&mut io::stdin().lock(), &mut file)?,
        };
        file.flush()?;
        Ok(Self {
            name: self.name,
            place: Place::Spooled(file),
        })
    }

    /// Reads from the start.
    pub(super) fn open(&self) -> io::Result<Reading> {
        let (file, bytes): (Box<dyn Read + Send>, Option<u64>) = match &self.place {
            Place::Path(path) => {
                let file = File::open(path)?;
                let about = file.metadata()?;
                if about.is_dir() {
                    return Err(io::Error::new(
                        io::ErrorKind::IsADirectory,
                        "is a folder; name the files in it",
                    ));
                }
                (Box::new(file), about.is_file().then_some(about.len()))
            }
            Place::Spooled(file) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(0))?;
                let bytes = file.metadata()?.len();
                (Box::new(file), Some(bytes))
            }
            Place::Stdin => (Box::new(io::stdin()), None),
        };
        let meter = Meter::default();
        let counted = Counted {
            inner: file,
            meter: meter.clone(),
        };
        Ok(Reading {
            text: decode(counted)?,
            meter,
            bytes,
        })
    }
}

/// An input while it is read.
pub(super) struct Reading {
    /// Uncompressed.
    pub(super) text: Box<dyn BufRead + Send>,
    /// Compressed bytes read so far.
    pub(super) meter: Meter,
    /// Compressed bytes in all, where that is known.
    pub(super) bytes: Option<u64>,
}

/// Counts compressed bytes; shared with whoever shows the progress.
#[derive(Clone, Default)]
pub(super) struct Meter(Arc<AtomicU64>);

impl Meter {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted<R> {
    inner: R,
    meter: Meter,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// By the first bytes; a file's name says nothing.
pub(super) fn decode(mut source: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut magic = [0; 4];
    let mut have = 0;
    while have < magic.len() {
        match source.read(&mut magic[have..]) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let whole = BufReader::with_capacity(
        BUFFER_BYTES,
        io::Cursor::new(magic).take(have as u64).chain(source),
    );
    Ok(match magic {
        [0x1f, 0x8b, ..] if have >= 2 => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            flate2::bufread::MultiGzDecoder::new(whole),
        )),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        }
        _ => Box::new(whole),
    })
}
