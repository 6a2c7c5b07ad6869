//! Lines for the host's log. They are shown with the projection's status, and are capped for each call.

use std::fmt;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For following every step.
    Trace,
    /// For finding mistakes.
    Debug,
    /// Worth knowing.
    Info,
    /// Looks wrong.
    Warn,
    /// Is wrong.
    Error,
}

/// Writes a line; the macros [`trace!`](crate::trace) to [`error!`](crate::error!) are shorter.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    #[cfg(target_family = "wasm")]
    crate::guest::write_log(level, &message.to_string());
    #[cfg(not(target_family = "wasm"))]
    crate::testing::write_log(level, message.to_string());
}

/// Writes a line for following every step to the host's log, written as for `format!`.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => {
        $crate::log::write($crate::log::Level::Trace, ::core::format_args!($($message)+))
    };
}

/// Writes a line for finding mistakes to the host's log, written as for `format!`.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => {
        $crate::log::write($crate::log::Level::Debug, ::core::format_args!($($message)+))
    };
}

/// Writes a line worth knowing to the host's log, written as for `format!`.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => {
        $crate::log::write($crate::log::Level::Info, ::core::format_args!($($message)+))
    };
}

/// Writes a line that looks wrong to the host's log, written as for `format!`.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => {
        $crate::log::write($crate::log::Level::Warn, ::core::format_args!($($message)+))
    };
}

/// Writes a line that is wrong to the host's log, written as for `format!`.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => {
        $crate::log::write($crate::log::Level::Error, ::core::format_args!($($message)+))
    };
}
