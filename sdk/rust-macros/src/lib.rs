//! `#[derive(Row)]` and `#[derive(EventFields)]` of the Lamphouse SDK.

mod event_fields;

use proc_macro::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Expr, Field, Fields, Ident, LitInt, LitStr, Result, Token, Type, bracketed,
    parenthesized,
};

/// Makes a struct a row of a table, and gives it a constant for each column and index.
///
/// On the struct: `#[row(table = "orders")]`, and for indexes over several columns
/// `index(by_customer = [customer_id, placed_at])`, which becomes `BY_CUSTOMER`.
///
/// On a field:
/// - `#[row(key)]`: it belongs to the key; keys of several columns are in the order of the fields.
/// - `#[row(index)]`: an index over this column alone, `BY_` and the field's name.
/// - `#[row(initial = 0)]`: what an upsert gives a new row.
/// - `#[row(scale = 2)]`: digits after the point; every `Decimal` needs it.
/// - `#[row(name = "type")]`: the column's name, where it is not the field's.
///
/// Types: `bool`, `i64`, `f64`, `Decimal`, `String`, `Vec<u8>`, `Timestamp`, `Json<T>`; an `Option` may be null.
#[proc_macro_derive(Row, attributes(row))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Declares a struct's fields as what is read of an event: see `EventFields` of the SDK.
///
/// `#[field(path = "/data/price/amount")]` says where a field is, as a JSON Pointer into the event's `data` and
/// `metadata`; without it, it is at the top of `data`, under its own name.
#[proc_macro_derive(EventFields, attributes(field))]
pub fn derive_event_fields(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    event_fields::expand(&input)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

struct Column<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    name: String,
    key: bool,
    index: Option<proc_macro2::Span>,
    initial: Option<Expr>,
    scale: Option<LitInt>,
}

struct TableIndex {
    name: Ident,
    columns: Vec<Ident>,
}

enum TableItem {
    Table(LitStr),
    Index(Vec<TableIndex>),
}

impl Parse for TableItem {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let word: Ident = input.parse()?;
        if word == "table" {
            input.parse::<Token![=]>()?;
            return Ok(Self::Table(input.parse()?));
        }
        if word != "index" {
            return Err(Error::new(
                word.span(),
                "expected `table = \"…\"` or `index(name = [column, …])`",
            ));
        }
        let list;
        parenthesized!(list in input);
        let indexes = Punctuated::<TableIndex, Token![,]>::parse_terminated(&list)?;
        Ok(Self::Index(indexes.into_iter().collect()))
    }
}

impl Parse for TableIndex {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        let list;
        bracketed!(list in input);
        let columns = Punctuated::<Ident, Token![,]>::parse_terminated(&list)?;
        Ok(Self {
            name,
            columns: columns.into_iter().collect(),
        })
    }
}

fn expand(input: &DeriveInput) -> Result<proc_macro2::TokenStream> {
    let ident = &input.ident;
    if !input.generics.params.is_empty() {
        return Err(Error::new(
            input.generics.span(),
            "a row owns its values: it has no lifetimes and no type parameters",
        ));
    }
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(ident.span(), "a row is a struct with named fields"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new(ident.span(), "a row is a struct with named fields"));
    };
    let (table, mut indexes) = table_attributes(input)?;
    let columns = fields.named.iter().map(column).collect::<Result<Vec<_>>>()?;
    for column in &columns {
        if let Some(span) = column.index {
            let name = Ident::new(&format!("by_{}", unraw(column.ident)), span);
            indexes.push(TableIndex {
                name,
                columns: vec![column.ident.clone()],
            });
        }
    }
    if !columns.iter().any(|column| column.key) {
        return Err(Error::new(
            ident.span(),
            "a row needs a key: mark its fields with `#[row(key)]`",
        ));
    }
    row(ident, &table, &columns, &indexes)
}

fn row(
    ident: &Ident,
    table: &LitStr,
    columns: &[Column<'_>],
    indexes: &[TableIndex],
) -> Result<proc_macro2::TokenStream> {
    let count = columns.len();
    let names: Vec<&Ident> = columns.iter().map(|column| column.ident).collect();
    let types: Vec<&Type> = columns.iter().map(|column| column.ty).collect();
    let places: Vec<usize> = (0..count).collect();
    let keys: Vec<&Column<'_>> = columns.iter().filter(|column| column.key).collect();
    let key_names = keys.iter().map(|column| column.ident);
    let key_types = keys.iter().map(|column| column.ty);
    let key_places = columns
        .iter()
        .zip(0u32..)
        .filter(|(column, _)| column.key)
        .map(|(_, place)| place);

    let declared = columns.iter().map(declaration);
    let handles = columns.iter().zip(0u32..).map(|(column, place)| {
        let handle = Ident::new(&unraw(column.ident).to_uppercase(), column.ident.span());
        let (ty, doc) = (column.ty, format!("The column `{}`.", column.name));
        quote! {
            #[doc = #doc]
            pub const #handle: ::lamphouse_sdk::Column<#ident, #ty> = ::lamphouse_sdk::Column::__new(#place);
        }
    });

    let mut index_handles = Vec::new();
    let mut index_places = Vec::new();
    for (index, number) in indexes.iter().zip(0u32..) {
        let (mut places, mut types) = (Vec::new(), Vec::new());
        for name in &index.columns {
            let Some(place) = columns.iter().position(|column| column.ident == name) else {
                return Err(Error::new(
                    name.span(),
                    format!("there is no field `{name}` to index"),
                ));
            };
            places.push(place as u32);
            types.push(columns[place].ty);
        }
        let handle = Ident::new(&unraw(&index.name).to_uppercase(), index.name.span());
        if columns
            .iter()
            .any(|column| handle == unraw(column.ident).to_uppercase())
        {
            return Err(Error::new(
                index.name.span(),
                "an index needs a name that no field has, such as `by_customer`",
            ));
        }
        let doc = format!("The declared index over {}.", list(&index.columns));
        index_handles.push(quote! {
            #[doc = #doc]
            pub const #handle: ::lamphouse_sdk::Index<#ident, (#(#types,)*)> = ::lamphouse_sdk::Index::__new(#number);
        });
        index_places.push(quote! { ::std::vec![#(#places),*] });
    }

    Ok(quote! {
        #[allow(dead_code)]
        impl #ident {
            #(#handles)*
            #(#index_handles)*
        }

        impl ::lamphouse_sdk::Row for #ident {
            type Key = (#(#key_types,)*);

            fn schema() -> ::lamphouse_sdk::contract::TableSchema {
                ::lamphouse_sdk::contract::TableSchema {
                    name: ::std::string::String::from(#table),
                    columns: ::std::vec![#(#declared),*],
                    primary_key: ::std::vec![#(#key_places),*],
                    indexes: ::std::vec![#(#index_places),*],
                }
            }

            fn into_values(self) -> ::lamphouse_sdk::contract::Row {
                ::std::boxed::Box::new([#(::lamphouse_sdk::Field::into_value(self.#names)),*])
            }

            fn key(&self) -> ::lamphouse_sdk::contract::Key {
                ::std::boxed::Box::new([
                    #(::lamphouse_sdk::Field::into_value(::core::clone::Clone::clone(&self.#key_names))),*
                ])
            }

            fn from_values(values: &[::lamphouse_sdk::contract::Value]) -> ::lamphouse_sdk::Result<Self> {
                let values: &[::lamphouse_sdk::contract::Value; #count] = values.try_into()?;
                ::core::result::Result::Ok(Self {
                    #(#names: <#types as ::lamphouse_sdk::Field>::from_value(&values[#places])?),*
                })
            }
        }
    })
}

/// The column as it is declared to the host.
fn declaration(column: &Column<'_>) -> proc_macro2::TokenStream {
    let (name, ty) = (&column.name, column.ty);
    let kind = match &column.scale {
        // Checked while compiling, by the type and not by its name, which may be an alias.
        Some(scale) => quote! {{
            const _: () = ::core::assert!(
                ::core::matches!(<#ty as ::lamphouse_sdk::Field>::KIND, ::lamphouse_sdk::contract::ColumnType::Decimal(_)),
                ::core::concat!("only a Decimal has a scale: ", #name)
            );
            const _: () = ::core::assert!(#scale <= 38u8, "a scale is 38 at the most");
            ::lamphouse_sdk::contract::ColumnType::Decimal(#scale)
        }},
        None => quote! {{
            const _: () = ::core::assert!(
                !::core::matches!(<#ty as ::lamphouse_sdk::Field>::KIND, ::lamphouse_sdk::contract::ColumnType::Decimal(_)),
                ::core::concat!("a Decimal needs #[row(scale = …)], its digits after the point: ", #name)
            );
            <#ty as ::lamphouse_sdk::Field>::KIND
        }},
    };
    let initial = match &column.initial {
        Some(initial) => quote! {
            ::core::option::Option::Some(<_ as ::lamphouse_sdk::IntoField<#ty>>::into_field(#initial))
        },
        None => quote! { ::core::option::Option::None },
    };
    quote! {
        ::lamphouse_sdk::contract::Column {
            name: ::std::string::String::from(#name),
            kind: #kind,
            nullable: <#ty as ::lamphouse_sdk::Field>::NULLABLE,
            initial: #initial,
        }
    }
}

fn table_attributes(input: &DeriveInput) -> Result<(LitStr, Vec<TableIndex>)> {
    let (mut table, mut indexes) = (None, Vec::new());
    for attribute in input
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("row"))
    {
        for item in attribute.parse_args_with(Punctuated::<TableItem, Token![,]>::parse_terminated)? {
            match item {
                TableItem::Table(name) => table = Some(name),
                TableItem::Index(more) => indexes.extend(more),
            }
        }
    }
    match table {
        Some(table) => Ok((table, indexes)),
        None => Err(Error::new(
            input.ident.span(),
            "a row needs a table: `#[row(table = \"orders\")]`",
        )),
    }
}

fn column(field: &Field) -> Result<Column<'_>> {
    let ident = field
        .ident
        .as_ref()
        .ok_or_else(|| Error::new(field.span(), "a row has named fields"))?;
    let mut column = Column {
        ident,
        ty: &field.ty,
        name: unraw(ident),
        key: false,
        index: None,
        initial: None,
        scale: None,
    };
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("row"))
    {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("key") {
                column.key = true;
            } else if meta.path.is_ident("index") {
                column.index = Some(meta.path.span());
            } else if meta.path.is_ident("initial") {
                column.initial = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("scale") {
                let scale: LitInt = meta.value()?.parse()?;
                column.scale = Some(LitInt::new(
                    &format!("{}u8", scale.base10_parse::<u8>()?),
                    scale.span(),
                ));
            } else if meta.path.is_ident("name") {
                column.name = meta.value()?.parse::<LitStr>()?.value();
            } else {
                let word = meta.path.to_token_stream();
                return Err(meta.error(format!(
                    "`{word}` is unknown; expected key, index, initial, scale or name"
                )));
            }
            Ok(())
        })?;
    }
    Ok(column)
}

fn unraw(ident: &Ident) -> String {
    let name = format_ident!("{ident}").to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}

fn list(names: &[Ident]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
