use std::fmt;
use std::panic::Location;

/// Why a projector cannot take an event. It drops all changes of the call; the host then says which event it was,
/// and pauses the projection or parks the event.
///
/// Made by `?` from any error, or by [`fault!`](crate::fault) and [`Error::new`]; [`Context`] says what was tried. It
/// remembers the place in the source where it was made.
pub struct Error(Box<Inner>);

struct Inner {
    /// The outermost first.
    messages: Vec<String>,
    location: &'static Location<'static>,
}

/// What a projector's functions give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with this message.
    #[track_caller]
    pub fn new(message: impl fmt::Display) -> Self {
        Self(Box::new(Inner {
            messages: vec![message.to_string()],
            location: Location::caller(),
        }))
    }

    /// The same error, with what was tried in front of it.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.messages.insert(0, what.to_string());
        self
    }

    /// The same error, as made by whoever calls.
    #[track_caller]
    pub(crate) fn made_here(mut self) -> Self {
        self.0.location = Location::caller();
        self
    }

    /// Where it was made: `src/lib.rs:42:17`.
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }
}

/// What was tried, why that failed, why that failed, in one line.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.messages.join(": "))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} (at {})", self.0.location)
    }
}

// `Error` is no `std::error::Error` itself, so that this covers all that are.
impl<E: std::error::Error> From<E> for Error {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut messages = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            messages.push(error.to_string());
            source = error.source();
        }
        Self(Box::new(Inner {
            messages,
            location: Location::caller(),
        }))
    }
}

/// Says what was tried when something failed, or what was missing.
///
/// ```
/// use lamphouse_sdk::{Context, Result};
///
/// fn sku(text: Option<&str>) -> Result<&str> {
///     text.context("the line has no sku")
/// }
///
/// assert_eq!(sku(None).unwrap_err().to_string(), "the line has no sku");
/// ```
pub trait Context<T> {
    /// Puts what was tried in front of the error.
    fn context(self, what: impl fmt::Display) -> Result<T>;

    /// The same; the text is made only when it is needed.
    fn with_context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    #[track_caller]
    fn context(self, what: impl fmt::Display) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error.into().context(what)),
        }
    }

    #[track_caller]
    fn with_context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error.into().context(what())),
        }
    }
}

impl<T> Context<T> for Option<T> {
    #[track_caller]
    fn context(self, what: impl fmt::Display) -> Result<T> {
        match self {
            Some(value) => Ok(value),
            None => Err(Error::new(what)),
        }
    }

    #[track_caller]
    fn with_context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        match self {
            Some(value) => Ok(value),
            None => Err(Error::new(what())),
        }
    }
}

/// Returns an [`Error`] with a message, written as for `format!`.
///
/// ```
/// use lamphouse_sdk::{fault, Result};
///
/// fn positive(quantity: i64) -> Result<i64> {
///     if quantity < 0 {
///         fault!("quantity {quantity} is negative");
///     }
///     Ok(quantity)
/// }
///
/// assert_eq!(positive(-3).unwrap_err().to_string(), "quantity -3 is negative");
/// ```
#[macro_export]
macro_rules! fault {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::core::format_args!($($message)+)))
    };
}
