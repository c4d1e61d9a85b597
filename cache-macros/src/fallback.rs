//! What is left of the user's item when the attribute is rejected.

use proc_macro2::TokenStream;
use quote::quote;

/// The error, and the item as it was written: callers of the function still find it, so that the
/// one message is not followed by others, and editors stay calm.
pub(crate) fn fallback(error: syn::Error, item: TokenStream) -> TokenStream {
    let error = error.into_compile_error();
    quote!(#error #item)
}
