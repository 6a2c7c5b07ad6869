use std::fmt;
use std::marker::PhantomData;

use lamphouse_contract::{CellChange, TableSchema, Value, ValueRef};

use crate::field::{Field, IntoField, Number};
use crate::{Error, Result};

/// A row of one table. Derive it: see [`macro@crate::Row`].
pub trait Row: Sized + 'static {
    /// The type of the key: of its column, or a tuple of them in order.
    type Key;

    /// The table as it is declared to the host.
    fn schema() -> TableSchema;
    /// All columns in order.
    fn into_values(self) -> lamphouse_contract::Row;
    /// The values of the key columns.
    fn key(&self) -> lamphouse_contract::Key;
    /// From all columns in order.
    fn from_values(values: &[Value]) -> Result<Self>;
}

/// A column of the table of `R`, of type `F`: `Order::LINES`. The derive makes one for each field.
pub struct Column<R, F> {
    index: u32,
    of: PhantomData<fn() -> (R, F)>,
}

/// A change of one cell: made by [`Column::set`] and [`Column::add`], used in `patch` and `upsert`.
pub struct Cell<R> {
    pub(crate) cell: lamphouse_contract::Cell,
    of: PhantomData<fn() -> R>,
}

/// A declared index of the table of `R` over columns of the types `C`, a tuple: `Order::BY_CUSTOMER`.
pub struct Index<R, C> {
    pub(crate) index: u32,
    of: PhantomData<fn() -> (R, C)>,
}

impl<R, F> Column<R, F> {
    #[doc(hidden)]
    pub const fn __new(index: u32) -> Self {
        Self {
            index,
            of: PhantomData,
        }
    }

    /// Replaces the cell's value.
    #[inline]
    pub fn set(self, value: impl IntoField<F>) -> Cell<R> {
        Cell::new(self.index, CellChange::Set(value.into_field()))
    }

    /// Adds to the cell's value; nothing counts as 0. A sum that does not fit faults.
    #[inline]
    #[allow(clippy::should_implement_trait)] // `Order::LINES + 1` would promise a sum, not a change.
    pub fn add(self, value: impl IntoField<F::Base>) -> Cell<R>
    where
        F: Number,
    {
        Cell::new(self.index, CellChange::Add(value.into_field()))
    }
}

impl<R, F: Field> Column<R, Option<F>> {
    /// Makes the cell null.
    pub fn clear(self) -> Cell<R> {
        Cell::new(self.index, CellChange::Set(Value::Null))
    }
}

impl<R> Cell<R> {
    #[inline]
    fn new(column: u32, change: CellChange) -> Self {
        Self {
            cell: lamphouse_contract::Cell { column, change },
            of: PhantomData,
        }
    }
}

impl<R, C> Index<R, C> {
    #[doc(hidden)]
    pub const fn __new(index: u32) -> Self {
        Self {
            index,
            of: PhantomData,
        }
    }
}

impl<R, F> Clone for Column<R, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, F> Copy for Column<R, F> {}

impl<R, C> Clone for Index<R, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, C> Copy for Index<R, C> {}

impl<R> Clone for Cell<R> {
    fn clone(&self) -> Self {
        Self {
            cell: self.cell.clone(),
            of: PhantomData,
        }
    }
}

impl<R> fmt::Debug for Cell<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cell.fmt(f)
    }
}

/// A row looked at without copying its texts: see [`crate::Tables::look`].
pub struct View<'t, R> {
    values: &'t [Value],
    of: PhantomData<fn() -> R>,
}

impl<'t, R: Row> View<'t, R> {
    pub(crate) fn new(values: &'t [Value]) -> Self {
        Self {
            values,
            of: PhantomData,
        }
    }

    /// The value of one column: `&str` for a `String`, `Option<&str>` for an `Option<String>`.
    #[inline]
    pub fn get<F: Field>(&self, column: Column<R, F>) -> Result<F::Ref<'t>> {
        match self.values.get(column.index as usize) {
            Some(value) => F::look(value),
            None => Err(Error::new(format_args!("the row has no column {}", column.index))),
        }
    }

    /// The whole row, copied.
    pub fn to_row(&self) -> Result<R> {
        R::from_values(self.values)
    }
}

/// What can be given as a key of type `K`: a value for a key of one column, a tuple for several.
pub trait IntoKey<K> {
    /// The values in order.
    fn into_key(self, values: &mut Vec<Value>);
    /// The same, borrowed, and how many there are; None where a value cannot be borrowed.
    fn look_key<'k>(&'k self, values: &mut [ValueRef<'k>; LOOKED_AT_MAX]) -> Option<usize>;
}

/// Values of the longest tuple that is a key.
pub(crate) const LOOKED_AT_MAX: usize = 4;

/// What can be given to look up an index over columns of the types `C`: a value for an index of one column, a tuple
/// of the first values, or of all, for several.
pub trait IntoPrefix<C> {
    /// The values in order.
    fn into_prefix(self) -> Vec<Value>;
}

impl<F: Field, V: IntoField<F>> IntoKey<(F,)> for V {
    #[inline]
    fn into_key(self, values: &mut Vec<Value>) {
        values.push(self.into_field());
    }
    #[inline]
    fn look_key<'k>(&'k self, values: &mut [ValueRef<'k>; LOOKED_AT_MAX]) -> Option<usize> {
        values[0] = self.look_field()?;
        Some(1)
    }
}

impl<F: Field, V: IntoField<F>> IntoPrefix<(F,)> for V {
    fn into_prefix(self) -> Vec<Value> {
        vec![self.into_field()]
    }
}

macro_rules! tuples {
    ($($name:ident: $type:ident of $field:ident),+) => {
        impl<$($field: Field, $type: IntoField<$field>),+> IntoKey<($($field,)+)> for ($($type,)+) {
            #[inline]
            fn into_key(self, values: &mut Vec<Value>) {
                let ($($name,)+) = self;
                $(values.push($name.into_field());)+
            }
            #[inline]
            fn look_key<'k>(&'k self, values: &mut [ValueRef<'k>; LOOKED_AT_MAX]) -> Option<usize> {
                let ($($name,)+) = self;
                let mut count = 0;
                $(
                    values[count] = $name.look_field()?;
                    count += 1;
                )+
                Some(count)
            }
        }
    };
}

tuples!(a: A of FA, b: B of FB);
tuples!(a: A of FA, b: B of FB, c: C of FC);
tuples!(a: A of FA, b: B of FB, c: C of FC, d: D of FD);

macro_rules! prefixes {
    ($($name:ident: $type:ident of $field:ident),+; $($rest:ident),*) => {
        impl<$($field: Field, $type: IntoField<$field>,)+ $($rest),*> IntoPrefix<($($field,)+ $($rest,)*)> for ($($type,)+) {
            fn into_prefix(self) -> Vec<Value> {
                let ($($name,)+) = self;
                vec![$($name.into_field()),+]
            }
        }
    };
}

prefixes!(a: A of FA; R1);
prefixes!(a: A of FA, b: B of FB;);
prefixes!(a: A of FA; R1, R2);
prefixes!(a: A of FA, b: B of FB; R1);
prefixes!(a: A of FA, b: B of FB, c: C of FC;);
prefixes!(a: A of FA; R1, R2, R3);
prefixes!(a: A of FA, b: B of FB; R1, R2);
prefixes!(a: A of FA, b: B of FB, c: C of FC; R1);
prefixes!(a: A of FA, b: B of FB, c: C of FC, d: D of FD;);
