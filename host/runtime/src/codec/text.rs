//! Types as WIT text, written out in place.

use std::fmt::Write;

use wasmtime::component::Type;

use super::Params;

/// `ty` in WIT, structurally: `list<record { name: string, values: list<f64> }>`.
pub(crate) fn wit_text(ty: &Type) -> String {
    let mut out = String::new();
    write_type(&mut out, ty);
    out
}

/// `handle: func(n: u32) -> result<string, string>`.
pub(crate) fn signature_text(name: &str, params: &Params, result: Option<&Type>) -> String {
    let mut out = format!("{name}: func(");
    join(&mut out, params.iter(), |out, (name, ty)| {
        out.push_str(name);
        out.push_str(": ");
        write_type(out, ty);
    });
    out.push(')');
    if let Some(result) = result {
        out.push_str(" -> ");
        write_type(&mut out, result);
    }
    out
}

fn join<T>(out: &mut String, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(out, item);
    }
}

fn write_type(out: &mut String, ty: &Type) {
    match ty {
        Type::Bool => out.push_str("bool"),
        Type::S8 => out.push_str("s8"),
        Type::U8 => out.push_str("u8"),
        Type::S16 => out.push_str("s16"),
        Type::U16 => out.push_str("u16"),
        Type::S32 => out.push_str("s32"),
        Type::U32 => out.push_str("u32"),
        Type::S64 => out.push_str("s64"),
        Type::U64 => out.push_str("u64"),
        Type::Float32 => out.push_str("f32"),
        Type::Float64 => out.push_str("f64"),
        Type::Char => out.push_str("char"),
        Type::String => out.push_str("string"),
        Type::List(list) => {
            out.push_str("list<");
            write_type(out, &list.ty());
            out.push('>');
        }
        Type::FixedLengthList(list) => {
            out.push_str("list<");
            write_type(out, &list.ty());
            // Writing to a `String` doesn't fail.
            let _ = write!(out, ", {}>", list.len());
        }
        Type::Map(map) => {
            out.push_str("map<");
            write_type(out, &map.key());
            out.push_str(", ");
            write_type(out, &map.value());
            out.push('>');
        }
        Type::Record(record) => {
            out.push_str("record { ");
            join(out, record.fields(), |out, field| {
                out.push_str(field.name);
                out.push_str(": ");
                write_type(out, &field.ty);
            });
            out.push_str(" }");
        }
        Type::Tuple(tuple) => {
            out.push_str("tuple<");
            join(out, tuple.types(), |out, ty| write_type(out, &ty));
            out.push('>');
        }
        Type::Variant(variant) => {
            out.push_str("variant { ");
            join(out, variant.cases(), |out, case| {
                out.push_str(case.name);
                if let Some(ty) = case.ty {
                    out.push('(');
                    write_type(out, &ty);
                    out.push(')');
                }
            });
            out.push_str(" }");
        }
        Type::Enum(cases) => {
            out.push_str("enum { ");
            join(out, cases.names(), |out, name| out.push_str(name));
            out.push_str(" }");
        }
        Type::Flags(flags) => {
            out.push_str("flags { ");
            join(out, flags.names(), |out, name| out.push_str(name));
            out.push_str(" }");
        }
        Type::Option(option) => {
            out.push_str("option<");
            write_type(out, &option.ty());
            out.push('>');
        }
        Type::Result(result) => match (result.ok(), result.err()) {
            (None, None) => out.push_str("result"),
            (Some(ok), None) => {
                out.push_str("result<");
                write_type(out, &ok);
                out.push('>');
            }
            (ok, Some(err)) => {
                out.push_str("result<");
                match ok {
                    Some(ok) => write_type(out, &ok),
                    None => out.push('_'),
                }
                out.push_str(", ");
                write_type(out, &err);
                out.push('>');
            }
        },
        Type::Own(_) => out.push_str("resource"),
        Type::Borrow(_) => out.push_str("borrow<resource>"),
        Type::Future(_) => out.push_str("future"),
        Type::Stream(_) => out.push_str("stream"),
        Type::ErrorContext => out.push_str("error-context"),
    }
}
