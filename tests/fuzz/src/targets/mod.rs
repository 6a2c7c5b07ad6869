//! What must hold of each kind of input.

mod descriptor;
mod fields;
mod import_line;
mod packed;

pub(crate) use descriptor::DESCRIPTOR;
pub(crate) use fields::FIELDS;
pub(crate) use import_line::IMPORT_LINE;
pub(crate) use packed::PACKED;
