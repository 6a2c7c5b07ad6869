//! `#[derive(EventFields)]`.

use quote::{ToTokens, quote};
use syn::{Data, DeriveInput, Error, Field, Fields, Generics, Ident, Lifetime, LitStr, Result, Type};

use crate::unraw;

struct Declared<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    path: String,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<proc_macro2::TokenStream> {
    let ident = &input.ident;
    let only_named = || {
        Error::new(
            ident.span(),
            "what an event carries is a struct with named fields",
        )
    };
    let Data::Struct(data) = &input.data else {
        return Err(only_named());
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(only_named());
    };
    let lifetime = lifetime(&input.generics)?;
    let (_, generics, _) = input.generics.split_for_impl();
    let declared = fields.named.iter().map(declared).collect::<Result<Vec<_>>>()?;
    let names = declared.iter().map(|field| field.ident);
    let types: Vec<&Type> = declared.iter().map(|field| field.ty).collect();
    let paths: Vec<&str> = declared.iter().map(|field| field.path.as_str()).collect();
    Ok(quote! {
        impl<#lifetime> ::lamphouse_sdk::EventFields<#lifetime> for #ident #generics {
            const FIELDS: &'static [::lamphouse_sdk::contract::fields::Field<'static>] = &[
                #(::lamphouse_sdk::contract::fields::Field {
                    path: #paths,
                    kind: <#types as ::lamphouse_sdk::FromField<#lifetime>>::KIND,
                }),*
            ];

            #[inline]
            #[allow(unused_variables)] // Where there are no fields.
            fn from_values(
                values: &mut ::lamphouse_sdk::FieldValues<#lifetime>,
            ) -> ::lamphouse_sdk::Result<Self> {
                ::core::result::Result::Ok(Self {
                    #(#names: values.read::<#types>(#paths)?),*
                })
            }
        }
    })
}

/// The event's lifetime: the struct's own, or one of the implementation's.
fn lifetime(generics: &Generics) -> Result<Lifetime> {
    let mut lifetimes = generics.lifetimes();
    let first = lifetimes.next();
    if let Some(second) = lifetimes.next() {
        return Err(Error::new_spanned(
            second,
            "one lifetime is enough: all texts are borrowed from the event",
        ));
    }
    if let Some(parameter) = generics
        .params
        .iter()
        .find(|parameter| !matches!(parameter, syn::GenericParam::Lifetime(_)))
    {
        return Err(Error::new_spanned(
            parameter,
            "what an event carries has no type parameters",
        ));
    }
    Ok(match first {
        Some(lifetime) => lifetime.lifetime.clone(),
        None => Lifetime::new("'__event", proc_macro2::Span::call_site()),
    })
}

fn declared(field: &Field) -> Result<Declared<'_>> {
    let ident = field
        .ident
        .as_ref()
        .ok_or_else(|| Error::new_spanned(field, "what an event carries has named fields"))?;
    let mut path = format!("/data/{}", unraw(ident));
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("field"))
    {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("path") {
                let word = meta.path.to_token_stream();
                return Err(meta.error(format!("`{word}` is unknown; expected path")));
            }
            let given: LitStr = meta.value()?.parse()?;
            path = given.value();
            let is_rooted = ["/data", "/metadata"].iter().any(|root| {
                path.strip_prefix(root)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if !is_rooted {
                return Err(Error::new(
                    given.span(),
                    "a path begins with /data or /metadata, as in /data/price/amount",
                ));
            }
            Ok(())
        })?;
    }
    Ok(Declared {
        ident,
        ty: &field.ty,
        path,
    })
}
