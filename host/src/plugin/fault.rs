//! From what `wasmtime` says to what a person reads: which rule, which limit, which knob, and where in the guest.

use std::fmt;

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::cut::cut;
use super::state::State;
use super::{CallError, TablesError};
use crate::core::Class;
use crate::core::limits::PluginLimits;

/// Frames of a guest's backtrace that are kept.
pub(super) const FRAMES_MAX: usize = 50;
/// Bytes of a guest's message that are kept: more than any sentence, few enough for a status.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Bytes of a guest's trace that are kept.
const TRACE_BYTES_MAX: usize = 16 << 10;

/// What a host function says to end the call.
#[derive(Clone, Debug)]
pub(super) struct HostFault {
    pub(super) class: Class,
    pub(super) message: String,
}

impl HostFault {
    /// The guest broke a rule.
    pub(super) fn rule(function: &str, why: impl fmt::Display) -> Self {
        Self {
            class: Class::Fault,
            message: format!("{function}: {why}"),
        }
    }

    /// Who asked for the call is being stopped.
    pub(super) fn stopping() -> Self {
        Self {
            class: Class::Retryable,
            message: "the projection is being stopped, so the call was ended".into(),
        }
    }

    pub(super) fn of_tables(function: &str, error: TablesError) -> Self {
        match error {
            TablesError::Violation(why) => Self::rule(function, why),
            TablesError::Unavailable(message) => Self {
                class: Class::Retryable,
                message,
            },
            TablesError::Bug(message) => Self {
                class: Class::Bug,
                message,
            },
        }
    }
}

impl fmt::Display for HostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HostFault {}

impl From<HostFault> for CallError {
    fn from(fault: HostFault) -> Self {
        Self {
            class: fault.class,
            message: fault.message,
            trace: String::new(),
            index: None,
        }
    }
}

/// The machine gives no thread to call a guest on.
pub(super) fn no_thread(error: &std::io::Error) -> HostFault {
    HostFault {
        class: Class::Retryable,
        message: format!("no thread to call the plugin on: {error}"),
    }
}

/// A call that ended in a trap, or that `wasmtime` could not begin.
pub(super) fn of_trap(
    error: &wasmtime::Error,
    state: &State,
    limits: &PluginLimits,
    deadline_ms: u64,
) -> CallError {
    let trace = error
        .downcast_ref::<WasmBacktrace>()
        .map(backtrace)
        .unwrap_or_default();
    let fault = |message: String| CallError {
        class: Class::Fault,
        message,
        trace: trace.clone(),
        index: None,
    };
    if let Some(host) = error.downcast_ref::<HostFault>() {
        return CallError {
            class: host.class,
            ..fault(host.message.clone())
        };
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return CallError {
            class: Class::TimeLimit,
            ..fault(time_limit(limits, deadline_ms))
        };
    }
    if trap == Some(&Trap::StackOverflow) {
        return fault(format!(
            "the plugin used more than {} of stack; raise [limits] stack_bytes_max if its recursion has to be that deep",
            super::limits::mebibytes(limits.stack_bytes_max)
        ));
    }
    if let Some(refusal) = state.usage.memory_refusal() {
        return fault(refusal);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError {
            class: Class::Retryable,
            ..fault(format!(
                "there are {} instances of plugins in this host, and no room for one more; it is tried again. Run \
                 fewer projections or workers here",
                super::engine::INSTANCES_MAX
            ))
        };
    }
    // wasmtime has no type for it.
    if error
        .root_cause()
        .to_string()
        .contains("fuel allocated for hostcalls")
    {
        return fault(format!(
            "the plugin passed lists of more than {} in one call across the boundary; pass less at once, or raise \
             [limits] memory_bytes_max",
            super::limits::mebibytes(limits.memory_bytes_max)
        ));
    }
    // Neither for this one.
    let cause = error.root_cause().to_string();
    if trap.is_none() && cause.starts_with("invalid utf-8") {
        return fault(format!("the plugin passed a text that is not UTF-8: {cause}"));
    }
    let reason = match (trap, error.downcast_ref::<I32Exit>()) {
        (Some(Trap::MemoryOutOfBounds), _) if trace.lines().count() >= FRAMES_MAX => {
            "out of bounds memory access, deep in a recursion: it may have outgrown the stack that the plugin keeps in \
             its own memory, whose size its linker sets (-z stack-size=BYTES)"
                .to_owned()
        }
        (Some(trap), _) => trap.to_string().replace("wasm trap: ", ""),
        (None, Some(exit)) => format!("it called exit with status {}", exit.0),
        (None, None) => cut(&cause, MESSAGE_BYTES_MAX),
    };
    fault(match state.log.last_words() {
        Some(words) => format!("the plugin stopped: {words} ({reason})"),
        None => format!("the plugin stopped: {reason}"),
    })
}

fn time_limit(limits: &PluginLimits, deadline_ms: u64) -> String {
    let given = match deadline_ms == limits.call_ms_max {
        true => format!("{deadline_ms} ms"),
        false => format!(
            "{deadline_ms} ms (a second try, with more than the usual {} ms)",
            limits.call_ms_max
        ),
    };
    format!(
        "the plugin did not finish a call within {given} and was stopped; raise [limits] call_ms_max if it needs longer"
    )
}

/// A failure that the guest returned by itself.
pub(super) fn of_failure(message: &str, trace: &str, index: Option<u32>, state: &State) -> CallError {
    let message = match message.trim() {
        "" => "the plugin failed without a message".to_owned(),
        message => cut(message, MESSAGE_BYTES_MAX),
    };
    // A runtime that turns a refused allocation into an error of its language says nothing of the limit.
    let message = match state.usage.memory_refusal() {
        Some(refusal) => format!("{message} ({refusal})"),
        None => message,
    };
    CallError {
        class: Class::Fault,
        message,
        trace: cut(trace, TRACE_BYTES_MAX),
        index,
    }
}

/// One line a frame, without the addresses, that mean nothing to an author.
fn backtrace(trace: &WasmBacktrace) -> String {
    let text = trace.to_string();
    let frames = text
        .lines()
        .filter(|line| !line.starts_with("error while executing") && !line.starts_with("note:"));
    let lines: Vec<String> = frames.map(frame_line).collect();
    cut(&lines.join("\n"), TRACE_BYTES_MAX)
}

/// `    3:   0x1d2c - puppet.wasm!puppet::project` becomes `  3: puppet::project`.
fn frame_line(line: &str) -> String {
    let Some((number, rest)) = line.split_once(": ") else {
        return line.to_owned();
    };
    if number.trim().parse::<u32>().is_err() {
        return line.to_owned();
    }
    let place = rest.split_once(" - ").map_or(rest, |(_, place)| place);
    let name = place.split_once('!').map_or(place, |(_, name)| name);
    format!("{:>3}: {}", number.trim(), without_hash(name))
}

/// `shop::project::h0123456789abcdef` becomes `shop::project`.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path,
        _ => name,
    }
}
