//! A projector as native code in a pipeline of the host's: for measuring what the sandbox costs.

use lamphouse_contract::{Key, Row, Value};

use crate::host::Host;
use crate::run::run;
use crate::{Error, Projector, Result};

/// Rows, in the packed form that a guest would use; the errors are texts.
pub trait Tables {
    /// Makes packed changes, in order.
    fn apply(&mut self, changes: &[u8]) -> Result<(), String>;
    /// Answers packed reads.
    fn read(&mut self, reads: &[u8]) -> Result<Vec<u8>, String>;
}

struct Outside<'t>(&'t mut dyn Tables);

impl Host for Outside<'_> {
    fn apply(&mut self, changes: &[u8]) -> Result<()> {
        self.0.apply(changes).map_err(Error::new)
    }

    fn read(&mut self, reads: &[u8]) -> Result<Vec<u8>> {
        self.0.read(reads).map_err(Error::new)
    }

    fn find(
        &mut self,
        _table: u32,
        _index: u32,
        _prefix: &[Value],
        _after: Option<&Key>,
        _limit: u32,
    ) -> Result<Vec<Row>> {
        Err(Error::new(
            "look-ups by an index are not there outside the sandbox",
        ))
    }
}

/// What the exported `project` does in a guest: packed events to packed changes.
///
/// # Errors
/// What the projector failed with, as text.
pub fn project<P: Projector>(events: &[u8], tables: &mut dyn Tables) -> Result<Vec<u8>, String> {
    run::<P>(&P::describe(), events, &mut Outside(tables)).map_err(|failure| failure.message)
}
