//! What can go wrong, and what a caller can tell apart.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// An error of the cache: a kind to match on, a message with context, and the cause.
///
/// Cached calls never return it: they fall back to the computation, count the error in
/// [`Stats`](crate::Stats) and log it. It is what explicit operations return, such as
/// [`CacheEntry::get`](crate::CacheEntry::get) and [`FastCache::clear`](crate::FastCache::clear).
///
/// Messages are lowercase and hold no secrets: neither values nor credentials.
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no current cache: `FastCache::init` has not been called, and no scope is active.
    NotInitialized,
    /// An argument could not be serialized into a key.
    Key,
    /// A coder could not encode a value.
    Encode,
    /// Stored bytes could not be decoded.
    Decode,
    /// The backend answered with an error, or did not answer.
    Backend,
    /// The backend has failed several times in a row, and is left alone for a while.
    BreakerOpen,
    /// A computation took so long that its value could not be stored any more.
    Late,
    /// A computation took longer than the function's `timeout`.
    Timeout,
}

impl ErrorKind {
    /// Whether the store could not be asked, so that it is not known what it has.
    pub(crate) fn is_out_of_reach(self) -> bool {
        matches!(self, Self::Backend | Self::BreakerOpen)
    }
}

impl Error {
    /// Makes an error of this kind. The message is lowercase and without a final period.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Makes an error of the kind [`ErrorKind::Backend`]; for implementors of
    /// [`Backend`](crate::Backend).
    pub fn backend(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Backend, "the backend failed").with_source(source)
    }

    /// Adds the cause, which [`std::error::Error::source`] returns.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error for another caller. The cause stays with the first.
    pub(crate) fn repeat(&self) -> Self {
        Self::new(self.kind, self.message.clone())
    }

    pub(crate) fn ambiguous() -> Self {
        Self::new(
            ErrorKind::Key,
            "two cached functions have the same path, name, namespace and version",
        )
    }

    pub(crate) fn not_initialized() -> Self {
        Self::new(
            ErrorKind::NotInitialized,
            "there is no current cache: call `FastCache::init` at start-up",
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInitialized => "not initialized",
            Self::Key => "key",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Backend => "backend",
            Self::BreakerOpen => "breaker open",
            Self::Timeout => "timeout",
            Self::Late => "late",
        })
    }
}
