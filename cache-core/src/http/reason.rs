//! Why a response is not stored, or a request has nothing to do with the cache.

use std::fmt;

/// Why a response is not stored, or why nothing stored was looked up for a request.
///
/// [`Display`](fmt::Display) and [`text`](Self::text) give what `Cache-Status` says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The response sets a cookie, which is for one client (RFC 9111 section 7.3).
    SetCookie,
    /// The response says `no-store` (RFC 9111 section 5.2.2.5).
    NoStore,
    /// The response says `private`: it is for one client (RFC 9111 section 5.2.2.7).
    Private,
    /// The response says `no-cache`, and would have to be validated for each reply, where that is not done
    /// (RFC 9111 section 5.2.2.4).
    NoCache,
    /// The status is one that is never stored, that is not understood though it has to be, or that is not
    /// among those that are wanted.
    Status,
    /// The response is a part of something (RFC 9111 section 3.4).
    Part,
    /// The response varies with what no key can hold: `Vary: *` (RFC 9111 section 4.1).
    VaryAll,
    /// The response varies with a request header that is not part of the key (RFC 9111 section 4.1).
    VaryUnkeyed,
    /// The response varies with more request headers than are kept apart.
    VaryMany,
    /// The request had `Authorization`, and the response does not say that others may have it (RFC 9111
    /// section 3.5).
    Authorization,
    /// The request tells who sent it, by a header that is not part of the key, and the response does not name a lifetime
    /// for which it may be shared.
    Personal,
    /// The response lets pages of one origin read it, and `Origin` is not part of the key (Fetch, "CORS protocol
    /// and HTTP caches").
    AllowOrigin,
    /// The content type is one of responses that have no end.
    Endless,
    /// The response names no lifetime, gets none, or names one that has passed already (RFC 9111 section 4.2.1).
    NoLifetime,
    /// The handler or its options say so.
    Refused,
    /// The handler returned an error, or failed.
    Error,
    /// The body is longer than what is stored.
    TooLarge,
    /// The headers of the response are longer than what is stored.
    HeadersTooLarge,
    /// The body comes bit by bit, and is passed on as it comes.
    Streams,
    /// The body ended too early (RFC 9111 section 3.3).
    BrokenOff,
    /// The request says `no-store` (RFC 9111 section 5.2.1.5).
    AskedNoStore,
    /// The request tells who sent it, by a header that is not part of the key.
    Credentials,
    /// `Connection` names a header that is not of the connection (RFC 9110 section 7.6.1).
    Connection,
    /// The request has a condition that the origin has to judge (RFC 9110 section 13.1).
    Condition,
    /// The request has a body.
    Body,
    /// It is not certain which host the request is for (RFC 9110 section 7.2).
    Host,
    /// The scheme of the request is neither `http` nor `https` (RFC 9110 section 4.2).
    Scheme,
    /// The request is to be taken for one of another method.
    MethodOverride,
    /// The headers of the request are longer than what is looked at.
    AskedTooMuch,
    /// The path and query are longer than what is part of a key.
    TargetTooLong,
    /// `only_if` says so.
    OnlyIf,
    /// The cache is switched off.
    SwitchedOff,
    /// No key could be made.
    Key,
    /// A field that the request fills is not part of the key, since it is not written.
    HiddenField,
}

impl Reason {
    /// What is said of it: which of the two it is, and why.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::SetCookie => "not stored: set-cookie",
            Self::NoStore => "not stored: no-store",
            Self::Private => "not stored: private",
            Self::NoCache => "not stored: no-cache",
            Self::Status => "not stored: status",
            Self::Part => "not stored: content-range",
            Self::VaryAll => "not stored: vary *",
            Self::VaryUnkeyed => "not stored: vary names a header that is not in the key",
            Self::VaryMany => "not stored: vary names too many headers",
            Self::Authorization => "not stored: authorization",
            Self::Personal => "not stored: credentials",
            Self::AllowOrigin => "not stored: access-control-allow-origin",
            Self::Endless => "not stored: endless",
            Self::NoLifetime => "not stored: no lifetime",
            Self::Refused => "not stored: refused by the handler",
            Self::Error => "not stored: error",
            Self::TooLarge => "not stored: too large",
            Self::HeadersTooLarge => "not stored: headers too large",
            Self::Streams => "not stored: streams",
            Self::BrokenOff => "not stored: broken off",
            Self::AskedNoStore => "bypass: no-store",
            Self::Credentials => "bypass: credentials",
            Self::Connection => "bypass: connection",
            Self::Condition => "bypass: condition",
            Self::Body => "bypass: body",
            Self::Host => "bypass: host",
            Self::Scheme => "bypass: scheme",
            Self::MethodOverride => "bypass: method override",
            Self::AskedTooMuch => "bypass: headers too large",
            Self::TargetTooLong => "bypass: target too long",
            Self::OnlyIf => "bypass: only_if",
            Self::SwitchedOff => "bypass: switched off",
            Self::Key => "bypass: key",
            Self::HiddenField => "bypass: hidden field",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_reason_is_documented() {
        let documented = include_str!("../docs/http_cache.md");
        let texts = include_str!("reason.rs").split('"');
        let texts =
            texts.filter(|text| text.starts_with("not stored: ") || text.starts_with("bypass: "));
        let texts: Vec<_> = texts.filter(|text| !text.ends_with(": ")).collect();
        assert!(texts.len() > 30);
        for text in texts {
            assert!(documented.contains(&format!("| `{text}` |")), "{text}");
        }
    }
}
