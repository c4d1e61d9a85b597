//! Fields that a request fills and `Serialize` does not write.
//!
//! An extractor of axum deserializes what a client sent. A field that is then left out when the value is
//! serialized would be missing from the key, though the handler sees it. Generated code asks once for each
//! argument, `(&&&Filled::new("search", &search, &VERDICTS)).check(site, request, key)`, and the verdict on a type is
//! kept: where a field is missing, the raw text of the query or of the path joins the key, and what was read
//! from a body is not cached.

use std::any::type_name;
use std::ops::Deref;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use axum::extract::{Path, Query};
use axum_core::extract::{FromRequest, FromRequestParts};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::KeyWriter;
use super::hidden::{Hidden, hidden_field};
use crate::axum::RequestHead;
use crate::site::Site;

/// The request that an argument was filled by; `None` for an entry.
pub(crate) type Request<'a> = Option<&'a dyn RequestHead>;

/// An argument of a handler, by its parameter's name.
#[derive(Debug)]
pub struct Filled<'a, T> {
    argument: &'static str,
    value: &'a T,
    verdicts: &'static Verdicts,
}

impl<'a, T> Filled<'a, T> {
    /// An argument, and where verdicts on its type are kept.
    #[must_use]
    pub const fn new(argument: &'static str, value: &'a T, verdicts: &'static Verdicts) -> Self {
        Self {
            argument,
            value,
            verdicts,
        }
    }
}

/// Extractors, whose fields a request fills.
pub trait ByExtractor {
    /// Sees to it that hidden fields count.
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter);
}

impl<T: Extractor> ByExtractor for &&Filled<'_, T> {
    #[inline]
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter) {
        let Some(fields) = self.value.fields() else {
            return;
        };
        self.count(site, request, key, T::SOURCE, fields);
    }
}

/// Wrappers of what a body holds, such as `Json`: they take the whole request, and dereference to what they
/// have read from it.
pub trait ByBody {
    /// Sees to it that hidden fields count.
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter);
}

impl<T> ByBody for &Filled<'_, T>
where
    T: Deref<Target: Serialize + DeserializeOwned> + FromRequest<()>,
{
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter) {
        self.count::<T::Target>(site, request, key, Source::Body, self.value);
    }
}

/// Other extractors that dereference to what they have read: from where is not known.
pub trait ByParts {
    /// Sees to it that hidden fields count.
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter);
}

impl<T> ByParts for &Filled<'_, T>
where
    T: Deref<Target: Serialize + DeserializeOwned> + FromRequestParts<()>,
{
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter) {
        self.count::<T::Target>(site, request, key, Source::Unknown, self.value);
    }
}

/// Optional ones.
pub trait ByOptionalBody {
    /// Sees to it that hidden fields count.
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter);
}

impl<T> ByOptionalBody for &Filled<'_, Option<T>>
where
    T: Deref<Target: Serialize + DeserializeOwned> + FromRequest<()>,
{
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter) {
        if let Some(body) = self.value {
            self.count::<T::Target>(site, request, key, Source::Body, body);
        }
    }
}

/// Those that can fail.
pub trait ByFallibleBody {
    /// Sees to it that hidden fields count.
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter);
}

impl<T, E> ByFallibleBody for &Filled<'_, Result<T, E>>
where
    T: Deref<Target: Serialize + DeserializeOwned> + FromRequest<()>,
{
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter) {
        if let Ok(body) = self.value {
            self.count::<T::Target>(site, request, key, Source::Body, body);
        }
    }
}

/// All else: no request fills it.
pub trait ByNoRequest {
    /// Does nothing.
    fn check(&self, site: &'static Site, request: Request<'_>, key: &mut KeyWriter);
}

impl<T> ByNoRequest for Filled<'_, T> {
    #[inline]
    fn check(&self, _: &'static Site, _: Request<'_>, _: &mut KeyWriter) {}
}

impl<T> Filled<'_, T> {
    #[inline]
    fn count<F: Serialize + DeserializeOwned>(
        &self,
        site: &'static Site,
        request: Request<'_>,
        key: &mut KeyWriter,
        source: Source,
        fields: &F,
    ) {
        if self.verdicts.is_clean::<F>() {
            return;
        }
        let verdict = self.verdicts.on(fields, || source.names(request));
        if let Some(field) = verdict.hides(fields, || source.names(request)) {
            self.count_hidden(site, key, source, field);
        }
    }

    #[cold]
    fn count_hidden(
        &self,
        site: &'static Site,
        key: &mut KeyWriter,
        source: Source,
        field: &'static str,
    ) {
        if is_first_report(site, self.argument) {
            report(site, self.argument, field, source);
        }
        match source {
            Source::Query => key.needs_raw_query(self.argument, field),
            Source::Path => key.needs_raw_path(self.argument, field),
            Source::Body | Source::Unknown => key.hides(self.argument, field),
        }
    }
}

/// Where the fields of a value come from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// The query of the URI.
    Query,
    /// The path of the URI.
    Path,
    /// The body, which cannot be read twice.
    Body,
    /// What an extractor of the program's own looks at.
    Unknown,
}

impl Source {
    /// The names of what a request fills, as far as they can be read here.
    fn names(self, request: Request<'_>) -> Vec<String> {
        let uri = request.filter(|_| matches!(self, Self::Query));
        let pairs = uri.map(|request| Query::<Vec<(String, String)>>::try_from_uri(request.uri()));
        let Some(Ok(Query(pairs))) = pairs else {
            return Vec::new();
        };
        pairs.into_iter().map(|(name, _)| name).collect()
    }
}

/// An extractor that deserializes a part of the URI.
pub trait Extractor {
    /// What it deserializes.
    type Fields: Serialize + DeserializeOwned;
    /// From what.
    const SOURCE: Source;

    /// What it has deserialized; `None` if there was nothing, or if that failed.
    fn fields(&self) -> Option<&Self::Fields>;
}

impl<T: Serialize + DeserializeOwned> Extractor for Query<T> {
    type Fields = T;
    const SOURCE: Source = Source::Query;

    fn fields(&self) -> Option<&T> {
        Some(&self.0)
    }
}

impl<T: Serialize + DeserializeOwned> Extractor for Path<T> {
    type Fields = T;
    const SOURCE: Source = Source::Path;

    fn fields(&self) -> Option<&T> {
        Some(&self.0)
    }
}

/// The form of a GET is its query.
impl<T: Serialize + DeserializeOwned> Extractor for axum::Form<T> {
    type Fields = T;
    const SOURCE: Source = Source::Query;

    fn fields(&self) -> Option<&T> {
        Some(&self.0)
    }
}

impl<T: Extractor> Extractor for Option<T> {
    type Fields = T::Fields;
    const SOURCE: Source = T::SOURCE;

    fn fields(&self) -> Option<&T::Fields> {
        self.as_ref()?.fields()
    }
}

impl<T: Extractor, E> Extractor for Result<T, E> {
    type Fields = T::Fields;
    const SOURCE: Source = T::SOURCE;

    fn fields(&self) -> Option<&T::Fields> {
        self.as_ref().ok()?.fields()
    }
}

/// What is known of one type.
#[derive(Debug)]
enum Verdict {
    /// `Serialize` writes all that `Deserialize` fills.
    Nothing,
    /// All but this field, at least.
    Hides(&'static str),
    /// All that some names fill. Nothing is known of others.
    Open(RwLock<Asked>),
}

/// The names that were asked about.
#[derive(Debug, Default)]
struct Asked {
    names: Vec<String>,
    /// The field that one of them fills unseen.
    hides: Option<&'static str>,
}

/// A field that could not be named.
const UNKNOWN: &str = "a field";

/// How many names are asked about: clients choose them, and each question takes a while.
const MOST_NAMES: usize = 64;

impl Verdict {
    #[cold]
    fn find<F: Serialize + DeserializeOwned>(fields: &F, names: Vec<String>) -> Self {
        let asked: Vec<&str> = names.iter().map(String::as_str).collect();
        match hidden_field(fields, &asked) {
            Hidden::Nothing => Self::Nothing,
            Hidden::Open => Self::Open(RwLock::new(Asked { names, hides: None })),
            Hidden::Field(field) => Self::Hides(field.leak()),
            Hidden::Unknown => Self::Hides(UNKNOWN),
        }
    }

    /// The field that is missing, if one is.
    #[inline]
    fn hides<F: Serialize + DeserializeOwned>(
        &self,
        fields: &F,
        names: impl FnOnce() -> Vec<String>,
    ) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Hides(field) => Some(field),
            Self::Open(asked) => hidden_among(asked, fields, names()),
        }
    }
}

/// Asks about names that have not been asked about.
#[cold]
fn hidden_among<F: Serialize + DeserializeOwned>(
    asked: &RwLock<Asked>,
    fields: &F,
    mut names: Vec<String>,
) -> Option<&'static str> {
    {
        let asked = asked.read().unwrap_or_else(PoisonError::into_inner);
        names.retain(|name| !asked.names.contains(name));
        if asked.hides.is_some() || names.is_empty() {
            return asked.hides;
        }
    }
    let is_full = || {
        let asked = asked.read().unwrap_or_else(PoisonError::into_inner);
        asked.names.len() + names.len() > MOST_NAMES
    };
    if is_full() {
        return Some(UNKNOWN);
    }
    let new: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = match hidden_field(fields, &new) {
        Hidden::Nothing | Hidden::Open => None,
        Hidden::Field(field) => Some(&*field.leak()),
        Hidden::Unknown => Some(UNKNOWN),
    };
    let mut asked = asked.write().unwrap_or_else(PoisonError::into_inner);
    asked.names.append(&mut names);
    asked.hides = asked.hides.or(found);
    asked.hides
}

/// The verdicts on the type of one parameter. A generic function has one for each of its types.
#[derive(Debug)]
pub struct Verdicts {
    first: OnceLock<(&'static str, Verdict)>,
    others: Mutex<Vec<(&'static str, &'static Verdict)>>,
}

impl Verdicts {
    /// No verdicts yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "generated code alone makes one")]
    pub const fn new() -> Self {
        Self {
            first: OnceLock::new(),
            others: Mutex::new(Vec::new()),
        }
    }

    /// Whether it is known already that `Serialize` writes all of this type, which is the one that most are of.
    #[inline]
    fn is_clean<F>(&self) -> bool {
        match self.first.get() {
            Some((first, Verdict::Nothing)) => *first == type_name::<F>(),
            _ => false,
        }
    }

    /// The verdict on a type, found when its first value is seen.
    #[cold]
    fn on<F: Serialize + DeserializeOwned>(
        &'static self,
        fields: &F,
        names: impl Fn() -> Vec<String>,
    ) -> &'static Verdict {
        let find = || Verdict::find(fields, names());
        let name = type_name::<F>();
        let (first, verdict) = self.first.get_or_init(|| (name, find()));
        match std::ptr::eq(*first, name) || *first == name {
            true => verdict,
            false => self.on_another(name, find),
        }
    }

    #[cold]
    fn on_another(&self, name: &'static str, find: impl FnOnce() -> Verdict) -> &'static Verdict {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let known = others.iter().find(|(known, _)| *known == name);
        if let Some((_, verdict)) = known {
            return verdict;
        }
        // There are as many as types, which live as long.
        let verdict = Box::leak(Box::new(find()));
        others.push((name, verdict));
        verdict
    }
}

fn report(site: &Site, argument: &str, field: &str, source: Source) {
    let effect = match source {
        Source::Query => "the raw query is part of the key",
        Source::Path => "the raw path is part of the key",
        Source::Body | Source::Unknown => "requests to it are not cached",
    };
    tracing::warn!(
        function = %site,
        argument,
        field,
        "a request fills a field that `Serialize` does not write, so that {effect}: serialize the field, or \
         leave the argument out with `skip(..)` if the reply does not depend on it"
    );
}

/// The function and its `entry` ask apart, and report together.
fn is_first_report(site: &'static Site, argument: &'static str) -> bool {
    static REPORTED: Mutex<Vec<(&'static Site, &'static str)>> = Mutex::new(Vec::new());
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_known = reported
        .iter()
        .any(|(known, name)| std::ptr::eq(*known, site) && *name == argument);
    if !is_known {
        reported.push((site, argument));
    }
    !is_known
}

#[cfg(test)]
mod tests {
    use axum::Form;
    use axum::extract::rejection::QueryRejection;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::key::Raw;

    #[derive(Clone, Deserialize, Serialize)]
    #[allow(dead_code, reason = "one field is not even written")]
    struct Search {
        text: String,
        #[serde(default, skip_serializing)]
        token: String,
    }

    struct Body<T>(T);

    impl<T> Deref for Body<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T: Sync + Send, S: Sync> FromRequest<S> for Body<T> {
        type Rejection = axum_core::response::Response;

        async fn from_request(
            _: axum_core::extract::Request,
            _: &S,
        ) -> Result<Self, Self::Rejection> {
            Err(Default::default())
        }
    }

    static SITE: Site = Site::new("test", "search", || "test::search");

    /// A place that has the verdict on [`Search`] already.
    fn hiding() -> &'static Verdicts {
        let verdicts = Verdicts::new();
        let known = (type_name::<Search>(), Verdict::Hides("token"));
        verdicts.first.set(known).unwrap();
        Box::leak(Box::new(verdicts))
    }

    fn search() -> Search {
        Search {
            text: "text".to_owned(),
            token: "token".to_owned(),
        }
    }

    macro_rules! check {
        ($value:expr) => {{
            let mut key = KeyWriter::recording();
            (&&&Filled::new("search", &$value, hiding())).check(&SITE, None, &mut key);
            let Raw { path, query } = key.raw;
            (path, query, key.is_bypassed, key.take_refusal().is_some())
        }};
    }

    #[test]
    fn the_source_of_a_hidden_field_joins_the_key() {
        let query = (false, true, false, true);
        assert_eq!(check!(Query(search())), query);
        assert_eq!(search().token, "token");
        assert_eq!(check!(Form(search())), query);
        assert_eq!(check!(Some(Query(search()))), query);
        let fallible: Result<_, QueryRejection> = Ok(Query(search()));
        assert_eq!(check!(fallible), query);
        assert_eq!(check!(Path(search())), (true, false, false, true));
        let body = (false, false, true, true);
        assert_eq!(check!(Body(search())), body);
        assert_eq!(check!(Some(Body(search()))), body);
        assert_eq!(check!(Ok::<_, String>(Body(search()))), body);
        // A middleware has put it there, which may have looked at anything.
        assert_eq!(check!(axum::Extension(search())), body);
    }

    #[test]
    fn what_no_request_fills_hides_nothing() {
        let nothing = (false, false, false, false);
        assert_eq!(check!(None::<Query<Search>>), nothing);
        assert_eq!(check!(search()), nothing);
        assert_eq!(check!(Query(1_u8)), nothing);
    }

    #[test]
    fn each_type_of_a_generic_function_has_its_verdict() {
        let verdicts = hiding();
        for _ in 0..2 {
            let on_search = verdicts.on(&search(), Vec::new);
            assert!(matches!(on_search, Verdict::Hides("token")));
            assert!(matches!(verdicts.on(&1_u8, Vec::new), Verdict::Nothing));
            assert!(matches!(verdicts.on(&2_u16, Vec::new), Verdict::Nothing));
        }
    }

    #[test]
    fn names_are_asked_about_once_and_not_without_end() {
        let asked = Asked {
            names: vec!["page".to_owned()],
            hides: None,
        };
        let open = Verdict::Open(RwLock::new(asked));
        // It writes all that it reads.
        let hides = |name: &str| open.hides(&1_u8, || vec![name.to_owned()]);
        for name in ["page", "text", "text"] {
            assert_eq!(hides(name), None);
        }
        let made_up: Vec<_> = (0..100).map(|name| hides(&name.to_string())).collect();
        assert_eq!(made_up.iter().flatten().count(), 100 + 2 - MOST_NAMES);
        assert_eq!(hides("page"), None);
    }

    #[test]
    fn names_are_read_from_the_query() {
        let uri = "/path?a=1&b%5B%5D=2&c+d";
        let request = http::Request::get(uri).body(()).unwrap();
        let names = |source: Source| source.names(Some(&request));
        assert_eq!(names(Source::Query), ["a", "b[]", "c d"]);
        assert!(names(Source::Path).is_empty());
        assert!(Source::Query.names(None).is_empty());
    }

    #[test]
    fn an_argument_is_reported_once() {
        static OTHER: Site = Site::new("test", "other", || "test::other");
        let reports = [(&SITE, "a"), (&SITE, "a"), (&SITE, "b"), (&OTHER, "a")];
        let reports = reports.map(|(site, argument)| is_first_report(site, argument));
        assert_eq!(reports, [true, false, true, true]);
    }
}
