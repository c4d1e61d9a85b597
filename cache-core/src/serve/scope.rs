//! A cache for all requests of one router.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::registry::{Cache, Scoped};

impl Cache {
    /// Makes this cache the current one for all requests that go through a router, or any other service.
    ///
    /// Cached handlers and functions below it, and a [`CacheLayer`](crate::CacheLayer) below it that names no cache, use
    /// it instead of the cache of the process. So a test that serves an application has a cache of its own, and one
    /// handler that is merged under two states has one cache for each.
    ///
    /// It holds while a request is answered: not while its body is read after that, and not in tasks that are spawned
    /// meanwhile; these can take it along by [`Cache::current`] and [`Cache::scope`].
    ///
    /// ```
    /// # #[derive(Default)] struct Map;
    /// # impl fast_cache_core::Backend for Map {
    /// #     async fn get(&self, _: &str) -> Result<Option<bytes::Bytes>, fast_cache_core::Error> { Ok(None) }
    /// #     async fn set(&self, _: &str, _: bytes::Bytes, _: Option<std::time::Duration>) -> Result<(), fast_cache_core::Error> { Ok(()) }
    /// #     async fn replace(&self, _: &str, _: Option<&[u8]>, _: bytes::Bytes, _: Option<std::time::Duration>) -> Result<bool, fast_cache_core::Error> { Ok(true) }
    /// #     async fn clear(&self, _: &str) -> Result<u64, fast_cache_core::Error> { Ok(0) }
    /// # }
    /// use fast_cache_core::{Cache, Config, FastCache};
    /// use tower::{Layer as _, ServiceExt as _, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let cache = Cache::new(Config::new(Map).prefix("test"));
    /// // `Router::new().route(..).layer(cache.layer())`, or any other service:
    /// let service = cache.layer().layer(service_fn(async |()| {
    ///     Ok::<_, std::convert::Infallible>(FastCache::prefix())
    /// }));
    /// assert_eq!(service.oneshot(()).await?, "test");
    /// # Ok::<_, std::convert::Infallible>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn layer(&self) -> ScopeLayer {
        ScopeLayer(self.clone())
    }
}

/// A layer that makes a cache the current one; [`Cache::layer`] makes it.
#[derive(Clone, Debug)]
pub struct ScopeLayer(Cache);

impl<S> Layer<S> for ScopeLayer {
    type Service = ScopeService<S>;

    fn layer(&self, inner: S) -> ScopeService<S> {
        ScopeService {
            cache: self.0.clone(),
            inner,
        }
    }
}

/// A service whose requests use one cache; [`ScopeLayer`] makes it.
#[derive(Clone)]
pub struct ScopeService<S> {
    cache: Cache,
    inner: S,
}

impl<S: fmt::Debug> fmt::Debug for ScopeService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeService")
            .field("cache", &self.cache)
            .field("inner", &self.inner)
            .finish()
    }
}

impl<S, Q> Service<Q> for ScopeService<S>
where
    S: Service<Q>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ScopeFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    /// A layer below looks into its cache right here, before anything is awaited.
    fn call(&mut self, request: Q) -> ScopeFuture<S::Future> {
        let future = self.cache.enter(|| self.inner.call(request));
        ScopeFuture {
            scoped: self.cache.scoped(future),
        }
    }
}

pin_project_lite::pin_project! {
    /// The response of a [`ScopeService`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ScopeFuture<F> {
        #[pin]
        scoped: Scoped<F>,
    }
}

impl<F> fmt::Debug for ScopeFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeFuture").finish_non_exhaustive()
    }
}

impl<F: Future> Future for ScopeFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().scoped.poll(context)
    }
}
