//! How an argument becomes part of a key, decided by its traits.
//!
//! Generated code calls `(&&&&&&&&Argument::new("id", &id)).write_key(key)`. Method lookup tries the
//! most referenced receiver first, so the traits below are asked in order, from seven references
//! down to none; the last one takes every type, and then asks for a bound that none has, whose
//! error message names the ways out. That works in generic functions too, where a bound such as
//! `T: Serialize` is all that is known. With two references stands what keeps silent, and with one stand
//! the types whose message names other ways out; see `request.rs`.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::KeyWriter;

/// An argument of a cached function.
#[derive(Debug)]
pub struct Argument<'a, T: ?Sized, V = Unvaried> {
    pub(super) name: &'static str,
    pub(super) value: &'a T,
    vary: PhantomData<V>,
}

/// The function names no request headers.
#[derive(Debug)]
pub struct Unvaried;

/// The function names the request headers that count, so that a whole header map is accounted for.
#[derive(Debug)]
pub struct Varied;

/// The function has a key builder of its own, which says what counts.
#[derive(Debug)]
pub struct Built;

impl<'a, T: ?Sized> Argument<'a, T> {
    /// An argument with its name.
    pub fn new(name: &'static str, value: &'a T) -> Self {
        Self {
            name,
            value,
            vary: PhantomData,
        }
    }
}

impl<'a, T: ?Sized> Argument<'a, T, Varied> {
    /// An argument of a handler that names the request headers which count.
    pub fn varied(name: &'static str, value: &'a T) -> Self {
        Self {
            name,
            value,
            vary: PhantomData,
        }
    }
}

impl<'a, T: ?Sized> Argument<'a, T, Built> {
    /// An argument of a function whose key builder says what counts.
    pub fn built(name: &'static str, value: &'a T) -> Self {
        Self {
            name,
            value,
            vary: PhantomData,
        }
    }
}

/// Sets that iterate in random order.
pub trait BySet {
    /// Writes the elements in canonical order.
    fn write_key(&self, key: &mut KeyWriter);
}

impl<T: Serialize, S, V> BySet for &&&&&&&Argument<'_, HashSet<T, S>, V> {
    fn write_key(&self, key: &mut KeyWriter) {
        key.set(self.name, self.value.iter());
    }
}

impl<T: Serialize, S, V> BySet for &&&&&&&Argument<'_, &HashSet<T, S>, V> {
    fn write_key(&self, key: &mut KeyWriter) {
        key.set(self.name, self.value.iter());
    }
}

/// Whatever serde can write.
pub trait BySerialize {
    /// Writes the value.
    fn write_key(&self, key: &mut KeyWriter);
}

impl<T: Serialize + ?Sized, V> BySerialize for &&&&&&Argument<'_, T, V> {
    #[inline]
    fn write_key(&self, key: &mut KeyWriter) {
        key.argument(self.name, self.value);
    }
}

/// Types that the crate knows: shared pointers, and the parts of a request.
pub trait ByKnown {
    /// Writes what a function can see through the value.
    fn write_key(&self, key: &mut KeyWriter);
}

impl<T: Known<V>, V> ByKnown for &&&&&Argument<'_, T, V> {
    fn write_key(&self, key: &mut KeyWriter) {
        self.value.write(self.name, key);
    }
}

/// A type that the crate knows how to key, under the condition `V`.
pub trait Known<V> {
    /// Writes what a function can see through the value.
    fn write(&self, name: &'static str, key: &mut KeyWriter);
}

impl<T: Known<V> + ?Sized, V> Known<V> for &T {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        T::write(self, name, key);
    }
}

impl<T: Serialize + ?Sized, V> Known<V> for Arc<T> {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &**self);
    }
}

impl<T: Serialize + ?Sized, V> Known<V> for Rc<T> {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &**self);
    }
}

impl<V> Known<V> for Bytes {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &self[..]);
    }
}

/// An extractor of axum that need not find what it extracts.
impl<T: Known<V>, V> Known<V> for Option<T> {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        match self {
            Some(value) => value.write(name, key),
            None => key.argument(name, &()),
        }
    }
}

/// An extractor of axum that can fail.
impl<T: Known<V>, E, V> Known<V> for Result<T, E> {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        match self {
            Ok(value) => value.write(name, key),
            Err(_) => key.bypass(),
        }
    }
}

/// serde knows short arrays only.
impl<T: Serialize, V, const N: usize> Known<V> for [T; N] {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &self[..]);
    }
}

/// Transparent wrappers, such as axum's `Path`, `Query`, `Form`, `Json` and `Extension`.
///
/// A wrapper as large as what it dereferences to has no room for anything else, so the inner value
/// is all that the function can see. That is checked when the call is compiled.
pub trait ByWrapper {
    /// Writes the inner value.
    fn write_key(&self, key: &mut KeyWriter);
}

impl<T, V> ByWrapper for &&&&Argument<'_, T, V>
where
    T: Deref<Target: Serialize + Sized>,
{
    fn write_key(&self, key: &mut KeyWriter) {
        const { assert_transparent::<T>() };
        key.argument(self.name, &**self.value);
    }
}

/// Optional transparent wrappers, such as `Option<Query<T>>`.
pub trait ByOptionalWrapper {
    /// Writes the inner value, if there is one.
    fn write_key(&self, key: &mut KeyWriter);
}

impl<T, V> ByOptionalWrapper for &&&Argument<'_, Option<T>, V>
where
    T: Deref<Target: Serialize + Sized>,
{
    fn write_key(&self, key: &mut KeyWriter) {
        const { assert_transparent::<T>() };
        key.argument(self.name, &self.value.as_deref());
    }
}

/// Extractors that can fail, whose error is not `Serialize`: an error keeps the call out of the cache.
pub trait ByFallible {
    /// Writes the value, if there is one.
    fn write_key(&self, key: &mut KeyWriter);
}

impl<T: Serialize, E, V> ByFallible for &&&&Argument<'_, Result<T, E>, V> {
    fn write_key(&self, key: &mut KeyWriter) {
        match self.value {
            Ok(value) => key.argument(self.name, value),
            Err(_) => key.bypass(),
        }
    }
}

/// Transparent wrappers that can fail to be extracted, such as `Result<Query<T>, QueryRejection>`.
pub trait ByFallibleWrapper {
    /// Writes the inner value, if there is one.
    fn write_key(&self, key: &mut KeyWriter);
}

impl<T, E, V> ByFallibleWrapper for &&&Argument<'_, Result<T, E>, V>
where
    T: Deref<Target: Serialize + Sized>,
{
    fn write_key(&self, key: &mut KeyWriter) {
        const { assert_transparent::<T>() };
        match self.value {
            Ok(value) => key.argument(self.name, &**value),
            Err(_) => key.bypass(),
        }
    }
}

/// Both, such as `Result<Option<Path<T>>, PathRejection>`.
pub trait ByFallibleOption {
    /// Writes the inner value, if there is one.
    fn write_key(&self, key: &mut KeyWriter);
}

impl<T, E, V> ByFallibleOption for &&&Argument<'_, Result<Option<T>, E>, V>
where
    T: Deref<Target: Serialize + Sized>,
{
    fn write_key(&self, key: &mut KeyWriter) {
        const { assert_transparent::<T>() };
        match self.value {
            Ok(value) => key.argument(self.name, &value.as_deref()),
            Err(_) => key.bypass(),
        }
    }
}

const fn assert_transparent<T: Deref<Target: Sized>>() {
    assert!(
        size_of::<T>() == size_of::<T::Target>(),
        "an argument of a cached function dereferences to a part of itself, and the rest would be \
         missing from the key: derive `Serialize` for it, or leave it out with `skip(..)`",
    );
}

/// Everything else, where the message about it stands elsewhere: generated code brings this into scope
/// alone.
pub trait BySilence {
    /// Writes nothing.
    fn write_key(&self, key: &mut KeyWriter);
}

impl<T: ?Sized, V> BySilence for &&Argument<'_, T, V> {
    fn write_key(&self, _: &mut KeyWriter) {}
}

/// Everything else, which is refused.
pub trait ByNothing<T: ?Sized> {
    /// Does not compile.
    fn write_key(&self, key: &mut KeyWriter)
    where
        T: Keyable;
}

impl<T: ?Sized, V> ByNothing<T> for Argument<'_, T, V> {
    fn write_key(&self, _key: &mut KeyWriter)
    where
        T: Keyable,
    {
    }
}

/// What no type is: the bound that carries the message.
#[diagnostic::on_unimplemented(
    message = "an argument of type `{Self}` cannot be part of a cache key",
    label = "this argument has to be part of the key, and `{Self}` does not implement `Serialize`",
    note = "derive `serde::Serialize` for it, if its fields tell one call from another",
    note = "or leave it out with `skip(..)`, if the result does not depend on it",
    note = "or write the key by hand with `key = \"..\"`"
)]
pub trait Keyable {}
