//! Parts of shapes: the items of a list, the cases of a choice, a selection.

use nebula_codec::{Case, Outcome, Primitive, Type};
use nebula_model::description::Path;
use nebula_model::similar::did_you_mean;

use crate::error::InvalidPipeline;
use crate::shape::Shape;

/// Returns the shape of a list's items, or `None` if it isn't a list.
pub(super) fn item_of(shape: &Shape) -> Option<Shape> {
    match shape {
        Shape::List(item) => Some((**item).clone()),
        Shape::Value(Type::List(element)) => Some(Shape::Value((**element).clone())),
        Shape::Constant(_) => {
            let Type::List(element) = shape.ty()? else { return None };
            Some(Shape::Value((*element).clone()))
        }
        Shape::Nothing | Shape::Payload | Shape::Value(_) | Shape::Record(_) | Shape::Tuple(_) => None,
    }
}

/// Returns the cases that a choice can have, or `None` if the type has none.
pub(super) fn cases_of(shape: &Shape) -> Option<Vec<Case>> {
    let Shape::Value(ty) = shape else { return None };
    Some(match ty {
        Type::Variant(cases) => cases.to_vec(),
        Type::Enum(names) => names.iter().map(|name| Case::new(name.clone(), None)).collect(),
        Type::Option(inner) => vec![Case::new("none", None), Case::new("some", Some((**inner).clone()))],
        Type::Result(outcome) => {
            let Outcome { ok, err } = &**outcome;
            vec![Case::new("ok", ok.clone()), Case::new("err", err.clone())]
        }
        Type::Primitive(Primitive::Bool) => vec![Case::new("true", None), Case::new("false", None)],
        Type::Primitive(_)
        | Type::List(_)
        | Type::Map(_)
        | Type::Record(_)
        | Type::Tuple(_)
        | Type::Flags(_) => return None,
    })
}

/// Returns whether a list can be grouped by values of this shape.
pub(super) fn is_key(shape: &Shape) -> bool {
    match shape {
        Shape::Value(Type::Primitive(primitive)) => !primitive.is_float(),
        Shape::Value(ty) => matches!(ty, Type::Enum(_)),
        Shape::Nothing
        | Shape::Payload
        | Shape::Constant(_)
        | Shape::Record(_)
        | Shape::Tuple(_)
        | Shape::List(_) => false,
    }
}

/// A part of a shape.
pub(super) struct Selection {
    /// The index at each level.
    pub(super) indices: Vec<usize>,
    /// The shape of the part.
    pub(super) shape: Shape,
}

/// Selects the part of `shape` at `path`.
pub(super) fn select(shape: &Shape, path: &Path) -> Result<Selection, InvalidPipeline> {
    let mut selection = Selection { indices: Vec::new(), shape: shape.clone() };
    for name in &path.0 {
        let Some((index, part)) = part_of(&selection.shape, name) else {
            let hint = did_you_mean(name, names_of(&selection.shape));
            let hint = hint.map(|hint| format!(": {hint}")).unwrap_or_default();
            let reason = if selection.indices.is_empty() {
                format!("which has no part `{name}`{hint}")
            } else {
                format!("in which `{}` has no part `{name}`{hint}", selection.shape)
            };
            return Err(InvalidPipeline::unsuitable(&format!("select {path}"), shape, &reason));
        };
        selection.indices.push(index);
        selection.shape = part;
    }
    Ok(selection)
}

/// Returns the names of the fields of a record.
fn names_of(shape: &Shape) -> Vec<&str> {
    match shape {
        Shape::Record(fields) => fields.iter().map(|field| field.name.as_str()).collect(),
        Shape::Value(Type::Record(fields)) => fields.iter().map(|field| field.name.as_str()).collect(),
        Shape::Nothing
        | Shape::Payload
        | Shape::Value(_)
        | Shape::Constant(_)
        | Shape::Tuple(_)
        | Shape::List(_) => Vec::new(),
    }
}

/// Returns the index and shape of the field with this name, or the part at this position.
fn part_of(shape: &Shape, name: &str) -> Option<(usize, Shape)> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let position = || name.parse::<usize>().ok().filter(|_| is_number);
    match shape {
        Shape::Record(fields) => {
            let index = fields.iter().position(|field| field.name == name)?;
            Some((index, fields.get(index)?.shape.clone()))
        }
        Shape::Tuple(parts) => {
            let index = position()?;
            Some((index, parts.get(index)?.clone()))
        }
        Shape::Value(Type::Record(fields)) => {
            let index = fields.iter().position(|field| field.name == name)?;
            Some((index, Shape::Value(fields.get(index)?.ty.clone())))
        }
        Shape::Value(Type::Tuple(types)) => {
            let index = position()?;
            Some((index, Shape::Value(types.get(index)?.clone())))
        }
        Shape::Nothing | Shape::Payload | Shape::Value(_) | Shape::Constant(_) | Shape::List(_) => None,
    }
}
