//! What the attribute expands to, as a reader would see it.

use expect_test::{Expect, expect};
use quote::quote;

use super::{TokenStream2, expand};

fn check(options: TokenStream2, item: TokenStream2, expected: Expect) {
    let expanded = expand(options, item);
    let file = syn::parse2(expanded).expect("the expansion is Rust");
    expected.assert_eq(&prettyplease::unparse(&file));
}

#[test]
fn a_function() {
    check(
        quote!(expire = 60, namespace = "users", skip(db)),
        quote! {
            /// Loads a user.
            pub async fn get_user(db: &Db, id: u64) -> Result<User, DbError> {
                db.load(id).await
            }
        },
        expect![[r#"
            /// Loads a user.
            pub async fn get_user(db: &Db, id: u64) -> Result<User, DbError> {
                let __answer = ::fast_cache::__private::apart(move || {
                    let __shape = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::shape::*;
                        (&&::fast_cache::__private::Probe::<Result<User, DbError>>::new()).shape()
                    };
                    let __access = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::storage::*;
                        (&&::fast_cache::__private::Storage::of_shape(
                            &__shape,
                            ::fast_cache::__private::RegistryCoder,
                        ))
                            .access()
                    };
                    ::fast_cache::__private::function(
                            get_user::__site(),
                            __shape,
                            __access,
                            ::core::option::Option::None,
                            |__key: &mut ::fast_cache::__private::KeyWriter| {
                                #[allow(unused_imports)]
                                use ::fast_cache::__private::argument::*;
                                (&&&&&&&&::fast_cache::__private::Argument::new("id", &id))
                                    .write_key(__key);
                            },
                        )
                        .run(
                            move || get_user::uncached(db, id),
                            |_| {
                                ::fast_cache::__private::Verdict::new()
                                    .expire(::fast_cache::__private::Duration::from_millis(60000u64))
                            },
                        )
                });
                match __answer {
                    ::fast_cache::__private::Answer::Ready(__value) => __value,
                    ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                }
            }
            /// Companion of the cached function `get_user`: [`entry`](Self::entry) is what one call has in the cache, and [`uncached`](Self::uncached) is the function as it was written.
            #[allow(non_camel_case_types, dead_code, unreachable_pub)]
            pub struct get_user {}
            #[allow(dead_code, unreachable_pub)]
            impl get_user {
                #[doc(hidden)]
                #[allow(dead_code)]
                fn __site() -> &'static ::fast_cache::__private::Site {
                    struct __Here;
                    static __SITE: ::fast_cache::__private::Site = ::fast_cache::__private::Site::new(
                            ::core::module_path!(),
                            "get_user",
                            || ::core::any::type_name::<__Here>(),
                        )
                        .namespace("users");
                    &__SITE
                }
                /// `get_user` as it was written, without the cache.
                #[allow(
                    dead_code,
                    unreachable_pub,
                    clippy::missing_errors_doc,
                    clippy::missing_panics_doc,
                    clippy::missing_const_for_fn,
                    clippy::must_use_candidate
                )]
                pub async fn uncached(db: &Db, id: u64) -> Result<User, DbError> {
                    db.load(id).await
                }
                /// What the call of `get_user` with these arguments has in the current cache.
                #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
                pub fn entry(id: u64) -> ::fast_cache::CacheEntry<User> {
                    ::fast_cache::__private::entry(
                        get_user::__site(),
                        {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::storage::*;
                            (&&::fast_cache::__private::Storage::<
                                User,
                                _,
                            >::of_type(::fast_cache::__private::RegistryCoder))
                                .access()
                        },
                        ::core::option::Option::None,
                        ::fast_cache::__private::Verdict::new()
                            .expire(::fast_cache::__private::Duration::from_millis(60000u64)),
                        |__key: &mut ::fast_cache::__private::KeyWriter| {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::argument::*;
                            (&&&&&&&&::fast_cache::__private::Argument::new("id", &id))
                                .write_key(__key);
                        },
                    )
                }
                /// Computes `get_user` and stores what it gives, while callers are served what is stored. What was invalidated meanwhile is not stored.
                #[allow(dead_code, deprecated, unreachable_pub, clippy::all, clippy::pedantic)]
                pub async fn refresh(db: &Db, id: u64) -> Result<User, DbError> {
                    let __answer = ::fast_cache::__private::apart(move || {
                        let __shape = {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::shape::*;
                            (&&::fast_cache::__private::Probe::<Result<User, DbError>>::new())
                                .shape()
                        };
                        let __access = {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::storage::*;
                            (&&::fast_cache::__private::Storage::of_shape(
                                &__shape,
                                ::fast_cache::__private::RegistryCoder,
                            ))
                                .access()
                        };
                        ::fast_cache::__private::renewal(
                                get_user::__site(),
                                __shape,
                                __access,
                                ::core::option::Option::None,
                                |__key: &mut ::fast_cache::__private::KeyWriter| {
                                    #[allow(unused_imports)]
                                    use ::fast_cache::__private::argument::*;
                                    (&&&&&&&&::fast_cache::__private::Argument::new("id", &id))
                                        .write_key(__key);
                                },
                            )
                            .run(
                                move || get_user::uncached(db, id),
                                |_| {
                                    ::fast_cache::__private::Verdict::new()
                                        .expire(
                                            ::fast_cache::__private::Duration::from_millis(60000u64),
                                        )
                                },
                            )
                    });
                    match __answer {
                        ::fast_cache::__private::Answer::Ready(__value) => __value,
                        ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                    }
                }
            }
        "#]],
    );
}

#[cfg(feature = "axum")]
#[test]
fn a_handler() {
    check(
        quote!(expire = "5m", vary("Accept")),
        quote! {
            async fn show(Path(id): Path<u64>, State(db): State<Db>) -> Json<User> {
                Json(db.load(id).await)
            }
        },
        expect![[r#"
            async fn show(
                (
                    __fastapi_cache_request,
                    __fastapi_cache_response,
                    __argument0,
                ): (::fast_cache::CacheRequest, ::fast_cache::CacheResponse, Path<u64>),
                __argument1: State<Db>,
            ) -> ::fast_cache::__private::Response {
                let __answer = ::fast_cache::__private::apart(move || {
                    let __site = show::__site();
                    let __call = ::fast_cache::__private::handler(
                        __site,
                        ::fast_cache::__private::RegistryCoder,
                        ::core::option::Option::None,
                        {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::audience::*;
                            ::fast_cache::__private::Parameter::<
                                Path<u64>,
                                ::fast_cache::__private::Varied,
                            >::IS_SHARED
                                && ::fast_cache::__private::Parameter::<
                                    State<Db>,
                                    ::fast_cache::__private::Varied,
                                >::IS_SHARED
                        },
                        &__fastapi_cache_request,
                        &__fastapi_cache_response,
                        |__key: &mut ::fast_cache::__private::KeyWriter| {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::argument::*;
                            ::fast_cache::__private::assert_state::<State<Db>, Db>();
                            {
                                #[allow(unused_imports)]
                                use ::fast_cache::__private::filled::*;
                                static __VERDICTS: ::fast_cache::__private::Verdicts = ::fast_cache::__private::Verdicts::new();
                                (&&&::fast_cache::__private::Filled::new(
                                    "id",
                                    &__argument0,
                                    &__VERDICTS,
                                ))
                                    .check(
                                        __site,
                                        ::core::option::Option::Some(&__fastapi_cache_request),
                                        __key,
                                    );
                            }
                            #[allow(unused_variables)]
                            let Path(id) = &__argument0;
                            (&&&&&&&&::fast_cache::__private::Argument::varied("id", id))
                                .write_key(__key);
                        },
                    );
                    let __make = move || show::uncached(__argument0, __argument1);
                    let __shape = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::shape::*;
                        (&&::fast_cache::__private::Probe::of_made(&__make)).shape()
                    };
                    __call
                        .run_owned(
                            __shape,
                            __make,
                            move |_| {
                                ::fast_cache::__private::Verdict::new()
                                    .expire(
                                        ::fast_cache::__private::Duration::from_millis(300000u64),
                                    )
                            },
                        )
                });
                match __answer {
                    ::fast_cache::__private::Answer::Ready(__value) => __value,
                    ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                }
            }
            /// Companion of the cached function `show`: [`entry`](Self::entry) is what one call has in the cache, and [`uncached`](Self::uncached) is the function as it was written.
            #[allow(non_camel_case_types, dead_code, unreachable_pub)]
            struct show {}
            #[allow(dead_code, unreachable_pub)]
            impl show {
                #[doc(hidden)]
                #[allow(dead_code)]
                fn __site() -> &'static ::fast_cache::__private::Site {
                    struct __Here;
                    static __SITE: ::fast_cache::__private::Site = ::fast_cache::__private::Site::new(
                            ::core::module_path!(),
                            "show",
                            || ::core::any::type_name::<__Here>(),
                        )
                        .tagged()
                        .vary(&["accept"]);
                    &__SITE
                }
                /// `show` as it was written, without the cache.
                #[allow(
                    dead_code,
                    unreachable_pub,
                    clippy::missing_errors_doc,
                    clippy::missing_panics_doc,
                    clippy::missing_const_for_fn,
                    clippy::must_use_candidate
                )]
                async fn uncached(Path(id): Path<u64>, State(db): State<Db>) -> Json<User> {
                    Json(db.load(id).await)
                }
                /// What the call of `show` with these arguments has in the current cache.
                #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
                fn entry(
                    __headers: &::fast_cache::__private::HeaderMap,
                    __argument0: Path<u64>,
                ) -> ::fast_cache::CacheEntry<::fast_cache::CachedResponse> {
                    let __site = show::__site();
                    ::fast_cache::__private::response_entry(
                        __site,
                        ::fast_cache::__private::RegistryCoder,
                        ::core::option::Option::None,
                        ::fast_cache::__private::Verdict::new()
                            .expire(::fast_cache::__private::Duration::from_millis(300000u64)),
                        ::core::option::Option::Some(__headers),
                        |__key: &mut ::fast_cache::__private::KeyWriter| {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::argument::*;
                            ::fast_cache::__private::assert_state::<State<Db>, Db>();
                            {
                                #[allow(unused_imports)]
                                use ::fast_cache::__private::filled::*;
                                static __VERDICTS: ::fast_cache::__private::Verdicts = ::fast_cache::__private::Verdicts::new();
                                (&&&::fast_cache::__private::Filled::new(
                                    "id",
                                    &__argument0,
                                    &__VERDICTS,
                                ))
                                    .check(__site, ::core::option::Option::None, __key);
                            }
                            #[allow(unused_variables)]
                            let Path(id) = &__argument0;
                            (&&&&&&&&::fast_cache::__private::Argument::varied("id", id))
                                .write_key(__key);
                        },
                    )
                }
                /// `show` as a router calls it: for a `GET` of `/`, unless the handler takes the request itself.
                #[allow(dead_code, deprecated, unreachable_pub, clippy::all, clippy::pedantic)]
                fn cached(
                    __argument0: Path<u64>,
                    __argument1: State<Db>,
                ) -> impl ::core::future::Future<Output = ::fast_cache::__private::Response> {
                    show(
                        (
                            <::fast_cache::CacheRequest as ::core::default::Default>::default(),
                            <::fast_cache::CacheResponse as ::core::default::Default>::default(),
                            __argument0,
                        ),
                        __argument1,
                    )
                }
            }
        "#]],
    );
}

#[cfg(feature = "axum")]
#[test]
fn a_sync_handler_of_a_whole_request() {
    check(
        quote!(handler, cache_control = "no-cache", companions = none),
        quote! {
            fn show(request: Request) -> &'static str {
                "page"
            }
        },
        expect![[r#"
            async fn show(
                (__fastapi_cache_response, request): (::fast_cache::CacheResponse, Request),
            ) -> ::fast_cache::__private::Response {
                let __answer = ::fast_cache::__private::apart(move || {
                    let __site = {
                        struct __Here;
                        static __SITE: ::fast_cache::__private::Site = ::fast_cache::__private::Site::new(
                                ::core::module_path!(),
                                "show",
                                || ::core::any::type_name::<__Here>(),
                            )
                            .tagged()
                            .cache_control("no-cache");
                        &__SITE
                    };
                    let __call = ::fast_cache::__private::handler(
                        __site,
                        ::fast_cache::__private::RegistryCoder,
                        ::core::option::Option::None,
                        {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::audience::*;
                            ::fast_cache::__private::Parameter::<
                                Request,
                                ::fast_cache::__private::Unvaried,
                            >::IS_SHARED
                        },
                        &request,
                        &__fastapi_cache_response,
                        |__key: &mut ::fast_cache::__private::KeyWriter| {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::argument::*;
                            __key.type_of(&|| ());
                            {
                                #[allow(unused_imports)]
                                use ::fast_cache::__private::filled::*;
                                static __VERDICTS: ::fast_cache::__private::Verdicts = ::fast_cache::__private::Verdicts::new();
                                (&&&::fast_cache::__private::Filled::new(
                                    "request",
                                    &request,
                                    &__VERDICTS,
                                ))
                                    .check(__site, ::core::option::Option::Some(&request), __key);
                            }
                            {
                                #[diagnostic::on_unimplemented(
                                    message = "a whole request shows more than a key can hold: write `#[cache(handler, cache_control = \"no-cache\", companions = none, skip(request))]` if the reply does not depend on it, `key_builder = ..` to say what counts, or take `CacheRequest` with `vary(..)`",
                                    label = "this is a whole request"
                                )]
                                trait __PartOfAKey {
                                    fn __write_key(
                                        &self,
                                        key: &mut ::fast_cache::__private::KeyWriter,
                                    );
                                }
                                #[diagnostic::do_not_recommend]
                                impl<T: ::fast_cache::__private::Serialize> __PartOfAKey for T {
                                    fn __write_key(
                                        &self,
                                        key: &mut ::fast_cache::__private::KeyWriter,
                                    ) {
                                        #[allow(unused_imports)]
                                        use ::fast_cache::__private::argument::*;
                                        (&&&&&&&&::fast_cache::__private::Argument::new(
                                            "request",
                                            self,
                                        ))
                                            .write_key(key);
                                    }
                                }
                                let __argument = &request;
                                __PartOfAKey::__write_key(__argument, __key);
                            }
                        },
                    );
                    let __make = move || ::fast_cache::__private::blocking(move || {
                        if let ::core::option::Option::Some(__returned) = ::core::option::Option::None::<
                            &'static str,
                        > {
                            return __returned;
                        }
                        #[allow(clippy::redundant_locals)]
                        let request = request;
                        "page"
                    });
                    let __shape = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::shape::*;
                        (&&::fast_cache::__private::Probe::of_made(&__make)).shape()
                    };
                    __call
                        .run_owned(__shape, __make, move |_| ::fast_cache::__private::Verdict::new())
                });
                match __answer {
                    ::fast_cache::__private::Answer::Ready(__value) => __value,
                    ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                }
            }
        "#]],
    );
}

#[test]
fn a_method() {
    check(
        quote!(),
        quote! {
            pub(crate) async fn find<K: Serialize>(&self, key: &K) -> Outcome<u64> {
                self.table.find(key).await
            }
        },
        expect![[r#"
            pub(crate) async fn find<K: Serialize>(&self, key: &K) -> Outcome<u64> {
                let __answer = ::fast_cache::__private::apart(move || {
                    let __shape = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::shape::*;
                        (&&::fast_cache::__private::Probe::<Outcome<u64>>::new()).shape()
                    };
                    let __access = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::storage::*;
                        (&&::fast_cache::__private::Storage::of_shape(
                            &__shape,
                            ::fast_cache::__private::RegistryCoder,
                        ))
                            .access()
                    };
                    ::fast_cache::__private::function(
                            Self::__find_site(),
                            __shape,
                            __access,
                            ::core::option::Option::None,
                            |__key: &mut ::fast_cache::__private::KeyWriter| {
                                #[allow(unused_imports)]
                                use ::fast_cache::__private::argument::*;
                                __key.type_argument::<Self>();
                                __key.type_argument::<K>();
                                (&&&&&&&&::fast_cache::__private::Argument::new("self", self))
                                    .write_key(__key);
                                (&&&&&&&&::fast_cache::__private::Argument::new("key", &key))
                                    .write_key(__key);
                            },
                        )
                        .run(
                            move || Self::find_uncached::<K>(self, key),
                            |_| ::fast_cache::__private::Verdict::new(),
                        )
                });
                match __answer {
                    ::fast_cache::__private::Answer::Ready(__value) => __value,
                    ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                }
            }
            #[doc(hidden)]
            #[allow(dead_code)]
            fn __find_site() -> &'static ::fast_cache::__private::Site {
                struct __Here;
                static __SITE: ::fast_cache::__private::Site = ::fast_cache::__private::Site::new(
                    ::core::module_path!(),
                    "find",
                    || ::core::any::type_name::<__Here>(),
                );
                &__SITE
            }
            /// `find` as it was written, without the cache.
            #[allow(
                dead_code,
                unreachable_pub,
                clippy::missing_errors_doc,
                clippy::missing_panics_doc,
                clippy::missing_const_for_fn,
                clippy::must_use_candidate
            )]
            pub(crate) async fn find_uncached<K: Serialize>(&self, key: &K) -> Outcome<u64> {
                self.table.find(key).await
            }
            /// What the call of `find` with these arguments has in the current cache.
            #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
            pub(crate) fn find_entry<K: Serialize, __Kind>(
                &self,
                key: &K,
            ) -> ::fast_cache::CacheEntry<
                <Outcome<u64> as ::fast_cache::__private::Stores<__Kind>>::Stored,
            >
            where
                Outcome<u64>: ::fast_cache::__private::Stores<__Kind>,
            {
                ::fast_cache::__private::entry(
                    Self::__find_site(),
                    {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::storage::*;
                        (&&::fast_cache::__private::Storage::<
                            <Outcome<u64> as ::fast_cache::__private::Stores<__Kind>>::Stored,
                            _,
                        >::of_type(::fast_cache::__private::RegistryCoder))
                            .access()
                    },
                    ::core::option::Option::None,
                    ::fast_cache::__private::Verdict::new(),
                    |__key: &mut ::fast_cache::__private::KeyWriter| {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::argument::*;
                        __key.type_argument::<Self>();
                        __key.type_argument::<K>();
                        (&&&&&&&&::fast_cache::__private::Argument::new("self", self))
                            .write_key(__key);
                        (&&&&&&&&::fast_cache::__private::Argument::new("key", &key))
                            .write_key(__key);
                    },
                )
            }
            /// Computes `find` and stores what it gives, while callers are served what is stored. What was invalidated meanwhile is not stored.
            #[allow(dead_code, deprecated, unreachable_pub, clippy::all, clippy::pedantic)]
            pub(crate) async fn find_refresh<K: Serialize>(&self, key: &K) -> Outcome<u64> {
                let __answer = ::fast_cache::__private::apart(move || {
                    let __shape = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::shape::*;
                        (&&::fast_cache::__private::Probe::<Outcome<u64>>::new()).shape()
                    };
                    let __access = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::storage::*;
                        (&&::fast_cache::__private::Storage::of_shape(
                            &__shape,
                            ::fast_cache::__private::RegistryCoder,
                        ))
                            .access()
                    };
                    ::fast_cache::__private::renewal(
                            Self::__find_site(),
                            __shape,
                            __access,
                            ::core::option::Option::None,
                            |__key: &mut ::fast_cache::__private::KeyWriter| {
                                #[allow(unused_imports)]
                                use ::fast_cache::__private::argument::*;
                                __key.type_argument::<Self>();
                                __key.type_argument::<K>();
                                (&&&&&&&&::fast_cache::__private::Argument::new("self", self))
                                    .write_key(__key);
                                (&&&&&&&&::fast_cache::__private::Argument::new("key", &key))
                                    .write_key(__key);
                            },
                        )
                        .run(
                            move || Self::find_uncached::<K>(self, key),
                            |_| ::fast_cache::__private::Verdict::new(),
                        )
                });
                match __answer {
                    ::fast_cache::__private::Answer::Ready(__value) => __value,
                    ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                }
            }
        "#]],
    );
}

#[test]
fn a_sync_function() {
    check(
        quote!(companions = none, skip(trace)),
        quote! {
            fn sum((a, mut b): (u64, u64), _: Trace, trace: Trace) -> u64 {
                b += a;
                b
            }
        },
        expect![[r#"
            async fn sum(__argument0: (u64, u64), __argument1: Trace, trace: Trace) -> u64 {
                let __answer = ::fast_cache::__private::apart(move || {
                    let __shape = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::shape::*;
                        (&&::fast_cache::__private::Probe::<u64>::new()).shape()
                    };
                    let __access = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::storage::*;
                        (&&::fast_cache::__private::Storage::of_shape(
                            &__shape,
                            ::fast_cache::__private::RegistryCoder,
                        ))
                            .access()
                    };
                    ::fast_cache::__private::function(
                            {
                                struct __Here;
                                static __SITE: ::fast_cache::__private::Site = ::fast_cache::__private::Site::new(
                                    ::core::module_path!(),
                                    "sum",
                                    || ::core::any::type_name::<__Here>(),
                                );
                                &__SITE
                            },
                            __shape,
                            __access,
                            ::core::option::Option::None,
                            |__key: &mut ::fast_cache::__private::KeyWriter| {
                                #[allow(unused_imports)]
                                use ::fast_cache::__private::argument::*;
                                __key.type_of(&|| ());
                                #[allow(unused_variables)]
                                let (a, b) = &__argument0;
                                (&&&&&&&&::fast_cache::__private::Argument::new("a", a))
                                    .write_key(__key);
                                (&&&&&&&&::fast_cache::__private::Argument::new("b", b))
                                    .write_key(__key);
                            },
                        )
                        .run_owned(
                            move || ::fast_cache::__private::blocking(move || {
                                if let ::core::option::Option::Some(__returned) = ::core::option::Option::None::<
                                    u64,
                                > {
                                    return __returned;
                                }
                                #[allow(clippy::redundant_locals)]
                                let (a, mut b) = __argument0;
                                #[allow(clippy::redundant_locals)]
                                let _ = __argument1;
                                #[allow(clippy::redundant_locals)]
                                let trace = trace;
                                b += a;
                                b
                            }),
                            move |_| ::fast_cache::__private::Verdict::new(),
                        )
                });
                match __answer {
                    ::fast_cache::__private::Answer::Ready(__value) => __value,
                    ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                }
            }
        "#]],
    );
}

#[test]
fn a_method_that_async_trait_has_expanded() {
    check(
        quote!(skip(self), expire_with = |name| lifetime(name)),
        quote! {
            fn load<'life0, 'async_trait>(
                &'life0 self,
                id: u64,
            ) -> Pin<Box<dyn Future<Output = String> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async move { self.name(id) })
            }
        },
        expect![[r#"
            fn load<'life0, 'async_trait>(
                &'life0 self,
                id: u64,
            ) -> Pin<Box<dyn Future<Output = String> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                ::std::boxed::Box::pin(async move {
                    let __answer = ::fast_cache::__private::apart(move || {
                        let __shape = {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::shape::*;
                            (&&::fast_cache::__private::Probe::<String>::new()).shape()
                        };
                        let __access = {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::storage::*;
                            (&&::fast_cache::__private::Storage::of_shape(
                                &__shape,
                                ::fast_cache::__private::RegistryCoder,
                            ))
                                .access()
                        };
                        ::fast_cache::__private::function(
                                {
                                    struct __Here;
                                    static __SITE: ::fast_cache::__private::Site = ::fast_cache::__private::Site::new(
                                        ::core::module_path!(),
                                        "load",
                                        || ::core::any::type_name::<__Here>(),
                                    );
                                    &__SITE
                                },
                                __shape,
                                __access,
                                ::core::option::Option::None,
                                |__key: &mut ::fast_cache::__private::KeyWriter| {
                                    #[allow(unused_imports)]
                                    use ::fast_cache::__private::argument::*;
                                    __key.type_of(&|| ());
                                    (&&&&&&&&::fast_cache::__private::Argument::new("id", &id))
                                        .write_key(__key);
                                },
                            )
                            .run(
                                move || async move {
                                    #[allow(clippy::redundant_locals)]
                                    let id = id;
                                    ({ Box::pin(async move { self.name(id) }) }).await
                                },
                                |__value| {
                                    ::fast_cache::__private::Verdict::new()
                                        .expire_with(
                                            ::fast_cache::__private::ask(__value, |name| lifetime(name)),
                                        )
                                },
                            )
                    });
                    match __answer {
                        ::fast_cache::__private::Answer::Ready(__value) => __value,
                        ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                    }
                })
            }
        "#]],
    );
}

#[test]
fn a_key_of_text() {
    check(
        quote!(key = "user/{id:>4}:{name}", coder = Compact, version = 2),
        quote! {
            async fn load(id: u64, User { name, .. }: &User, db: &mut Db) -> u64 {
                db.load(id, name).await
            }
        },
        expect![[r#"
            async fn load(id: u64, __argument1: &User, db: &mut Db) -> u64 {
                let __answer = ::fast_cache::__private::apart(move || {
                    let __shape = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::shape::*;
                        (&&::fast_cache::__private::Probe::<u64>::new()).shape()
                    };
                    let __access = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::storage::*;
                        (&&::fast_cache::__private::Storage::of_shape(
                            &__shape,
                            ::fast_cache::__private::NamedCoder::<Compact>::new(),
                        ))
                            .access()
                    };
                    ::fast_cache::__private::function(
                            load::__site(),
                            __shape,
                            __access,
                            ::core::option::Option::None,
                            |__key: &mut ::fast_cache::__private::KeyWriter| {
                                #[allow(unused_variables)]
                                let User { name, .. } = &__argument1;
                                __key
                                    .text(
                                        ::core::format_args!(
                                            "user/{}:{}",
                                            ::fast_cache::__private::escaped(::core::format_args!("{:>4}",
                                            id), "/:"),
                                            ::fast_cache::__private::escaped(::core::format_args!("{}",
                                            name), "/:")
                                        ),
                                    );
                            },
                        )
                        .run(
                            move || load::uncached(id, __argument1, db),
                            |_| ::fast_cache::__private::Verdict::new(),
                        )
                });
                match __answer {
                    ::fast_cache::__private::Answer::Ready(__value) => __value,
                    ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                }
            }
            /// Companion of the cached function `load`: [`entry`](Self::entry) is what one call has in the cache, and [`uncached`](Self::uncached) is the function as it was written.
            #[allow(non_camel_case_types, dead_code, unreachable_pub)]
            struct load {}
            #[allow(dead_code, unreachable_pub)]
            impl load {
                #[doc(hidden)]
                #[allow(dead_code)]
                fn __site() -> &'static ::fast_cache::__private::Site {
                    struct __Here;
                    static __SITE: ::fast_cache::__private::Site = ::fast_cache::__private::Site::new(
                            ::core::module_path!(),
                            "load",
                            || ::core::any::type_name::<__Here>(),
                        )
                        .version(2);
                    &__SITE
                }
                /// `load` as it was written, without the cache.
                #[allow(
                    dead_code,
                    unreachable_pub,
                    clippy::missing_errors_doc,
                    clippy::missing_panics_doc,
                    clippy::missing_const_for_fn,
                    clippy::must_use_candidate
                )]
                async fn uncached(id: u64, User { name, .. }: &User, db: &mut Db) -> u64 {
                    db.load(id, name).await
                }
                /// What the call of `load` with these arguments has in the current cache.
                #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
                fn entry(id: u64, __argument1: &User) -> ::fast_cache::CacheEntry<u64> {
                    ::fast_cache::__private::entry(
                        load::__site(),
                        {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::storage::*;
                            (&&::fast_cache::__private::Storage::<
                                u64,
                                _,
                            >::of_type(::fast_cache::__private::NamedCoder::<Compact>::new()))
                                .access()
                        },
                        ::core::option::Option::None,
                        ::fast_cache::__private::Verdict::new(),
                        |__key: &mut ::fast_cache::__private::KeyWriter| {
                            #[allow(unused_variables)]
                            let User { name, .. } = &__argument1;
                            __key
                                .text(
                                    ::core::format_args!(
                                        "user/{}:{}",
                                        ::fast_cache::__private::escaped(::core::format_args!("{:>4}",
                                        id), "/:"),
                                        ::fast_cache::__private::escaped(::core::format_args!("{}",
                                        name), "/:")
                                    ),
                                );
                        },
                    )
                }
                /// Computes `load` and stores what it gives, while callers are served what is stored. What was invalidated meanwhile is not stored.
                #[allow(dead_code, deprecated, unreachable_pub, clippy::all, clippy::pedantic)]
                async fn refresh(id: u64, __argument1: &User, db: &mut Db) -> u64 {
                    let __answer = ::fast_cache::__private::apart(move || {
                        let __shape = {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::shape::*;
                            (&&::fast_cache::__private::Probe::<u64>::new()).shape()
                        };
                        let __access = {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::storage::*;
                            (&&::fast_cache::__private::Storage::of_shape(
                                &__shape,
                                ::fast_cache::__private::NamedCoder::<Compact>::new(),
                            ))
                                .access()
                        };
                        ::fast_cache::__private::renewal(
                                load::__site(),
                                __shape,
                                __access,
                                ::core::option::Option::None,
                                |__key: &mut ::fast_cache::__private::KeyWriter| {
                                    #[allow(unused_variables)]
                                    let User { name, .. } = &__argument1;
                                    __key
                                        .text(
                                            ::core::format_args!(
                                                "user/{}:{}",
                                                ::fast_cache::__private::escaped(::core::format_args!("{:>4}",
                                                id), "/:"),
                                                ::fast_cache::__private::escaped(::core::format_args!("{}",
                                                name), "/:")
                                            ),
                                        );
                                },
                            )
                            .run(
                                move || load::uncached(id, __argument1, db),
                                |_| ::fast_cache::__private::Verdict::new(),
                            )
                    });
                    match __answer {
                        ::fast_cache::__private::Answer::Ready(__value) => __value,
                        ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                    }
                }
            }
        "#]],
    );
}

#[cfg(feature = "axum")]
#[test]
fn a_handler_that_others_look_at() {
    check(
        quote!(injected_dependency_namespace = "__x", key_builder = builder),
        quote! {
            #[debug_handler]
            #[instrument]
            async fn show(request: Request) -> impl IntoResponse {
                request.uri().to_string()
            }
        },
        expect![[r##"
            #[debug_handler]
            async fn show(
                __x_response: ::fast_cache::CacheResponse,
                request: Request,
            ) -> ::fast_cache::__private::Response {
                let __answer = ::fast_cache::__private::apart(move || {
                    let __site = show::__site();
                    let __call = ::fast_cache::__private::handler(
                        __site,
                        ::fast_cache::__private::RegistryCoder,
                        ::core::option::Option::Some(|| ::fast_cache::__private::erase_key_builder(
                            builder,
                        )),
                        false,
                        &request,
                        &__x_response,
                        |__key: &mut ::fast_cache::__private::KeyWriter| {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::argument::*;
                            (&&&&&&&&::fast_cache::__private::Argument::built("request", &request))
                                .write_key(__key);
                        },
                    );
                    let __make = move || show::uncached(request);
                    let __shape = {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::shape::*;
                        (&&::fast_cache::__private::Probe::of_made(&__make)).shape()
                    };
                    __call
                        .run_owned(__shape, __make, move |_| ::fast_cache::__private::Verdict::new())
                });
                match __answer {
                    ::fast_cache::__private::Answer::Ready(__value) => __value,
                    ::fast_cache::__private::Answer::Pending(__future) => __future.await,
                }
            }
            /// Companion of the cached function `show`: [`entry`](Self::entry) is what one call has in the cache, and [`uncached`](Self::uncached) is the function as it was written.
            #[allow(non_camel_case_types, dead_code, unreachable_pub)]
            struct show {}
            #[allow(dead_code, unreachable_pub)]
            impl show {
                #[doc(hidden)]
                #[allow(dead_code)]
                fn __site() -> &'static ::fast_cache::__private::Site {
                    struct __Here;
                    static __SITE: ::fast_cache::__private::Site = ::fast_cache::__private::Site::new(
                            ::core::module_path!(),
                            "show",
                            || ::core::any::type_name::<__Here>(),
                        )
                        .tagged();
                    &__SITE
                }
                #[instrument]
                /// `show` as it was written, without the cache.
                #[allow(
                    dead_code,
                    unreachable_pub,
                    clippy::missing_errors_doc,
                    clippy::missing_panics_doc,
                    clippy::missing_const_for_fn,
                    clippy::must_use_candidate
                )]
                async fn uncached(request: Request) -> impl IntoResponse {
                    request.uri().to_string()
                }
                /// What the call of `show` with these arguments has in the current cache.
                #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
                fn entry(
                    request: Request,
                ) -> ::fast_cache::CacheEntry<::fast_cache::CachedResponse> {
                    let __site = show::__site();
                    ::fast_cache::__private::response_entry(
                        __site,
                        ::fast_cache::__private::RegistryCoder,
                        ::core::option::Option::Some(|| ::fast_cache::__private::erase_key_builder(
                            builder,
                        )),
                        ::fast_cache::__private::Verdict::new(),
                        ::core::option::Option::None,
                        |__key: &mut ::fast_cache::__private::KeyWriter| {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::argument::*;
                            (&&&&&&&&::fast_cache::__private::Argument::built("request", &request))
                                .write_key(__key);
                        },
                    )
                }
                /// `show` as a router calls it: for a `GET` of `/`, unless the handler takes the request itself.
                #[allow(dead_code, deprecated, unreachable_pub, clippy::all, clippy::pedantic)]
                fn cached(
                    __argument0: Request,
                ) -> impl ::core::future::Future<Output = ::fast_cache::__private::Response> {
                    show(
                        <::fast_cache::CacheResponse as ::core::default::Default>::default(),
                        __argument0,
                    )
                }
            }
        "##]],
    );
}

#[test]
fn an_error_leaves_the_item() {
    check(
        quote!(skip(self), companions = none, key = "{a}:{b}"),
        quote! {
            async fn sum(&self, (a, b): (u64, u64)) -> u64 {
                a + b
            }
        },
        expect![[r#"
            ::core::compile_error! {
                "`key = \"{a}:{b}\"` says what is in the key: remove `skip`"
            }
            async fn sum(&self, (a, b): (u64, u64)) -> u64 {
                a + b
            }
        "#]],
    );
}

#[test]
fn an_error_leaves_a_sync_function_as_its_callers_await_it() {
    check(
        quote!(expire = 0),
        quote! {
            pub fn sum(a: u64, b: u64) -> u64 {
                a + b
            }
        },
        expect![[r#"
            ::core::compile_error! {
                "a lifetime of zero stores nothing: give a longer one, or remove `#[cache]`"
            }
            pub async fn sum(a: u64, b: u64) -> u64 {
                a + b
            }
        "#]],
    );
}

#[test]
fn only_functions_are_cached() {
    let items = [
        quote!(
            enum Item {}
        ),
        quote!(
            mod item {}
        ),
        quote!(
            trait Item {}
        ),
        quote!(
            static ITEM: u8 = 1;
        ),
        quote!(
            type Item = u8;
        ),
        quote!(
            union Item {
                a: u8,
            }
        ),
    ];
    for item in items {
        let expanded = expand(quote!(), item.clone()).to_string();
        assert!(expanded.contains("goes on a function"), "{expanded}");
        assert!(expanded.ends_with(&item.to_string()), "{expanded}");
    }
}

#[test]
fn variadic_functions_are_not_cached() {
    let expanded = expand(
        quote!(),
        quote!(
            fn f(count: u8, ...) -> u8 {
                count
            }
        ),
    )
    .to_string();
    assert!(expanded.contains("a variadic function"), "{expanded}");
}

#[cfg(not(feature = "axum"))]
#[test]
fn a_handler_needs_the_feature() {
    let handlers = [
        quote!(
            async fn f() -> Json<u8> {
                Json(1)
            }
        ),
        quote!(
            async fn f(Path(id): Path<u8>) -> String {
                id.to_string()
            }
        ),
        quote!(
            async fn f() -> Result<impl IntoResponse, E> {
                Ok(())
            }
        ),
    ];
    for handler in handlers {
        let expanded = expand(quote!(), handler.clone()).to_string();
        assert!(expanded.contains("needs the feature `axum`"), "{expanded}");
        assert!(
            expanded.ends_with(&handler.to_string()),
            "the item is gone: {expanded}"
        );
    }
}

#[test]
fn names_alone_make_no_handler() {
    let functions = [
        quote!(
            async fn f(state: State, path: &Path, query: Query) -> u8 {
                1
            }
        ),
        quote!(
            async fn f(path: std::path::PathBuf) -> u8 {
                1
            }
        ),
    ];
    for function in functions {
        let expanded = expand(quote!(), function).to_string();
        assert!(!expanded.contains("compile_error"), "{expanded}");
        assert!(expanded.contains(":: function ("), "{expanded}");
    }
}
