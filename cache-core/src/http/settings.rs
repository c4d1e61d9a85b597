//! The settings of HTTP, as they are given and as they have been checked.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::directives::RequestDirectives;
use super::notable::NotableHeaders;

/// The settings, as given.
#[derive(Clone, Debug)]
pub(crate) struct HttpConfig {
    pub(crate) status_header: String,
    pub(crate) cache_status: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) client_directives: bool,
    pub(crate) max_body: usize,
    pub(crate) strong_etags: bool,
    pub(crate) coalesce_timeout: Duration,
    pub(crate) notable: NotableHeaders,
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub(crate) struct HttpSettings {
    /// The header that says `HIT` or `MISS`.
    pub(crate) status_header: HeaderName,
    /// The name under which `Cache-Status` speaks of this cache; `None` where it says nothing.
    pub(crate) cache_status: Option<Arc<str>>,
    /// The `Cache-Control` of replies whose handler names none.
    pub(crate) cache_control: Option<GivenCacheControl>,
    client_directives: bool,
    pub(crate) max_body: usize,
    /// Whether a tag that the cache makes says that the bytes of the body are the same.
    pub(crate) strong_etags: bool,
    /// For how long a request waits for what another one fetches.
    pub(crate) coalesce_timeout: Duration,
    pub(crate) notable: NotableHeaders,
}

/// The `Cache-Control` that the settings give.
#[derive(Clone, Debug)]
pub(crate) struct GivenCacheControl {
    pub(crate) value: HeaderValue,
    /// Whether it keeps shared caches from serving a reply to another client without asking.
    pub(crate) keeps_apart: bool,
}

/// A setting that cannot be.
#[derive(Clone, Debug)]
pub(crate) enum InvalidSetting {
    StatusHeader(String),
    CacheControl(String),
}

impl HttpSettings {
    /// The directives of a request, as far as they are heard.
    pub(crate) fn directives(&self, request: &HeaderMap) -> RequestDirectives {
        match self.client_directives {
            true => RequestDirectives::parse(request),
            false => RequestDirectives::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            status_header: "X-FastAPI-Cache".to_owned(),
            cache_status: None,
            cache_control: None,
            client_directives: true,
            max_body: 2 << 20,
            strong_etags: false,
            coalesce_timeout: Duration::from_secs(5),
            notable: NotableHeaders::default(),
        }
    }
}

impl HttpConfig {
    pub(crate) fn check(self) -> Result<HttpSettings, InvalidSetting> {
        let Ok(status_header) = HeaderName::try_from(&self.status_header) else {
            return Err(InvalidSetting::StatusHeader(self.status_header));
        };
        let cache_control = match self.cache_control {
            Some(text) => Some(checked_directives(text)?),
            None => None,
        };
        Ok(HttpSettings {
            status_header,
            cache_status: self.cache_status.map(Into::into),
            cache_control,
            client_directives: self.client_directives,
            max_body: self.max_body,
            strong_etags: self.strong_etags,
            coalesce_timeout: self.coalesce_timeout,
            notable: self.notable,
        })
    }
}

/// A list of directives as a header value. What the directives mean is for the client, so that the form alone
/// is checked (RFC 9111 section 5.2).
fn checked_directives(text: String) -> Result<GivenCacheControl, InvalidSetting> {
    let is_token = |name: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !name.is_empty() && name.bytes().all(is_part)
    };
    let is_directive = |member: &str| {
        let (name, value) = member.split_once('=').unwrap_or((member, "0"));
        is_token(name.trim()) && !value.trim().is_empty()
    };
    match HeaderValue::try_from(&text) {
        Ok(value) if text.split(',').all(is_directive) => Ok(GivenCacheControl {
            keeps_apart: keeps_apart(&text),
            value,
        }),
        _ => Err(InvalidSetting::CacheControl(text)),
    }
}

/// Whether no shared cache may serve it as it is. With the names of headers, `private` and `no-cache` speak of these
/// alone (RFC 9111 sections 5.2.2.4 and 5.2.2.7).
fn keeps_apart(text: &str) -> bool {
    let keeps = |member: &str| {
        let directives = ["private", "no-store", "no-cache"];
        directives
            .iter()
            .any(|directive| directive.eq_ignore_ascii_case(member.trim()))
    };
    text.split(',').any(keeps)
}
