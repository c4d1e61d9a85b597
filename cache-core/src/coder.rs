//! How values become bytes for a shared store, and values again.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, ErrorKind};

/// Turns values into bytes and back, for backends that store bytes.
///
/// A coder is a type without a value: `#[cache(coder = Json)]` names it, and
/// [`Config::coder`](crate::Config::coder) sets the one for every function that names none.
/// Values that stay in this process are never encoded.
///
/// Fifteen lines make one:
///
/// ```
/// # #[cfg(feature = "json")] {
/// use fast_cache_core::{Coder, Error, ErrorKind};
/// use serde::{Serialize, de::DeserializeOwned};
///
/// struct PrettyJson;
///
/// impl Coder for PrettyJson {
///     const ID: &'static str = "pretty-json";
///     fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
///         serde_json::to_vec_pretty(value)
///             .map_err(|error| Error::new(ErrorKind::Encode, "not JSON").with_source(error))
///     }
///     fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
///         serde_json::from_slice(bytes)
///             .map_err(|error| Error::new(ErrorKind::Decode, "not JSON").with_source(error))
///     }
/// }
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a coder",
    label = "not a coder",
    note = "use `Json`, `Bincode` or `MessagePack`, or implement `Coder` for `{Self}`"
)]
pub trait Coder: Send + Sync + 'static {
    /// Names the format. It is stored beside every value: bytes of another coder are a miss, never
    /// decoded by this one. At most 255 bytes.
    const ID: &'static str;

    /// Encodes a value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`] when the value cannot be represented.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error>;

    /// Decodes a value, on the thread that called it.
    ///
    /// The bytes come from a store that others can write to: an implementation bounds what it
    /// allocates and returns an error where they make no sense.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] when the bytes are no value of type `T`.
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error>;

    /// Encodes the body of an HTTP response, which is bytes already.
    ///
    /// By default it is encoded like any other value, so that a coder which encrypts or compresses
    /// sees bodies too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`], as for [`encode`](Self::encode).
    fn encode_body(body: &[u8]) -> Result<Vec<u8>, Error> {
        Self::encode(&Body(body))
    }

    /// Decodes what [`encode_body`](Self::encode_body) made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`], as for [`decode`](Self::decode).
    fn decode_body(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        Self::decode::<BodyBuf>(bytes).map(|body| body.0)
    }
}

/// JSON through `serde_json`: readable in every store, and the default.
///
/// A response's body is stored as it is.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

#[cfg(feature = "json")]
impl Coder for Json {
    const ID: &'static str = "json";

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(value).map_err(|error| encode_error("json", error))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|error| decode_error("json", error))
    }

    fn encode_body(body: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(body.to_vec())
    }

    fn decode_body(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(bytes.to_vec())
    }
}

/// The compact format of `bincode` 2, through serde.
///
/// Decoding allocates at most 64 MiB. `bincode` is no longer maintained (RUSTSEC-2025-0141); prefer
/// [`MessagePack`] unless stored values must stay readable for other programs that use it. The
/// format does not describe itself: give `#[cache(version = ..)]` a new number whenever the type of
/// the value changes shape.
#[cfg(feature = "bincode")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bincode;

#[cfg(feature = "bincode")]
impl Bincode {
    const DECODE_LIMIT: usize = 64 << 20;

    fn configuration() -> impl bincode::config::Config {
        bincode::config::standard().with_limit::<{ Self::DECODE_LIMIT }>()
    }
}

#[cfg(feature = "bincode")]
impl Coder for Bincode {
    const ID: &'static str = "bincode2";

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
        bincode::serde::encode_to_vec(value, Self::configuration())
            .map_err(|error| encode_error("bincode", error))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        let (value, read) = bincode::serde::decode_from_slice(bytes, Self::configuration())
            .map_err(|error| decode_error("bincode", error))?;
        if read < bytes.len() {
            return Err(trailing("bincode"));
        }
        Ok(value)
    }
}

/// MessagePack through `rmp-serde`: compact, maintained, and readable from other languages.
///
/// Structs are written with their field names, so that a field with `#[serde(default)]` can be
/// added without a new `version`.
#[cfg(feature = "msgpack")]
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

#[cfg(feature = "msgpack")]
impl Coder for MessagePack {
    const ID: &'static str = "msgpack";

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
        rmp_serde::to_vec_named(value).map_err(|error| encode_error("msgpack", error))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        let mut rest = bytes;
        let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
            .map_err(|error| decode_error("msgpack", error))?;
        if !rest.is_empty() {
            return Err(trailing("msgpack"));
        }
        Ok(value)
    }
}

/// A coder whose type is no longer known: what the registry holds.
#[derive(Clone)]
pub struct RegisteredCoder(Arc<dyn ErasedCoder>);

impl RegisteredCoder {
    pub(crate) fn new<C: Coder>() -> Self {
        Self(Arc::new(Erased::<C>(PhantomData)))
    }

    /// The [`Coder::ID`] of the coder.
    #[must_use]
    pub fn id(&self) -> &'static str {
        self.0.id()
    }

    /// Encodes a value; see [`Coder::encode`].
    ///
    /// # Errors
    ///
    /// Those of the coder.
    pub fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, Error> {
        self.0.encode(value)
    }

    /// Decodes a value; see [`Coder::decode`].
    ///
    /// # Errors
    ///
    /// Those of the coder.
    pub fn decode<T: DeserializeOwned + 'static>(&self, bytes: &[u8]) -> Result<T, Error> {
        let value = self.0.decode(bytes, |deserializer| {
            Ok(Box::new(erased_serde::deserialize::<T>(deserializer)?))
        })?;
        match value.downcast::<T>() {
            Ok(value) => Ok(*value),
            Err(_) => Err(Error::new(
                ErrorKind::Decode,
                "the coder decoded another value than the one it was asked for",
            )),
        }
    }

    pub(crate) fn encode_body(&self, body: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.encode_body(body)
    }

    pub(crate) fn decode_body(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.decode_body(bytes)
    }
}

impl fmt::Debug for RegisteredCoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegisteredCoder").field(&self.id()).finish()
    }
}

/// Decodes the value that [`Captured`] is to hold out of any deserializer.
type DecodeErased =
    fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Box<dyn Any>, erased_serde::Error>;

/// [`Coder`] without its generics.
trait ErasedCoder: Send + Sync {
    fn id(&self) -> &'static str;
    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Vec<u8>, Error>;
    fn decode(&self, bytes: &[u8], decode: DecodeErased) -> Result<Box<dyn Any>, Error>;
    fn encode_body(&self, body: &[u8]) -> Result<Vec<u8>, Error>;
    fn decode_body(&self, bytes: &[u8]) -> Result<Vec<u8>, Error>;
}

struct Erased<C>(PhantomData<fn() -> C>);

impl<C: Coder> ErasedCoder for Erased<C> {
    fn id(&self) -> &'static str {
        C::ID
    }

    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Vec<u8>, Error> {
        C::encode(value)
    }

    fn decode(&self, bytes: &[u8], decode: DecodeErased) -> Result<Box<dyn Any>, Error> {
        let outer = DECODE.replace(Some(decode));
        let captured = C::decode::<Captured>(bytes);
        DECODE.set(outer);
        captured.map(|captured| captured.0)
    }

    fn encode_body(&self, body: &[u8]) -> Result<Vec<u8>, Error> {
        C::encode_body(body)
    }

    fn decode_body(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        C::decode_body(bytes)
    }
}

thread_local! {
    /// What [`Captured`] decodes. A coder's `decode` knows its type alone, so the function that
    /// decodes the wanted one has to reach it beside the call.
    static DECODE: Cell<Option<DecodeErased>> = const { Cell::new(None) };
}

/// Deserializes as whatever [`DECODE`] says.
struct Captured(Box<dyn Any>);

impl<'de> Deserialize<'de> for Captured {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;

        let Some(decode) = DECODE.get() else {
            return Err(D::Error::custom(
                "a coder has to decode on the thread that called it",
            ));
        };
        let mut erased = <dyn erased_serde::Deserializer<'_>>::erase(deserializer);
        decode(&mut erased).map(Self).map_err(D::Error::custom)
    }
}

/// Serializes as a byte string.
struct Body<'a>(&'a [u8]);

impl Serialize for Body<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Deserializes from a byte string, or from a sequence of bytes where the format has none.
struct BodyBuf(Vec<u8>);

impl<'de> Deserialize<'de> for BodyBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = BodyBuf;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<BodyBuf, E> {
                Ok(BodyBuf(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<BodyBuf, E> {
                Ok(BodyBuf(bytes))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut bytes: A,
            ) -> Result<BodyBuf, A::Error> {
                let mut body = Vec::new();
                while let Some(byte) = bytes.next_element()? {
                    body.push(byte);
                }
                Ok(BodyBuf(body))
            }
        }

        deserializer.deserialize_byte_buf(Visitor)
    }
}

#[cfg(any(feature = "json", feature = "bincode", feature = "msgpack"))]
fn encode_error(format: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Encode,
        format!("the value cannot be encoded as {format}"),
    )
    .with_source(source)
}

#[cfg(any(feature = "json", feature = "bincode", feature = "msgpack"))]
fn decode_error(format: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Decode,
        format!("the stored bytes cannot be decoded as {format}"),
    )
    .with_source(source)
}

#[cfg(any(feature = "bincode", feature = "msgpack"))]
fn trailing(format: &str) -> Error {
    Error::new(
        ErrorKind::Decode,
        format!("the stored {format} has bytes after its value"),
    )
}

/// Stands in where no coder was set and the feature of the default one is off.
#[cfg(not(feature = "json"))]
pub(crate) struct Missing;

#[cfg(not(feature = "json"))]
impl Missing {
    const WHY: &'static str = "no coder is set: enable the feature `json`, call `Config::coder`, \
                               or name one with `#[cache(coder = ..)]`";
}

#[cfg(not(feature = "json"))]
impl Coder for Missing {
    const ID: &'static str = "none";

    fn encode<T: Serialize + ?Sized>(_: &T) -> Result<Vec<u8>, Error> {
        Err(Error::new(ErrorKind::Encode, Self::WHY))
    }

    fn decode<T: DeserializeOwned>(_: &[u8]) -> Result<T, Error> {
        Err(Error::new(ErrorKind::Decode, Self::WHY))
    }
}
