//! What the engine does with values of one type, under one coder.
//!
//! Whether a type can be stored is asked in one place, by `(&&Storage::of(..)).access()`, so that
//! the answer no is one message, at the return type. Everything behind it takes the answer along
//! and needs no bounds of its own.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::backend::BoxFuture;
use crate::engine::{Engine, Sought, Stored, Terms, Ticket};
use crate::error::Error;
use crate::key::Key;
use crate::local::AnyEntry;
use crate::site::Site;
use crate::value::{CacheValue, CoderChoice, Payload, Shape};

/// What the engine can do with values of type `T`.
///
/// It is passed along by each call, so it is small: what a hit in this process needs, and the way to the
/// rest.
pub struct Access<T> {
    /// Copies the value of an entry to where it is wanted.
    pub(crate) local: fn(&Engine, &Site, &AnyEntry, &mut Option<T>),
    operations: fn() -> Operations<T>,
}

/// The engine's operations on values of type `T`, but for a hit in this process.
pub(crate) struct Operations<T> {
    pub(crate) find: Find<T>,
    pub(crate) store: Store<T>,
    pub(crate) share: fn(&T) -> AnyValue,
    pub(crate) take_share: fn(&AnyValue) -> Option<T>,
    pub(crate) copy: fn(&T) -> T,
}

/// A value that callers of one key share.
type AnyValue = Arc<dyn Any + Send + Sync>;

type Find<T> = for<'a> fn(&'a Engine, &'static Site, &'a Key) -> BoxFuture<'a, Sought<T>>;

type Store<T> = for<'a> fn(
    &'a Engine,
    Ticket,
    &'static Site,
    &'a Key,
    &'a T,
    &'a Terms<'a>,
) -> BoxFuture<'a, Result<Stored, Error>>;

impl<T: Payload> Access<T> {
    /// The operations under the coder `C`.
    pub(crate) const fn new<C: CoderChoice>() -> Self {
        Self {
            local: |engine, site, entry, to| {
                if let Some(value) = engine.downcast::<T>(site, entry) {
                    *to = Some(value.clone());
                }
            },
            operations: || Operations::new::<C>(),
        }
    }
}

impl<T> Access<T> {
    pub(crate) fn operations(&self) -> Operations<T> {
        (self.operations)()
    }
}

impl<T: Payload> Operations<T> {
    const fn new<C: CoderChoice>() -> Self {
        Self {
            find: |engine, site, key| Box::pin(engine.try_find::<T, C>(site, key)),
            store: |engine, ticket, site, key, value, terms| {
                Box::pin(engine.try_store::<T, C>(ticket, site, key, value, terms))
            },
            share: |value| Arc::new(value.clone()),
            take_share: |value| value.downcast_ref::<T>().cloned(),
            copy: T::clone,
        }
    }
}

impl<T> Clone for Access<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Access<T> {}

impl<T> fmt::Debug for Access<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

/// Asks whether values of type `T` can be stored.
#[derive(Debug)]
pub struct Storage<T, C>(PhantomData<fn() -> (T, C)>);

impl<T, C> Storage<T, C> {
    /// Asks for a type.
    #[must_use]
    pub const fn of_type(_: C) -> Self
    where
        C: Copy,
    {
        Self(PhantomData)
    }

    /// Asks for what a function stores of what it returns.
    #[must_use]
    pub const fn of_shape(_: &impl Shape<Stored = T>, _: C) -> Self
    where
        C: Copy,
    {
        Self(PhantomData)
    }
}

/// Types that can be stored.
pub trait Storable<T> {
    /// What the engine does with them.
    fn access(&self) -> Access<T>;
}

impl<T: CacheValue, C: CoderChoice> Storable<T> for &Storage<T, C> {
    #[inline]
    fn access(&self) -> Access<T> {
        Access::new::<C>()
    }
}

/// All other types, which are refused.
pub trait NotStorable<T> {
    /// Does not compile.
    fn access(&self) -> Access<T>
    where
        T: CanBeStored;
}

impl<T, C> NotStorable<T> for Storage<T, C> {
    fn access(&self) -> Access<T>
    where
        T: CanBeStored,
    {
        match T::NEVER {}
    }
}

/// What no type is: the bound that carries the message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in a cache",
    label = "a value of type `{Self}` cannot be stored",
    note = "a cached value is `Clone + Serialize + DeserializeOwned + Send + Sync + 'static`: \
            derive what `{Self}` lacks, or return an owned type",
    note = "of a `Result`, only the `Ok` value is stored; the error can be of any type",
    note = "if this is an axum handler, say so: `#[cache(handler)]`, with its other options behind that"
)]
pub trait CanBeStored {
    /// Not to be had.
    const NEVER: Infallible;
}
