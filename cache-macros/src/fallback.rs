//! What is left of the user's item when the attribute is rejected.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ItemFn;

use crate::model::{Body, body_and_output};

/// The error, and the item as it was written: callers of the function still find it, so that the
/// one message is not followed by others, and editors stay calm.
pub(crate) fn fallback(error: syn::Error, item: TokenStream) -> TokenStream {
    let error = error.into_compile_error();
    let item = awaitable(&item).unwrap_or(item);
    quote!(#error #item)
}

/// A sync function as callers use it: they await what would have become async.
fn awaitable(item: &TokenStream) -> Option<TokenStream> {
    let mut function = syn::parse2::<ItemFn>(item.clone()).ok()?;
    let (body, _) = body_and_output(&function.sig);
    if body != Body::Sync || function.sig.constness.is_some() || function.sig.abi.is_some() {
        return None;
    }
    function.sig.asyncness = Some(Default::default());
    Some(function.into_token_stream())
}
