//! The `#[cache]` attribute of [fast-cache](https://docs.rs/fast-cache). Use it through that
//! crate, whose documentation is the reference.

mod args;
mod borrows;
mod cache_control;
mod evict;
mod expand;
mod fallback;
mod model;
mod proposal;
mod refuse;
mod template;
mod validate;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as TokenStream2;

/// Caches an async function, a sync function, a method or an axum handler.
///
/// The reference, option by option, is at `fast_cache::cache`.
#[proc_macro_attribute]
pub fn cache(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(options.into(), item.into()).into()
}

/// Evicts from the cache what a function has changed, after it has succeeded.
///
/// The reference, option by option, is at `fast_cache::cache_evict`.
#[proc_macro_attribute]
pub fn cache_evict(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_evict(options.into(), item.into()).into()
}

fn expand(options: TokenStream2, item: TokenStream2) -> TokenStream2 {
    match try_expand(options, item.clone()) {
        Ok(expanded) => expanded,
        Err(error) => fallback::fallback(error, item),
    }
}

fn expand_evict(options: TokenStream2, item: TokenStream2) -> TokenStream2 {
    match evict::try_expand(options, item.clone()) {
        Ok(expanded) => expanded,
        Err(error) => {
            let error = error.into_compile_error();
            quote::quote!(#error #item)
        }
    }
}

fn try_expand(options: TokenStream2, item: TokenStream2) -> syn::Result<TokenStream2> {
    let options = args::parse(options)?;
    let function = model::parse(item)?;
    let model = model::build(options, function)?;
    validate::validate(&model)?;
    Ok(expand::expand(&model))
}

#[cfg(test)]
mod tests;
