//! What a function returns, what of it is stored, and how that is encoded.

use std::future::Future;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::coder::{Coder, RegisteredCoder};
use crate::error::Error;
use crate::key::encoded_size;

/// A value that can be stored.
///
/// Every type with these supertraits is one; it is not implemented by hand. In this process values
/// are cloned; on their way to a shared store they are encoded by a [`Coder`].
pub trait CacheValue: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> CacheValue for T {}

/// What is stored: a value, or a whole response.
pub trait Payload: Clone + Send + Sync + 'static {
    /// Encodes it for a shared store.
    fn encode<C: Codec>(&self, codec: &C) -> Result<Vec<u8>, Error>;

    /// Decodes it from a shared store.
    fn decode<C: Codec>(codec: &C, bytes: &[u8]) -> Result<Self, Error>;

    /// About how many bytes it takes in this process.
    fn size(&self) -> usize;
}

impl<T: CacheValue> Payload for T {
    fn encode<C: Codec>(&self, codec: &C) -> Result<Vec<u8>, Error> {
        codec.encode(self)
    }

    fn decode<C: Codec>(codec: &C, bytes: &[u8]) -> Result<Self, Error> {
        codec.decode(bytes)
    }

    fn size(&self) -> usize {
        size_of::<T>().saturating_add(encoded_size(self))
    }
}

/// A coder to call, named on the function or held by the registry.
pub trait Codec {
    /// See [`Coder::ID`].
    fn id(&self) -> &'static str;

    /// See [`Coder::encode`].
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, Error>;

    /// See [`Coder::decode`].
    fn decode<T: DeserializeOwned + 'static>(&self, bytes: &[u8]) -> Result<T, Error>;

    /// See [`Coder::encode_body`].
    fn encode_body(&self, body: &[u8]) -> Result<Vec<u8>, Error>;

    /// See [`Coder::decode_body`].
    fn decode_body(&self, bytes: &[u8]) -> Result<Vec<u8>, Error>;
}

impl Codec for &RegisteredCoder {
    fn id(&self) -> &'static str {
        RegisteredCoder::id(self)
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, Error> {
        RegisteredCoder::encode(self, value)
    }

    fn decode<T: DeserializeOwned + 'static>(&self, bytes: &[u8]) -> Result<T, Error> {
        RegisteredCoder::decode(self, bytes)
    }

    fn encode_body(&self, body: &[u8]) -> Result<Vec<u8>, Error> {
        RegisteredCoder::encode_body(self, body)
    }

    fn decode_body(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        RegisteredCoder::decode_body(self, bytes)
    }
}

/// Which coder a function uses.
pub trait CoderChoice: Copy + Send + Sync + 'static {
    /// The coder once it is known.
    type Codec<'a>: Codec;

    /// Finds the coder, given the registry's.
    fn resolve(registered: &RegisteredCoder) -> Self::Codec<'_>;
}

/// The function names no coder: the registry's is used.
#[derive(Clone, Copy, Debug)]
pub struct RegistryCoder;

impl CoderChoice for RegistryCoder {
    type Codec<'a> = &'a RegisteredCoder;

    fn resolve(registered: &RegisteredCoder) -> &RegisteredCoder {
        registered
    }
}

/// The function names the coder `C`.
#[derive(Debug)]
pub struct NamedCoder<C>(PhantomData<fn() -> C>);

impl<C: Coder> NamedCoder<C> {
    /// Names the coder.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "generated code alone makes one")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C> Clone for NamedCoder<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for NamedCoder<C> {}

impl<C: Coder> CoderChoice for NamedCoder<C> {
    type Codec<'a> = Self;

    fn resolve(_: &RegisteredCoder) -> Self {
        Self(PhantomData)
    }
}

impl<C: Coder> Codec for NamedCoder<C> {
    fn id(&self) -> &'static str {
        C::ID
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, Error> {
        C::encode(value)
    }

    fn decode<T: DeserializeOwned + 'static>(&self, bytes: &[u8]) -> Result<T, Error> {
        C::decode(bytes)
    }

    fn encode_body(&self, body: &[u8]) -> Result<Vec<u8>, Error> {
        C::encode_body(body)
    }

    fn decode_body(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        C::decode_body(bytes)
    }
}

/// How what a function returns relates to what is stored.
pub trait Shape {
    /// What the function returns.
    type Returned;
    /// What is stored of it.
    type Stored;

    /// What to store of a returned value; `None` for what is never stored.
    fn split(returned: &Self::Returned) -> Option<&Self::Stored>;

    /// The returned value that a stored one stands for.
    fn join(stored: Self::Stored) -> Self::Returned;
}

/// The function returns the value itself.
#[derive(Debug)]
pub struct ValueShape<T>(PhantomData<fn() -> T>);

impl<T> Clone for ValueShape<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ValueShape<T> {}

impl<T> Shape for ValueShape<T> {
    type Returned = T;
    type Stored = T;

    fn split(returned: &T) -> Option<&T> {
        Some(returned)
    }

    fn join(stored: T) -> T {
        stored
    }
}

/// The function returns a `Result`, of which `Ok` is stored.
#[derive(Debug)]
pub struct ResultShape<T, E>(PhantomData<fn() -> (T, E)>);

impl<T, E> Clone for ResultShape<T, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, E> Copy for ResultShape<T, E> {}

impl<T, E> Shape for ResultShape<T, E> {
    type Returned = Result<T, E>;
    type Stored = T;

    fn split(returned: &Result<T, E>) -> Option<&T> {
        returned.as_ref().ok()
    }

    fn join(stored: T) -> Result<T, E> {
        Ok(stored)
    }
}

/// Asks for the shape of `R`: `(&&Probe::<R>::new()).shape()` tries [`ViaResult`] first.
///
/// The type decides, not its spelling, so aliases of `Result` count.
#[derive(Debug)]
pub struct Probe<R>(PhantomData<fn() -> R>);

impl<R> Probe<R> {
    /// A probe for the type `R`.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "generated code alone makes one")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// A probe for what a future gives, where the type has no name.
    #[must_use]
    pub const fn of<F: Future<Output = R>>(_: &F) -> Self {
        Self(PhantomData)
    }

    /// A probe for what the future gives that a function makes.
    #[must_use]
    pub const fn of_made<M: FnOnce() -> F, F: Future<Output = R>>(_: &M) -> Self {
        Self(PhantomData)
    }
}

/// Results; also names the choice in [`Stores`].
pub trait ViaResult {
    /// The shape.
    type Shape: Shape + Copy;

    /// The shape.
    fn shape(&self) -> Self::Shape;
}

impl<T, E> ViaResult for &Probe<Result<T, E>> {
    type Shape = ResultShape<T, E>;

    fn shape(&self) -> ResultShape<T, E> {
        ResultShape(PhantomData)
    }
}

/// All other types; also names the choice in [`Stores`].
pub trait ViaValue {
    /// The shape.
    type Shape: Shape + Copy;

    /// The shape.
    fn shape(&self) -> Self::Shape;
}

impl<T> ViaValue for Probe<T> {
    type Shape = ValueShape<T>;

    fn shape(&self) -> ValueShape<T> {
        ValueShape(PhantomData)
    }
}

/// What a companion's `entry` holds for a function that returns `Self`.
///
/// `Kind` is inferred: [`OfResult`] for a `Result` whose error cannot be stored, [`OfValue`] for
/// what can be stored whole. An alias of a `Result` whose error could be stored too is both, and
/// then the caller names one.
pub trait Stores<Kind> {
    /// The stored type.
    type Stored: CacheValue;
}

/// The `Ok` of a `Result` is stored.
#[derive(Debug)]
pub struct OfResult;

/// The value is stored whole.
#[derive(Debug)]
pub struct OfValue;

impl<T: CacheValue, E> Stores<OfResult> for Result<T, E> {
    type Stored = T;
}

impl<T: CacheValue> Stores<OfValue> for T {
    type Stored = T;
}
