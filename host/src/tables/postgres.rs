//! The tables on PostgreSQL.

use std::sync::Arc;

use super::{StoreError, TableStore};

/// Opens the tables of a PostgreSQL database.
pub(super) fn open(_url: &str, _runtime: tokio::runtime::Handle) -> Result<Arc<dyn TableStore>, StoreError> {
    Err(StoreError::Invalid(
        "tables on PostgreSQL are not there yet: set [tables] url to sqlite:PATH".to_owned(),
    ))
}
