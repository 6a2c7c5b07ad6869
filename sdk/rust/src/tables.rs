use std::any::TypeId;

use lamphouse_contract::semantics::{self, Violation};
use lamphouse_contract::{TableSchema, Value, ValueRef};

use crate::host::Host;
use crate::memo::Memo;
use crate::plugin::Plugin;
use crate::row::{Cell, Index, IntoKey, IntoPrefix, LOOKED_AT_MAX, Row, View};
use crate::{Error, Result};

/// Rows that one page of [`Tables::find`] asks the host for.
const FIND_PAGE_ROWS: u32 = 1_000;

/// The projector's own tables, for the time of one call.
///
/// Reads see every change made before them. All changes of the call go in together, or, if the call fails, not at
/// all. A change that the table's declaration does not allow fails the call, even if its error is ignored.
pub struct Tables<'h> {
    plugin: &'h Plugin,
    host: &'h mut dyn Host,
    memo: Memo,
    /// The first change that was not allowed.
    broken: Option<String>,
}

impl<'h> Tables<'h> {
    pub(crate) fn new(plugin: &'h Plugin, host: &'h mut dyn Host) -> Self {
        Self {
            plugin,
            host,
            memo: Memo::default(),
            broken: None,
        }
    }

    /// A row by its key: a value, or a tuple for a key of several columns.
    #[track_caller]
    pub fn get<R: Row>(&mut self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        self.look::<R>(key)?.map(|row| row.to_row()).transpose()
    }

    /// Looks at a row without copying its texts.
    #[track_caller]
    pub fn look<R: Row>(&mut self, key: impl IntoKey<R::Key>) -> Result<Option<View<'_, R>>> {
        let at = self.place::<R>(key)?;
        if self.memo.is_unread(at) {
            let read = self.memo.read([at], &self.plugin.descriptor, self.host);
            self.allowed(read)?;
        }
        Ok(self.memo.row(at).map(|row| View::new(row)))
    }

    /// Rows by their keys, read together: in the order of the keys, None where there is no row.
    #[track_caller]
    pub fn get_many<R: Row>(
        &mut self,
        keys: impl IntoIterator<Item = impl IntoKey<R::Key>>,
    ) -> Result<Vec<Option<R>>> {
        let places = keys
            .into_iter()
            .map(|key| self.place::<R>(key))
            .collect::<Result<Vec<usize>>>()?;
        let read = self
            .memo
            .read(places.iter().copied(), &self.plugin.descriptor, self.host);
        self.allowed(read)?;
        places
            .into_iter()
            .map(|at| self.memo.row(at).map(|row| R::from_values(row)).transpose())
            .collect()
    }

    /// All rows whose first indexed columns have these values, in the order of their keys. They are copied, so they may
    /// be changed while you go through them. For groups too large to hold at once, use [`Tables::find_page`].
    #[track_caller]
    pub fn find<R: Row, C>(&mut self, index: Index<R, C>, values: impl IntoPrefix<C>) -> Result<Vec<R>> {
        let prefix = values.into_prefix();
        let mut rows: Vec<R> = Vec::new();
        loop {
            let page = self.page(index.index, prefix.clone(), rows.last(), FIND_PAGE_ROWS)?;
            let is_last = page.len() < FIND_PAGE_ROWS as usize;
            rows.extend(page);
            if is_last {
                return Ok(rows);
            }
        }
    }

    /// One page of [`Tables::find`]: at most `limit` rows, those after the row `after` in the order of their keys.
    #[track_caller]
    pub fn find_page<R: Row, C>(
        &mut self,
        index: Index<R, C>,
        values: impl IntoPrefix<C>,
        after: Option<&R>,
        limit: u32,
    ) -> Result<Vec<R>> {
        self.page(index.index, values.into_prefix(), after, limit)
    }

    /// Inserts a row, or replaces the one with its key.
    #[track_caller]
    pub fn put<R: Row>(&mut self, row: R) -> Result<()> {
        let table = self.table::<R>()?;
        let declared = &self.plugin.descriptor.tables[table as usize];
        let row = semantics::conform_row(declared, row.into_values());
        let row = self.allowed(row.map_err(Error::from))?;
        let at = self.memo.place(table, semantics::key_of(declared, &row));
        let done = self
            .memo
            .replace(at, Some(row), &self.plugin.descriptor, self.host);
        self.allowed(done)
    }

    /// Changes cells of a row that must be there; an absent one fails the call.
    ///
    /// ```
    /// # use lamphouse_sdk::prelude::*;
    /// # #[derive(Row)]
    /// # #[row(table = "orders")]
    /// # struct Order { #[row(key)] order_id: String, lines: i64, status: String }
    /// fn ship(tables: &mut Tables<'_>, order_id: &str) -> Result<()> {
    ///     tables.patch(order_id, [Order::STATUS.set("shipped"), Order::LINES.add(1)])
    /// }
    /// ```
    #[track_caller]
    pub fn patch<R: Row>(
        &mut self,
        key: impl IntoKey<R::Key>,
        cells: impl IntoIterator<Item = Cell<R>>,
    ) -> Result<()> {
        self.change(key, cells, true)
    }

    /// Changes cells of a row; an absent one is made first, from each column's `initial`. The row need not be read
    /// before: sums over rows that nobody looks at cost least this way.
    #[track_caller]
    pub fn upsert<R: Row>(
        &mut self,
        key: impl IntoKey<R::Key>,
        cells: impl IntoIterator<Item = Cell<R>>,
    ) -> Result<()> {
        self.change(key, cells, false)
    }

    /// Removes a row, if it is there.
    #[track_caller]
    pub fn remove<R: Row>(&mut self, key: impl IntoKey<R::Key>) -> Result<()> {
        let at = self.place::<R>(key)?;
        let done = self.memo.replace(at, None, &self.plugin.descriptor, self.host);
        self.allowed(done)
    }

    #[track_caller]
    fn change<R: Row>(
        &mut self,
        key: impl IntoKey<R::Key>,
        cells: impl IntoIterator<Item = Cell<R>>,
        must_exist: bool,
    ) -> Result<()> {
        let at = self.place::<R>(key)?;
        let cells = cells.into_iter().map(|cell| cell.cell);
        let done = self
            .memo
            .change(at, cells, must_exist, &self.plugin.descriptor, self.host);
        self.allowed(done)
    }

    #[track_caller]
    fn page<R: Row>(
        &mut self,
        index: u32,
        prefix: Vec<Value>,
        after: Option<&R>,
        limit: u32,
    ) -> Result<Vec<R>> {
        let table = self.table::<R>()?;
        let declared = &self.plugin.descriptor.tables[table as usize];
        let prefix = semantics::conform_prefix(declared, index, prefix);
        let prefix = self.allowed(prefix.map_err(Error::from))?;
        let after = after
            .map(|row| semantics::conform_key(declared, row.key()))
            .transpose();
        let after = self.allowed(after.map_err(Error::from))?;
        // Only the host has the index, so it has to know what this call changed.
        let mut changes = Vec::new();
        self.memo.hand_over(Some(table), &mut changes);
        if !changes.is_empty() {
            self.host.apply(&changes)?;
        }
        let found = self.host.find(table, index, &prefix, after.as_ref(), limit)?;
        found
            .into_iter()
            .map(|values| {
                let row = R::from_values(&values);
                let at = self.memo.place(table, semantics::key_of(declared, &values));
                self.memo.found(at, values);
                row
            })
            .collect()
    }

    /// The place of a row in the memo.
    #[track_caller]
    fn place<R: Row>(&mut self, key: impl IntoKey<R::Key>) -> Result<usize> {
        let table = self.table::<R>()?;
        let declared = &self.plugin.descriptor.tables[table as usize];
        let at = place(&mut self.memo, table, declared, key);
        self.allowed(at.map_err(Error::from))
    }

    #[track_caller]
    fn table<R: Row>(&self) -> Result<u32> {
        // A plugin has a handful of tables: looking through them is quicker than hashing.
        match self.plugin.rows.iter().position(|row| *row == TypeId::of::<R>()) {
            Some(table) => Ok(table as u32),
            None => Err(Error::new(format_args!(
                "rows of table '{}' are used, but describe() does not name it: add .table::<{}>()",
                R::schema().name,
                std::any::type_name::<R>().rsplit("::").next().unwrap_or_default()
            ))),
        }
    }

    /// Remembers the first failure, so that the call fails even if the projector goes on.
    fn allowed<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && self.broken.is_none()
        {
            self.broken = Some(error.to_string());
        }
        result
    }

    /// What the events of a call name ahead.
    pub(crate) fn wanted(&mut self) -> Wanted<'_> {
        Wanted {
            plugin: self.plugin,
            memo: &mut self.memo,
            places: Vec::new(),
        }
    }

    /// Reads the rows that the events of the call will want, together.
    pub(crate) fn prefetch(&mut self, places: Vec<usize>) -> Result<()> {
        self.memo.read(places, &self.plugin.descriptor, self.host)
    }

    /// The failure of a change that was not allowed, if there was one.
    pub(crate) fn broken(&self) -> Option<String> {
        let broken = self.broken.as_ref()?;
        Some(format!(
            "the projector went on after a failure of its tables: {broken}"
        ))
    }

    /// What the call changed, packed.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let mut changes = Vec::new();
        self.memo.hand_over(None, &mut changes);
        changes
    }
}

/// The place of a row in the memo, by a key of any form.
#[inline]
fn place<K>(
    memo: &mut Memo,
    table: u32,
    declared: &TableSchema,
    key: impl IntoKey<K>,
) -> Result<usize, Violation> {
    let mut looked = [ValueRef::Null; LOOKED_AT_MAX];
    if let Some(count) = key.look_key(&mut looked)
        && semantics::is_conformed_key(declared, &looked[..count])
    {
        return Ok(memo.place_of(table, &looked[..count]));
    }
    let mut values = Vec::with_capacity(1);
    key.into_key(&mut values);
    let key = semantics::conform_key(declared, values.into_boxed_slice())?;
    Ok(memo.place(table, key))
}

/// The rows that a batch will read, named ahead: see [`crate::Projector::prefetch`].
pub struct Wanted<'p> {
    plugin: &'p Plugin,
    memo: &'p mut Memo,
    places: Vec<usize>,
}

impl Wanted<'_> {
    /// Names a row.
    pub fn row<R: Row>(&mut self, key: impl IntoKey<R::Key>) {
        // A table that is not declared is told when it is used, and so is a key that cannot be one.
        if let Some(table) = self.plugin.rows.iter().position(|row| *row == TypeId::of::<R>()) {
            let declared = &self.plugin.descriptor.tables[table];
            if let Ok(at) = place(self.memo, table as u32, declared, key) {
                self.places.push(at);
            }
        }
    }

    pub(crate) fn into_places(self) -> Vec<usize> {
        self.places
    }
}
