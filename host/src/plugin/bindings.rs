//! What `wasmtime` makes of `wit/`: the host's side of its worlds.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

/// World `projector-plugin`. Events are borrowed on their way in.
pub(super) mod typed {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "projector-plugin",
        ownership: Borrowing { duplicate_if_necessary: false },
        imports: { default: trappable },
    });
}

/// World `packed-projector-plugin`, on the same types and imports.
pub(super) mod packed {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "packed-projector-plugin",
        ownership: Borrowing { duplicate_if_necessary: false },
        imports: { default: trappable },
        with: {
            "lamphouse:plugin/types": super::typed::lamphouse::plugin::types,
            "lamphouse:plugin/tables": super::typed::lamphouse::plugin::tables,
            "lamphouse:plugin/log": super::typed::lamphouse::plugin::log,
        },
    });
}

/// World `upcaster-plugin`, on the same types and log.
pub(super) mod upcasting {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "upcaster-plugin",
        ownership: Borrowing { duplicate_if_necessary: false },
        imports: { default: trappable },
        with: {
            "lamphouse:plugin/types": super::typed::lamphouse::plugin::types,
            "lamphouse:plugin/log": super::typed::lamphouse::plugin::log,
        },
    });
}

/// World `packed-upcaster-plugin`, on the same types and log.
pub(super) mod packed_upcasting {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "packed-upcaster-plugin",
        ownership: Borrowing { duplicate_if_necessary: false },
        imports: { default: trappable },
        with: {
            "lamphouse:plugin/types": super::typed::lamphouse::plugin::types,
            "lamphouse:plugin/upcaster-types": super::upcasting::lamphouse::plugin::upcaster_types,
            "lamphouse:plugin/log": super::typed::lamphouse::plugin::log,
        },
    });
}

pub(super) use typed::lamphouse::plugin::{log, tables, types};
pub(super) use upcasting::lamphouse::plugin::upcaster_types;
