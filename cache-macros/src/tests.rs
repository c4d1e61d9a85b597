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
                            (&&&&&&::fast_cache::__private::Argument::new("id", &id))
                                .write_key(__key);
                        },
                    )
                    .run(
                        get_user::uncached(db, id),
                        |_| {
                            ::fast_cache::__private::Verdict::new()
                                .expire(::fast_cache::__private::Duration::from_millis(60000u64))
                        },
                    )
                    .await
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
                #[allow(dead_code, unreachable_pub)]
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
                            (&&&&&&::fast_cache::__private::Argument::new("id", &id))
                                .write_key(__key);
                        },
                    )
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
                let __call = ::fast_cache::__private::handler(
                    show::__site(),
                    ::fast_cache::__private::RegistryCoder,
                    ::core::option::Option::None,
                    &__fastapi_cache_request,
                    &__fastapi_cache_response,
                    |__key: &mut ::fast_cache::__private::KeyWriter| {
                        #[allow(unused_imports)]
                        use ::fast_cache::__private::argument::*;
                        ::fast_cache::__private::assert_state::<State<Db>, Db>();
                        #[allow(unused_variables)]
                        let Path(id) = &__argument0;
                        (&&&&&&::fast_cache::__private::Argument::varied("id", id)).write_key(__key);
                    },
                );
                let __future = show::uncached(__argument0, __argument1);
                let __shape = {
                    #[allow(unused_imports)]
                    use ::fast_cache::__private::shape::*;
                    (&&::fast_cache::__private::Probe::of(&__future)).shape()
                };
                __call
                    .run(
                        __shape,
                        __future,
                        |_| {
                            ::fast_cache::__private::Verdict::new()
                                .expire(::fast_cache::__private::Duration::from_millis(300000u64))
                        },
                    )
                    .await
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
                        .vary(&["accept"]);
                    &__SITE
                }
                /// `show` as it was written, without the cache.
                #[allow(dead_code, unreachable_pub)]
                async fn uncached(Path(id): Path<u64>, State(db): State<Db>) -> Json<User> {
                    Json(db.load(id).await)
                }
                /// What the call of `show` with these arguments has in the current cache.
                #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
                fn entry(
                    __headers: &::fast_cache::__private::HeaderMap,
                    __argument0: Path<u64>,
                ) -> ::fast_cache::CacheEntry<::fast_cache::CachedResponse> {
                    ::fast_cache::__private::response_entry(
                        show::__site(),
                        ::fast_cache::__private::RegistryCoder,
                        ::core::option::Option::None,
                        ::fast_cache::__private::Verdict::new()
                            .expire(::fast_cache::__private::Duration::from_millis(300000u64)),
                        ::core::option::Option::Some(__headers),
                        |__key: &mut ::fast_cache::__private::KeyWriter| {
                            #[allow(unused_imports)]
                            use ::fast_cache::__private::argument::*;
                            ::fast_cache::__private::assert_state::<State<Db>, Db>();
                            #[allow(unused_variables)]
                            let Path(id) = &__argument0;
                            (&&&&&&::fast_cache::__private::Argument::varied("id", id))
                                .write_key(__key);
                        },
                    )
                }
            }
        "#]],
    );
}

#[test]
fn a_method_of_a_trait() {
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
