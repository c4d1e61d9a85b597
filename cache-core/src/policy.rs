//! Whether a value is stored, and for how long.

use std::time::Duration;

/// What the attribute's options say about one value.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    store: bool,
    expire: Option<Duration>,
}

impl Verdict {
    /// Store it, for as long as the registry says.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "generated code alone makes one")]
    pub const fn new() -> Self {
        Self {
            store: true,
            expire: None,
        }
    }

    /// Sets the lifetime (`expire = ..`).
    #[must_use]
    pub const fn expire(mut self, expire: Duration) -> Self {
        self.expire = Some(expire);
        self
    }

    /// Sets the lifetime of this value, if it has one of its own (`expire_with = ..`).
    #[must_use]
    pub const fn expire_with(mut self, expire: Option<Duration>) -> Self {
        if expire.is_some() {
            self.expire = expire;
        }
        self
    }

    /// Stores the value only if `store` is true (`cache_if = ..`).
    #[must_use]
    pub const fn only_if(mut self, store: bool) -> Self {
        self.store = store;
        self
    }

    pub(crate) fn stores(&self) -> bool {
        self.store
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.expire
    }
}

/// Asks a closure about a value. The value comes first, so that the closure's parameter needs no
/// type.
pub fn ask<T: ?Sized, A>(value: &T, question: impl FnOnce(&T) -> A) -> A {
    question(value)
}
