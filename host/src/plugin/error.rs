//! Why a file is no plugin that this host can run.

use super::cut::{cut, cut_list};
use super::{CallError, LogLine};
use crate::core::Class;

/// Entries of a list in a message, and bytes of each: a guest may be wrong in any number of ways.
const LISTED_MAX: usize = 20;
const LISTED_BYTES_MAX: usize = 400;

/// Why a plugin was refused. The text is for its author: what is wrong, and what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PluginError {
    /// The file is something else; the text says what it looks like.
    #[error("{0}")]
    NotWasm(String),
    /// It begins as WebAssembly, and then is not: cut short, damaged, or of an unknown proposal.
    #[error("{0}")]
    Invalid(String),
    /// A sound component or module, but of another world.
    #[error("{0}")]
    World(String),
    /// It imports what plugins do not get.
    #[error("{}", imports_text(imports))]
    Imports {
        /// The names, as the file has them.
        imports: Vec<String>,
    },
    /// A limit of the file itself; the text names the knob.
    #[error("{0}")]
    TooLarge(String),
    /// `describe` trapped, failed or ran into a limit.
    #[error("describe did not answer: {}", error.message)]
    Describe {
        /// What happened.
        error: CallError,
        /// What the guest wrote before it.
        log: Vec<LogLine>,
    },
    /// `describe` was called twice and said two things.
    #[error("{0}")]
    DescribeDiffers(String),
    /// What `describe` says cannot be run.
    #[error("{}", descriptor_text(problems))]
    Descriptor {
        /// Everything that is wrong, a sentence each.
        problems: Vec<String>,
    },
    /// Valid WebAssembly that could not be compiled.
    #[error("{0}")]
    Compile(String),
    /// The host's side: no engine, no code cache.
    #[error("{0}")]
    Host(String),
}

impl PluginError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Describe { error, .. } => error.class,
            Self::Host(_) => Class::Bug,
            _ => Class::Fault,
        }
    }
}

fn imports_text(imports: &[String]) -> String {
    format!(
        "the plugin imports {}, which plugins do not get: there are lamphouse:plugin/tables and /log, and a WASI 0.2 \
         without network, files and real time (cli, clocks, random, io, filesystem, sockets). Remove what needs it",
        cut_list(imports, LISTED_MAX, 100).join(", ")
    )
}

fn descriptor_text(problems: &[String]) -> String {
    match problems {
        [only] => format!(
            "the plugin's descriptor is not valid: {}",
            cut(only, LISTED_BYTES_MAX)
        ),
        many => format!(
            "the plugin's descriptor is not valid:\n- {}",
            cut_list(many, LISTED_MAX, LISTED_BYTES_MAX / 2).join("\n- ")
        ),
    }
}
