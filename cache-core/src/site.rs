//! One annotated function: what never changes between its calls.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::policy::Policy;

/// The static description of one annotated function.
///
/// The attribute makes one for each function; it is not made by hand.
pub struct Site {
    module: &'static str,
    function: &'static str,
    path: fn() -> &'static str,
    namespace: &'static str,
    version: u64,
    vary: &'static [&'static str],
    statuses: &'static [u16],
    cache_control: Option<&'static str>,
    coalesce: Option<bool>,
    lock: Option<bool>,
    policy: Policy,
    tagged: bool,
    id: AtomicU32,
    /// The number of the namespace's texts, or 0 before it is asked for.
    texts: AtomicU32,
    warned: AtomicBool,
}

/// [`Site::id`] before the first call.
const UNREGISTERED: u32 = 0;
/// [`Site::id`] of a function that cannot be told apart from another one.
const CONFLICT: u32 = u32::MAX;

impl Site {
    /// Describes the function `function` in `module`.
    ///
    /// `path` names it together with the functions and impl blocks that it is nested in, which
    /// `module_path!` leaves out: two functions of one name and module need it to be told apart.
    #[must_use]
    pub const fn new(
        module: &'static str,
        function: &'static str,
        path: fn() -> &'static str,
    ) -> Self {
        Self {
            module,
            function,
            path,
            namespace: "",
            version: 0,
            vary: &[],
            statuses: &[200],
            cache_control: None,
            coalesce: None,
            lock: None,
            policy: Policy::NONE,
            tagged: false,
            id: AtomicU32::new(UNREGISTERED),
            texts: AtomicU32::new(UNREGISTERED),
            warned: AtomicBool::new(false),
        }
    }

    /// Sets the namespace, which is empty by default.
    #[must_use]
    pub const fn namespace(mut self, namespace: &'static str) -> Self {
        self.namespace = namespace;
        self
    }

    /// Sets the version of the stored shape, 0 by default.
    #[must_use]
    pub const fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// Sets the request headers, in lowercase, that take part in the key.
    #[must_use]
    pub const fn vary(mut self, names: &'static [&'static str]) -> Self {
        self.vary = names;
        self
    }

    /// Sets the statuses of responses that are stored, 200 alone by default.
    #[must_use]
    pub const fn statuses(mut self, statuses: &'static [u16]) -> Self {
        self.statuses = statuses;
        self
    }

    /// Sets the `Cache-Control` that clients are sent; by default the cache makes it.
    #[must_use]
    pub const fn cache_control(mut self, value: &'static str) -> Self {
        self.cache_control = Some(value);
        self
    }

    /// Sets whether calls that miss at once share one computation; by default the cache decides.
    #[must_use]
    pub const fn coalesce(mut self, coalesce: bool) -> Self {
        self.coalesce = Some(coalesce);
        self
    }

    /// Sets whether processes that miss at once share one computation; by default the cache decides.
    #[must_use]
    pub const fn lock(mut self, lock: bool) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Sets for how long a stale value is served while it is computed anew; by default the cache
    /// decides, as for all that follows.
    #[must_use]
    pub const fn stale_while_revalidate(mut self, duration: Duration) -> Self {
        self.policy.stale_while_revalidate = Some(duration);
        self
    }

    /// Sets for how long a stale value stands in for a computation that fails.
    #[must_use]
    pub const fn stale_if_error(mut self, duration: Duration) -> Self {
        self.policy.stale_if_error = Some(duration);
        self
    }

    /// Sets by which part of itself a lifetime is cut short at most.
    #[must_use]
    pub const fn jitter(mut self, part: f64) -> Self {
        self.policy.jitter = Some(part);
        self
    }

    /// Sets whether values are computed anew before they expire.
    #[must_use]
    pub const fn early_refresh(mut self, early: bool) -> Self {
        self.policy.early_refresh = Some(early);
        self
    }

    /// Sets after how long a stale value stands in for a computation that goes on.
    #[must_use]
    pub const fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.policy.soft_timeout = Some(timeout);
        self
    }

    /// Says that values may have tags.
    #[must_use]
    pub const fn tagged(mut self) -> Self {
        self.tagged = true;
        self
    }

    #[inline]
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn is_tagged(&self) -> bool {
        self.tagged
    }

    /// The number of this function if it has been called, else 0.
    #[inline]
    pub(crate) fn number(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    pub(crate) fn locks(&self) -> Option<bool> {
        self.lock
    }

    pub(crate) fn coalesces(&self) -> Option<bool> {
        self.coalesce
    }

    pub(crate) fn function(&self) -> &'static str {
        self.function
    }

    pub(crate) fn path(&self) -> &'static str {
        (self.path)()
    }

    pub(crate) fn namespace_name(&self) -> &'static str {
        self.namespace
    }

    pub(crate) fn version_number(&self) -> u64 {
        self.version
    }

    #[cfg(feature = "axum")]
    pub(crate) fn stores_status(&self, status: http::StatusCode) -> bool {
        self.statuses.contains(&status.as_u16())
    }

    /// What the function itself tells clients about caching.
    #[cfg(feature = "axum")]
    pub(crate) fn cache_control_value(&self) -> Option<&'static str> {
        self.cache_control
    }

    #[cfg(feature = "axum")]
    pub(crate) fn vary_names(&self) -> &'static [&'static str] {
        self.vary
    }

    /// True the first time it is called: for warnings that are given once a function.
    pub(crate) fn warn_once(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }

    /// The number of this function in this process, or `None` if another function has the same
    /// identity, so that their keys would collide.
    #[inline]
    pub(crate) fn id(&'static self) -> Option<u32> {
        match self.id.load(Ordering::Acquire) {
            UNREGISTERED => self.register(),
            CONFLICT => None,
            id => Some(id),
        }
    }

    /// The number of the space that holds the namespace's text keys.
    pub(crate) fn texts(&self) -> u32 {
        match self.texts.load(Ordering::Acquire) {
            UNREGISTERED => {
                let id = texts(self.namespace);
                self.texts.store(id, Ordering::Release);
                id
            }
            id => id,
        }
    }

    #[cold]
    fn register(&'static self) -> Option<u32> {
        let id = spaces().write(|spaces| spaces.register(self));
        if id.is_none() && self.warn_once() {
            tracing::error!(
                function = %self,
                "two cached functions have the same path, name, namespace and version; the second \
                 one is not cached: give it a `namespace` of its own"
            );
        }
        self.id.store(id.unwrap_or(CONFLICT), Ordering::Release);
        id
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.module, self.function)
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("path", &self.path())
            .field("function", &self.function)
            .field("namespace", &self.namespace)
            .field("version", &self.version)
            .finish()
    }
}

/// Who the keys of one numbered space belong to.
#[derive(Clone, Copy)]
pub(crate) enum Owner {
    /// The canonical arguments of one function.
    Function(&'static Site),
    /// The texts of one namespace, which its functions share.
    Texts(&'static str),
}

impl Owner {
    pub(crate) fn namespace(self) -> &'static str {
        match self {
            Self::Function(site) => site.namespace,
            Self::Texts(namespace) => namespace,
        }
    }
}

fn texts(namespace: &'static str) -> u32 {
    spaces().write(|spaces| {
        if let Some(id) = spaces.texts.get(namespace) {
            return *id;
        }
        let id = spaces.add(Owner::Texts(namespace));
        spaces.texts.insert(namespace, id);
        id
    })
}

/// The number of a prefix in this process.
pub(crate) fn prefix(prefix: &str) -> u32 {
    spaces().write(|spaces| {
        let next = u32::try_from(spaces.prefixes.len()).unwrap_or(u32::MAX);
        *spaces.prefixes.entry(prefix.to_owned()).or_insert(next)
    })
}

/// Who owns the space with this number.
pub(crate) fn owner(id: u32) -> Option<Owner> {
    let index = usize::try_from(id).ok()?.checked_sub(1)?;
    spaces().read(|spaces| spaces.owners.get(index).copied())
}

/// The function with this number; empty if there is none.
pub(crate) fn name(id: u32) -> String {
    match owner(id) {
        Some(Owner::Function(site)) => site.to_string(),
        _ => String::new(),
    }
}

/// The numbers of all the spaces in a namespace, sorted.
pub(crate) fn in_namespace(namespace: &str) -> Vec<u32> {
    spaces().read(|spaces| {
        (1..)
            .zip(&spaces.owners)
            .filter(|(_, owner)| owner.namespace() == namespace)
            .map(|(id, _)| id)
            .collect()
    })
}

/// Every space of this process. Numbers start at 1 and are never reused.
#[derive(Default)]
struct Spaces {
    owners: Vec<Owner>,
    identities: HashMap<(&'static str, &'static str, &'static str, u64), u32>,
    texts: HashMap<&'static str, u32>,
    prefixes: HashMap<String, u32>,
}

impl Spaces {
    fn register(&mut self, site: &'static Site) -> Option<u32> {
        let identity = (site.path(), site.function, site.namespace, site.version);
        let Some(id) = self.identities.get(&identity) else {
            let id = self.add(Owner::Function(site));
            self.identities.insert(identity, id);
            return Some(id);
        };
        let index = usize::try_from(*id - 1).ok()?;
        match self.owners.get(index) {
            Some(Owner::Function(first)) if std::ptr::eq(*first, site) => Some(*id),
            _ => None,
        }
    }

    fn add(&mut self, owner: Owner) -> u32 {
        self.owners.push(owner);
        u32::try_from(self.owners.len()).unwrap_or(CONFLICT)
    }
}

/// A lock whose poisoning is of no interest: nothing that runs under it leaves it half done.
struct Guarded(RwLock<Option<Spaces>>);

impl Guarded {
    fn read<T>(&self, f: impl FnOnce(&Spaces) -> T) -> T {
        if let Some(spaces) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            return f(spaces);
        }
        f(&Spaces::default())
    }

    fn write<T>(&self, f: impl FnOnce(&mut Spaces) -> T) -> T {
        let mut spaces = self.0.write().unwrap_or_else(PoisonError::into_inner);
        f(spaces.get_or_insert_default())
    }
}

fn spaces() -> &'static Guarded {
    static SPACES: Guarded = Guarded(RwLock::new(None));
    &SPACES
}
