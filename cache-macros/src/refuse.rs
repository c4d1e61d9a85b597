//! What is refused by its traits, with a message that shows the line to write.
//!
//! A name alone proves nothing: a type of the user's may be called `Parts` as well. So the attribute puts a
//! trait beside the use. All types have it that can be used, and it carries the message for the others.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Type;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;

use crate::borrows::Borrows;
use crate::model::{Binding, Key, Kind, Model, Parameter, first_type, last_segment};
use crate::proposal::Proposal;

/// A parameter of a handler that cannot be part of a key, unless its type is not what its name says.
struct Refusal {
    message: String,
    label: &'static str,
    /// Which types can be part of a key all the same.
    accepted: TokenStream,
}

/// Writes an argument whose type has the name of one that is refused. `is_told` says whether the message has been
/// given at another place.
pub(crate) fn argument(
    model: &Model,
    parameter: &Parameter,
    binding: &Binding,
    value: &TokenStream,
    key: &Ident,
    is_told: bool,
) -> Option<TokenStream> {
    let is_handler = matches!(model.kind, Kind::Handler(_));
    if !is_handler || !matches!(model.key, Key::Arguments) {
        return None;
    }
    let Refusal {
        message,
        label,
        accepted,
    } = refusal(model, parameter)?;
    let private = model.private();
    let message = escaped(&message);
    let constructor = model.constructor();
    let name = binding.name.unraw().to_string();
    let span = Span::mixed_site().located_at(name_span(&parameter.ty));
    if is_told {
        return Some(quote_spanned! {span=>
            {
                use #private::silence::*;
                (&&&&&&&&#private::Argument::#constructor(#name, #value)).write_key(#key);
            }
        });
    }
    Some(quote_spanned! {span=>
        {
            #[diagnostic::on_unimplemented(message = #message, label = #label)]
            trait __PartOfAKey {
                fn __write_key(&self, key: &mut #private::KeyWriter);
            }

            #[diagnostic::do_not_recommend]
            #accepted {
                fn __write_key(&self, key: &mut #private::KeyWriter) {
                    #[allow(unused_imports)]
                    use #private::argument::*;
                    (&&&&&&&&#private::Argument::#constructor(#name, self)).write_key(key);
                }
            }

            let __argument = #value;
            __PartOfAKey::__write_key(__argument, #key);
        }
    })
}

/// Where the name of a type stands.
fn name_span(ty: &Type) -> Span {
    last_segment(ty).map_or_else(|| ty.span(), |last| last.ident.span())
}

fn refusal(model: &Model, parameter: &Parameter) -> Option<Refusal> {
    let name = last_segment(&parameter.ty)?.ident.unraw().to_string();
    let private = model.private();
    let of_values = quote!(impl<T: #private::Serialize> __PartOfAKey for T);
    let varies = model.options.vary.is_some();
    match name.as_str() {
        "Request" | "Parts" if parameter.is_plain => Some(Refusal {
            message: whole_request(model, parameter),
            label: "this is a whole request",
            accepted: of_values,
        }),
        "CacheRequest" | "HeaderMap" if parameter.is_plain && !varies => Some(Refusal {
            message: all_headers(model, parameter),
            label: "this shows all headers",
            accepted: of_values,
        }),
        "Extension" if holds_headers(&parameter.ty) => Some(Refusal {
            message: headers_in_extension(model, parameter),
            label: "this shows all headers that a middleware has put there",
            accepted: of_values,
        }),
        _ => typed_header(model, parameter),
    }
}

/// Whether the type in an `Extension` is a map of headers, by its name.
fn holds_headers(ty: &Type) -> bool {
    let held = last_segment(ty).and_then(first_type);
    let held = held.and_then(last_segment);
    held.is_some_and(|held| held.ident == "HeaderMap")
}

/// `vary` names headers of the request, which are others.
fn headers_in_extension(model: &Model, parameter: &Parameter) -> String {
    let skipping = skipping(model, parameter).line();
    format!(
        "headers in an extension are more than a key can hold: write `{skipping}` if the reply does not depend on \
         them, or put a type into the extension that holds the values which count"
    )
}

fn whole_request(model: &Model, parameter: &Parameter) -> String {
    let skipping = skipping(model, parameter).line();
    format!(
        "a whole request shows more than a key can hold: write `{skipping}` if the reply does not depend on \
         it, `key_builder = ..` to say what counts, or take `CacheRequest` with `vary(..)`"
    )
}

fn all_headers(model: &Model, parameter: &Parameter) -> String {
    let varying = Proposal::of(&model.options).listed("vary", &["\"accept-language\""]);
    let none = Proposal::of(&model.options).listed::<&str>("vary", &[]);
    let skipping = skipping(model, parameter);
    format!(
        "all headers of a request are more than a key can hold: name those that count, such as \
         `{}`, write `{}` if none does, or `{}` if the reply does not depend on `{}`",
        varying.line(),
        none.line(),
        skipping.line(),
        parameter.name,
    )
}

/// The attribute with a parameter left out.
fn skipping(model: &Model, parameter: &Parameter) -> Proposal {
    let keyed = parameter.bindings.iter();
    let keyed = keyed.filter(|binding| model.is_keyed(parameter, binding));
    let names: Vec<String> = keyed.map(|binding| binding.name.to_string()).collect();
    Proposal::of(&model.options).listed("skip", &names)
}

/// The `TypedHeader<H>` of axum-extra, whose `H` is hardly ever `Serialize`.
fn typed_header(model: &Model, parameter: &Parameter) -> Option<Refusal> {
    let private = model.private();
    let segment = last_segment(&parameter.ty)?;
    let outer = segment.ident.unraw().to_string();
    let (wrapper, accepted) = match outer.as_str() {
        "Option" => (last_segment(first_type(segment)?)?, quote!(Option<T>)),
        "Result" => {
            let accepted = quote!(::core::result::Result<T, E>);
            (last_segment(first_type(segment)?)?, accepted)
        }
        _ => (segment, quote!(T)),
    };
    if wrapper.ident != "TypedHeader" {
        return None;
    }
    let header = header_name(first_type(wrapper)?)?;
    let quoted = format!("{header:?}");
    let skipping = skipping(model, parameter);
    let proposal = match model.vary().contains(&header) {
        true => skipping,
        false => skipping.listed("vary", &[quoted]),
    };
    let error = (outer == "Result").then(|| quote!(, E));
    let accepted = match parameter.is_plain {
        true => quote! {
            impl<T: ::core::ops::Deref<Target: #private::Serialize + Sized> #error> __PartOfAKey
                for #accepted
        },
        false => quote!(impl<T: #private::Serialize> __PartOfAKey for T),
    };
    Some(Refusal {
        message: format!(
            "a typed header cannot be part of a key, but the header can: write `{}`, if that is its name",
            proposal.line()
        ),
        label: "this is no part of a key",
        accepted,
    })
}

/// The header that a type stands for, by its name: `UserAgent` is `user-agent`.
fn header_name(ty: &Type) -> Option<String> {
    let name = last_segment(ty)?.ident.unraw().to_string();
    if name == "ETag" {
        return Some("etag".to_owned());
    }
    let mut header = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !header.is_empty() {
            header.push('-');
        }
        header.extend(character.to_lowercase());
    }
    Some(header)
}

/// The line that makes a handler of what looks like a function, if it can be one.
pub(crate) fn handler_line(model: &Model) -> Option<String> {
    /// Types that no request is extracted into.
    const VALUES: [&str; 16] = [
        "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16",
        "u32", "u64", "u128", "usize",
    ];

    let is_extracted = |parameter: &Parameter| {
        let segment = last_segment(&parameter.ty);
        Borrows::of(&parameter.ty).borrow.is_none()
            && segment.is_some_and(|segment| VALUES.iter().all(|value| segment.ident != value))
    };
    let can_be = cfg!(feature = "axum")
        && matches!(model.kind, Kind::Function)
        && model.options.function.is_none()
        && model.receiver.is_none()
        && model.parameters.iter().all(is_extracted);
    can_be.then(|| Proposal::of(&model.options).first("handler").line())
}

/// Whether [`status`] refuses what a function returns, by its name.
pub(crate) fn is_status(model: &Model) -> bool {
    handler_line(model).is_some() && begins_with_status(model)
}

/// Asks whether a value can be stored that begins with a status: a function of the user's may return a
/// `StatusCode` of its own, but that of HTTP is a handler's.
pub(crate) fn status(model: &Model, of: &TokenStream) -> Option<TokenStream> {
    let line = handler_line(model).filter(|_| is_status(model))?;
    let private = model.private();
    let message = escaped(&format!(
        "a status cannot be stored in a cache: if this is an axum handler, write `{line}`"
    ));
    let span = Span::mixed_site().located_at(name_span(model.stored()));
    let storage = format_ident!("__storage", span = span);
    Some(quote_spanned! {span=>
        {
            #[diagnostic::on_unimplemented(message = #message, label = "`{Self}` cannot be stored")]
            trait __Stored: Sized {
                fn __access<C: #private::CoderChoice>(
                    #storage: #private::Storage<Self, C>,
                ) -> #private::Access<Self>;
            }

            #[diagnostic::do_not_recommend]
            impl<T: #private::CacheValue> __Stored for T {
                fn __access<C: #private::CoderChoice>(
                    #storage: #private::Storage<T, C>,
                ) -> #private::Access<T> {
                    #[allow(unused_imports)]
                    use #private::storage::*;
                    (&&#storage).access()
                }
            }

            let #storage = #private::Storage::#of;
            __Stored::__access(#storage)
        }
    })
}

/// Whether what is stored is a status by its name, or a tuple that begins with one.
pub(crate) fn begins_with_status(model: &Model) -> bool {
    let is_status = |ty: &Type| last_segment(ty).is_some_and(|last| last.ident == "StatusCode");
    match model.stored() {
        Type::Tuple(tuple) => tuple.elems.first().is_some_and(is_status),
        other => is_status(other),
    }
}

/// A message as a format string without arguments.
fn escaped(message: &str) -> String {
    message.replace('{', "{{").replace('}', "}}")
}
