//! Keys: from the arguments of a call to what backends, logs and the local store use.

pub(crate) mod argument;
#[cfg(feature = "axum")]
pub(crate) mod audience;
mod builder;
mod bytes;
mod canonical;
#[cfg(feature = "axum")]
pub(crate) mod filled;
#[cfg(feature = "axum")]
mod hidden;
mod print;
mod render;
#[cfg(feature = "axum")]
pub(crate) mod request;
#[cfg(feature = "axum")]
mod suffix;

use std::fmt::{self, Write as _};
use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::quality::RandomState;
use serde::Serialize;

use crate::error::{Error, ErrorKind};
#[cfg(feature = "axum")]
use crate::http::Reason;
use crate::local::{LocalKey, StoredKey};
use crate::site::{self, Owner, Site};

pub use builder::{Arg, Args, DynKeyBuilder, KeyBuilder, KeyContext, erase_key_builder};
pub(crate) use bytes::KeyBytes;
pub(crate) use canonical::encoded_size;
#[cfg(feature = "axum")]
pub(crate) use canonical::{write_bytes, write_str};
pub use print::escaped;
pub(crate) use print::{cache_prefix, digest as name_digest, key_prefix};
#[cfg(feature = "axum")]
use suffix::suffix;
#[cfg(feature = "axum")]
pub(crate) use suffix::suffix_of_nothing;

/// Collects what a call's key is made of; generated code writes to it.
#[derive(Debug, Default)]
pub struct KeyWriter {
    bytes: KeyBytes,
    is_text: bool,
    is_bypassed: bool,
    #[cfg(feature = "axum")]
    sees_headers: bool,
    /// The raw texts of the URI that belong to the key.
    #[cfg(feature = "axum")]
    raw: Raw,
    /// Of a text, how much of its end is a suffix.
    #[cfg(feature = "axum")]
    suffix: usize,
    /// In a box, so that a hit has little to make and to drop.
    rare: Option<Box<Rare>>,
}

/// What most calls do not need.
#[derive(Debug, Default)]
struct Rare {
    error: Option<Error>,
    /// Where each argument stands in the bytes; kept only for a key builder.
    arguments: Option<Vec<Span>>,
    /// Why the arguments alone do not tell which entry is theirs.
    incomplete: Option<String>,
    #[cfg(feature = "axum")]
    bypass_reason: Option<Reason>,
}

/// A key before the mount joins it.
#[cfg(feature = "axum")]
#[derive(Debug)]
pub(crate) struct UnmountedKey(KeyWriter);

#[cfg(feature = "axum")]
impl UnmountedKey {
    /// The bytes of the key under a mount.
    pub(crate) fn at(&self, mount: &str) -> KeyBytes {
        let UnmountedKey(mut mounted) = self.0.unmounted();
        mounted.mount(Some(mount));
        mounted.bytes
    }
}

/// Raw texts of a request's URI, for what is filled from them and cannot be written.
#[cfg(feature = "axum")]
#[derive(Clone, Copy, Debug, Default)]
struct Raw {
    path: bool,
    query: bool,
}

/// A named stretch of the canonical bytes.
#[derive(Clone, Debug)]
struct Span {
    name: &'static str,
    start: usize,
    end: usize,
}

impl KeyWriter {
    /// A writer that remembers where each argument stands, for a key builder.
    pub(crate) fn recording() -> Self {
        let rare = Rare {
            arguments: Some(Vec::new()),
            ..Rare::default()
        };
        Self {
            rare: Some(Box::new(rare)),
            ..Self::default()
        }
    }

    /// Makes a type argument part of the key, by its name.
    pub fn type_argument<T: ?Sized>(&mut self) {
        canonical::write_str(&mut self.bytes, std::any::type_name::<T>());
    }

    /// Makes the type of an `impl Trait` argument part of the key, by its name.
    pub fn type_of<T: ?Sized>(&mut self, _: &T) {
        self.type_argument::<T>();
    }

    /// Replaces the whole key by a text.
    pub fn text(&mut self, text: fmt::Arguments<'_>) {
        struct Bytes<'a>(&'a mut KeyBytes);

        impl fmt::Write for Bytes<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }

        self.bytes.clear();
        self.is_text = true;
        if Bytes(&mut self.bytes).write_fmt(text).is_err() {
            self.fail(|| "an argument's `Display` failed".to_owned());
        }
    }

    /// Makes one argument part of the key.
    #[inline]
    pub(crate) fn argument<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        self.write(name, |bytes| canonical::write(bytes, value));
    }

    /// Makes a set part of the key, whatever the order it iterates in.
    pub(crate) fn set<'a, T: Serialize + 'a>(
        &mut self,
        name: &'static str,
        items: impl Iterator<Item = &'a T>,
    ) {
        self.write(name, |bytes| canonical::write_set(bytes, items));
    }

    /// Makes what a request adds part of the key: headers, the mount, and raw texts of the URI.
    #[cfg(feature = "axum")]
    #[inline]
    pub(crate) fn request(&mut self, request: &impl crate::axum::RequestHead, names: &[&str]) {
        let mount = request.mount();
        let adds_nothing = names.is_empty() && mount.is_none() && !self.raw.path && !self.raw.query;
        if adds_nothing && !self.is_text {
            return;
        }
        self.headers(request.headers(), names);
        self.mount(mount);
        if self.raw.path || self.raw.query {
            self.raw(request.raw_path(), request.uri().query());
        }
    }

    /// Makes request headers part of the key; absent and empty differ. A text is given a digest
    /// of them, whose length is fixed, so that it cannot be mistaken for a part of the text.
    #[cfg(feature = "axum")]
    pub(crate) fn headers(&mut self, headers: &http::HeaderMap, names: &[&str]) {
        if !self.is_text {
            write_headers(&mut self.bytes, headers, names);
        } else if !names.is_empty() {
            let mut part = KeyBytes::new();
            write_headers(&mut part, headers, names);
            self.extend_suffix(&part);
        }
    }

    /// Makes the place where the handler's router is nested part of the key, behind the headers; nothing if it
    /// is not nested. What a key builder sees does not depend on it: see [`Self::suffix`].
    #[cfg(feature = "axum")]
    pub(crate) fn mount(&mut self, template: Option<&str>) {
        match template {
            None if self.is_text && self.suffix == 0 => {
                if let Some(suffix) = suffix_of_nothing(&self.bytes) {
                    self.bytes.extend_from_slice(suffix.as_bytes());
                }
            }
            None => {}
            Some(template) if self.is_text => self.extend_suffix(&mount_part(template)),
            Some(_) if self.is_recording() => {}
            Some(template) => canonical::write_str(&mut self.bytes, template),
        }
    }

    /// Makes the raw texts of the URI part of the key that an argument has asked for, behind the mount.
    #[cfg(feature = "axum")]
    pub(crate) fn raw(&mut self, path: &str, query: Option<&str>) {
        if self.is_recording() {
            return;
        }
        let part = self.raw_part(path, query);
        match self.is_text {
            true => self.extend_suffix(&part),
            false => self.bytes.extend_from_slice(&part),
        }
    }

    /// What a request adds to a text that a key builder has made: the headers of these names, the mount, and
    /// raw texts of the URI.
    #[cfg(feature = "axum")]
    pub(crate) fn suffix(&self, request: &impl crate::axum::RequestHead, names: &[&str]) -> String {
        let mut end = headers_suffix(request.headers(), names);
        if let Some(template) = request.mount() {
            end = mounted_suffix(&end, template);
        }
        if self.raw.path || self.raw.query {
            let part = self.raw_part(request.raw_path(), request.uri().query());
            end = suffix(end.as_bytes(), &part);
        }
        end
    }

    #[cfg(feature = "axum")]
    fn raw_part(&self, path: &str, query: Option<&str>) -> KeyBytes {
        let mut part = KeyBytes::new();
        if self.raw.path {
            canonical::write_bytes(&mut part, path.as_bytes());
        }
        if self.raw.query {
            write_optional(&mut part, query.map(str::as_bytes));
        }
        part
    }

    #[cfg(feature = "axum")]
    fn extend_suffix(&mut self, part: &[u8]) {
        let at = self.bytes.len() - self.suffix;
        let end = suffix(&self.bytes[at..], part);
        self.bytes.truncate(at);
        self.bytes.extend_from_slice(end.as_bytes());
        self.suffix = end.len();
    }

    /// Lets the raw text of the query join the key, since `field` of an argument is filled from it and not
    /// written.
    #[cfg(feature = "axum")]
    pub(crate) fn needs_raw_query(&mut self, argument: &str, field: &str) {
        self.raw.query = true;
        self.is_incomplete(argument, field);
    }

    /// As [`needs_raw_query`](Self::needs_raw_query), for the path.
    #[cfg(feature = "axum")]
    pub(crate) fn needs_raw_path(&mut self, argument: &str, field: &str) {
        self.raw.path = true;
        self.is_incomplete(argument, field);
    }

    /// Keeps the call out of the cache, since `field` of an argument is filled from a body and not written.
    #[cfg(feature = "axum")]
    pub(crate) fn hides(&mut self, argument: &str, field: &str) {
        self.is_incomplete(argument, field);
        self.bypass_for(Reason::HiddenField);
    }

    #[cfg(feature = "axum")]
    fn is_incomplete(&mut self, argument: &str, field: &str) {
        // Entries alone ask for it, and record.
        if let Some(rare) = &mut self.rare {
            rare.incomplete.get_or_insert_with(|| {
                format!(
                    "`{field}` of the argument `{argument}` is filled by the request and not written by \
                     `Serialize`, so that an entry cannot tell the calls apart"
                )
            });
        }
    }

    /// Makes request headers part of the key, with their names, as many as there are.
    #[cfg(feature = "axum")]
    pub(crate) fn links<'a>(&mut self, headers: impl Iterator<Item = (&'a str, Vec<u8>)>) {
        let mut part = KeyBytes::new();
        for (name, value) in headers {
            canonical::write_str(&mut part, name);
            canonical::write_bytes(&mut part, &value);
        }
        // What comes behind is not taken for one of them.
        canonical::write_str(&mut part, "");
        match self.is_text {
            true => self.extend_suffix(&part),
            false => self.bytes.extend_from_slice(&part),
        }
    }

    /// Notes that the function can read every header of the request.
    #[cfg(feature = "axum")]
    pub(crate) fn sees_headers(&mut self) {
        self.sees_headers = true;
    }

    /// Keeps the call out of the cache.
    pub(crate) fn bypass(&mut self) {
        self.is_bypassed = true;
    }

    /// The same, for a reason.
    #[cfg(feature = "axum")]
    pub(crate) fn bypass_for(&mut self, reason: Reason) {
        self.bypass();
        self.rare.get_or_insert_default().bypass_reason = Some(reason);
    }

    /// Why the call is kept out of the cache.
    #[cfg(feature = "axum")]
    pub(crate) fn bypass_reason(&self) -> Reason {
        let reason = self.rare.as_ref().and_then(|rare| rare.bypass_reason);
        reason.unwrap_or(Reason::Key)
    }

    #[inline]
    fn write(
        &mut self,
        name: &'static str,
        write: impl FnOnce(&mut KeyBytes) -> Result<(), canonical::CanonicalError>,
    ) {
        let start = self.bytes.len();
        if let Err(error) = write(&mut self.bytes) {
            self.fail(|| format!("the argument `{name}` cannot be part of a key: {error}"));
            return;
        }
        if let Some(rare) = &mut self.rare
            && let Some(arguments) = &mut rare.arguments
        {
            let end = self.bytes.len();
            arguments.push(Span { name, start, end });
        }
    }

    #[cold]
    fn fail(&mut self, message: impl FnOnce() -> String) {
        let rare = self.rare.get_or_insert_default();
        rare.error
            .get_or_insert_with(|| Error::new(ErrorKind::Key, message()));
    }

    /// Whether the call passes the cache by: an argument raised an error, or kept it out.
    #[inline]
    pub(crate) fn is_refused(&self) -> bool {
        self.is_bypassed || self.rare.as_ref().is_some_and(|rare| rare.error.is_some())
    }

    /// What there is of the key before the mount joins it.
    #[cfg(feature = "axum")]
    pub(crate) fn unmounted(&self) -> UnmountedKey {
        UnmountedKey(Self {
            bytes: self.bytes.clone(),
            is_text: self.is_text,
            suffix: self.suffix,
            ..Self::default()
        })
    }

    /// Why no entry belongs to the arguments, if none does.
    pub(crate) fn take_refusal(&mut self) -> Option<Error> {
        if let Some(error) = self.take_error() {
            return Some(error);
        }
        let incomplete = self.rare.as_mut().and_then(|rare| rare.incomplete.take());
        let kept_out = || "a call with these arguments is kept out of the cache".to_owned();
        let message = incomplete.or_else(|| self.is_bypassed.then(kept_out));
        message.map(|message| Error::new(ErrorKind::Key, message))
    }

    #[cfg(feature = "axum")]
    fn is_recording(&self) -> bool {
        !self.is_text
            && self
                .rare
                .as_ref()
                .is_some_and(|rare| rare.arguments.is_some())
    }

    /// Takes the error that an argument raised, if one did.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.rare.as_mut()?.error.take()
    }

    /// Whether an argument lets the function read every header of the request.
    #[cfg(feature = "axum")]
    #[inline]
    pub(crate) fn has_seen_headers(&self) -> bool {
        self.sees_headers
    }

    /// Ends the writer: a drop, without a call where there is nothing to free.
    #[inline]
    pub(crate) fn discard(self) {
        if self.rare.is_none() && self.bytes.is_inline() {
            std::mem::forget(self);
        }
    }

    /// Whether the function wrote its key as a text.
    #[inline]
    pub(crate) fn is_text(&self) -> bool {
        self.is_text
    }

    pub(crate) fn args(&self) -> Args<'_> {
        let arguments = self
            .rare
            .as_ref()
            .and_then(|rare| rare.arguments.as_deref());
        Args::new(&self.bytes, arguments.unwrap_or_default())
    }

    /// The local key, without copying; `None` if the function cannot be told apart from another.
    #[inline(always)]
    pub(crate) fn local(&self, prefix: u32, site: &'static Site) -> Option<LocalKey<'_>> {
        // Before anything else is read, so that a length that is known when this is compiled stays so.
        let bytes = &self.bytes[..];
        Some(LocalKey::new(self.space(prefix, site)?, bytes))
    }

    /// The key, to keep.
    pub(crate) fn into_key(self, prefix: u32, site: &'static Site) -> Option<Key> {
        let space = self.space(prefix, site)?;
        Some(Key {
            space,
            bytes: self.bytes,
        })
    }

    #[inline]
    fn space(&self, prefix: u32, site: &'static Site) -> Option<u64> {
        let owner = if self.is_text {
            site.texts()
        } else {
            site.id()?
        };
        Some(space(prefix, owner))
    }
}

/// The key of one call: canonical bytes, and the space that they belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    space: u64,
    bytes: KeyBytes,
}

impl Key {
    /// The key whose text a builder chose.
    pub(crate) fn from_text(prefix: u32, site: &Site, text: &str) -> Self {
        Self {
            space: space(prefix, site.texts()),
            bytes: KeyBytes::from_slice(text.as_bytes()),
        }
    }

    /// The key of a function whose arguments have been written already; `None` if the function cannot be
    /// told apart from another.
    #[cfg(feature = "axum")]
    pub(crate) fn from_bytes(prefix: u32, site: &'static Site, bytes: KeyBytes) -> Option<Self> {
        Some(Self {
            space: space(prefix, site.id()?),
            bytes,
        })
    }

    /// The key of the same space with other bytes.
    #[cfg(feature = "axum")]
    pub(crate) fn with_bytes(&self, bytes: KeyBytes) -> Self {
        let space = self.space;
        Self { space, bytes }
    }

    /// The key of something that belongs to what this is the key of.
    #[cfg(feature = "axum")]
    pub(crate) fn extended(&self, more: &[u8]) -> Self {
        let mut extended = self.clone();
        extended.bytes.extend_from_slice(more);
        extended
    }

    pub(crate) fn local(&self) -> LocalKey<'_> {
        LocalKey::new(self.space, &self.bytes)
    }

    /// What remote backends and logs show: `{prefix}:{namespace}:{md5 or text}`.
    pub(crate) fn printed(&self, prefix: &str) -> String {
        print_key(prefix, self.space, &self.bytes).unwrap_or_default()
    }
}

/// What the request headers add to a key that is a text; nothing where none count.
#[cfg(feature = "axum")]
pub(crate) fn headers_suffix(headers: &http::HeaderMap, names: &[&str]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut part = KeyBytes::new();
    write_headers(&mut part, headers, names);
    suffix(b"", &part)
}

/// The suffix of a text after a mount, given that of the headers.
#[cfg(feature = "axum")]
pub(crate) fn mounted_suffix(before: &str, template: &str) -> String {
    suffix(before.as_bytes(), &mount_part(template))
}

#[cfg(feature = "axum")]
fn mount_part(template: &str) -> KeyBytes {
    let mut part = KeyBytes::new();
    canonical::write_str(&mut part, template);
    part
}

#[cfg(feature = "axum")]
fn write_headers(bytes: &mut KeyBytes, headers: &http::HeaderMap, names: &[&str]) {
    for name in names {
        write_optional(
            bytes,
            crate::http::selecting_lines(headers, name).as_deref(),
        );
    }
}

/// Appends a byte string, or that there is none.
#[cfg(feature = "axum")]
pub(crate) fn write_optional(bytes: &mut KeyBytes, value: Option<&[u8]>) {
    match value {
        Some(value) => canonical::write_bytes(bytes, value),
        None => canonical::write_str(bytes, ""),
    }
}

/// Prints a key that the local store holds.
pub(crate) fn print_stored(prefix: &str, key: &StoredKey) -> Option<String> {
    print_key(prefix, key.space(), key.bytes())
}

/// Hashes a printed key, for the local store's index. The same text has the same hash in every
/// cache of this process.
pub(crate) fn hash_printed(printed: &str) -> u64 {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    HASHER.hash_one(printed)
}

/// The number of the prefix in a local key's space, and the number of its owner.
pub(crate) fn split_space(space: u64) -> (u32, u32) {
    ((space >> 32) as u32, space as u32)
}

#[inline]
fn space(prefix: u32, owner: u32) -> u64 {
    u64::from(prefix) << 32 | u64::from(owner)
}

fn print_key(prefix: &str, space: u64, bytes: &[u8]) -> Option<String> {
    let (_, owner) = split_space(space);
    Some(match site::owner(owner)? {
        Owner::Function(site) => {
            let mut printed = key_prefix(prefix, site.namespace_name());
            printed.push_str(&digest(site, bytes));
            printed
        }
        Owner::Texts(namespace) => {
            let prefix = key_prefix(prefix, namespace);
            print::printed(&prefix, &String::from_utf8_lossy(bytes))
        }
    })
}

/// The default key of a call: what was called, and with what.
fn digest(site: &Site, arguments: &[u8]) -> String {
    print::digest([
        site.path().as_bytes(),
        site.function().as_bytes(),
        &site.version_number().to_be_bytes()[..],
        arguments,
    ])
}
