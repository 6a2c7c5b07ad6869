//! What a call of a projector needs of the world: the sandbox's imports, or the test harness's tables.

use lamphouse_contract::{Key, Row, Value};

use crate::Result;

/// Rows by key and by index.
pub(crate) trait Host {
    /// Makes packed changes, in order.
    fn apply(&mut self, changes: &[u8]) -> Result<()>;
    /// Answers packed reads.
    fn read(&mut self, reads: &[u8]) -> Result<Vec<u8>>;
    /// Rows of one page, in key order.
    fn find(
        &mut self,
        table: u32,
        index: u32,
        prefix: &[Value],
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<Row>>;
}
