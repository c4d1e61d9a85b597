//! What types borrow, as far as it is spelled out.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::visit::Visit;
use syn::{Token, Type};

/// What a type borrows. The arguments and results of a function that it names are not its own.
#[derive(Default)]
pub(crate) struct Borrows {
    /// The first `&` or lifetime that does not hold for ever.
    pub(crate) borrow: Option<TokenStream>,
    /// The first `mut` of a reference.
    pub(crate) mutable: Option<Token![mut]>,
}

impl Borrows {
    pub(crate) fn of(ty: &Type) -> Self {
        let mut borrows = Self::default();
        borrows.visit_type(ty);
        borrows
    }
}

impl Visit<'_> for Borrows {
    fn visit_type_reference(&mut self, reference: &syn::TypeReference) {
        let lifetime = reference.lifetime.as_ref();
        if lifetime.is_none_or(|lifetime| lifetime.ident != "static") {
            let and = &reference.and_token;
            self.borrow.get_or_insert_with(|| and.to_token_stream());
        }
        self.mutable = self.mutable.or(reference.mutability);
        self.visit_type(&reference.elem);
    }

    fn visit_lifetime(&mut self, lifetime: &syn::Lifetime) {
        if lifetime.ident != "static" {
            self.borrow
                .get_or_insert_with(|| lifetime.to_token_stream());
        }
    }

    fn visit_type_fn_ptr(&mut self, _: &syn::TypeFnPtr) {}

    fn visit_parenthesized_generic_arguments(&mut self, _: &syn::ParenthesizedGenericArguments) {}

    fn visit_bound_lifetimes(&mut self, _: &syn::BoundLifetimes) {}
}
