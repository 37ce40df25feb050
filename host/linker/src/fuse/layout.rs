//! Values in the canonical ABI: their layout in memory, their flattening to core values, and the
//! code that loads one from memory into locals.

use nebula_codec::{Primitive, Type};
use wasm_encoder::{BlockType, InstructionSink, MemArg, ValType};

/// A parameter list of more core values than this is passed as a pointer.
pub(super) const FLAT_PARAMS_MAX: usize = 16;

/// A result of more core values than this is returned as a pointer.
pub(super) const FLAT_RESULTS_MAX: usize = 1;

/// Size and alignment in memory, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) size: u32,
    pub(super) align: u32,
}

impl Layout {
    const fn natural(size: u32) -> Self {
        Self { size, align: size }
    }

    /// A pointer and a length.
    const SLICE: Self = Self { size: 8, align: 4 };

    pub(super) fn of(ty: &Type) -> Self {
        match ty {
            Type::Primitive(Primitive::Bool | Primitive::S8 | Primitive::U8) => Self::natural(1),
            Type::Primitive(Primitive::S16 | Primitive::U16) => Self::natural(2),
            Type::Primitive(Primitive::S32 | Primitive::U32 | Primitive::Float32 | Primitive::Char) => {
                Self::natural(4)
            }
            Type::Primitive(Primitive::S64 | Primitive::U64 | Primitive::Float64) => Self::natural(8),
            Type::Primitive(Primitive::String) | Type::List(_) | Type::Map(_) => Self::SLICE,
            Type::Record(fields) => Self::sequence(fields.iter().map(|field| &field.ty)),
            Type::Tuple(types) => Self::sequence(types.iter()),
            Type::Enum(cases) => Self::discriminant(cases.len()),
            Type::Variant(_) | Type::Option(_) | Type::Result(_) => Cases::of(ty).layout(),
            Type::Flags(names) => match names.len() {
                0..=8 => Self::natural(1),
                9..=16 => Self::natural(2),
                count => Self { size: 4 * words(count), align: 4 },
            },
        }
    }

    /// The layout of values in sequence, as in a record.
    pub(super) fn sequence<'a>(types: impl Iterator<Item = &'a Type>) -> Self {
        let mut all = Self { size: 0, align: 1 };
        for ty in types {
            let layout = Self::of(ty);
            all.size = all.size.next_multiple_of(layout.align) + layout.size;
            all.align = all.align.max(layout.align);
        }
        Self { size: all.size.next_multiple_of(all.align), ..all }
    }

    fn discriminant(cases: usize) -> Self {
        Self::natural(match cases {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        })
    }
}

/// Returns the number of 32-bit words for that many flags.
fn words(flags: usize) -> u32 {
    u32::try_from(flags.div_ceil(32)).unwrap_or(u32::MAX)
}

/// The payloads of the cases of a variant, enum, option or result.
struct Cases<'a>(Vec<Option<&'a Type>>);

impl<'a> Cases<'a> {
    /// Returns the cases of a type; none for types without cases.
    fn of(ty: &'a Type) -> Self {
        Self(match ty {
            Type::Variant(cases) => cases.iter().map(|case| case.payload.as_ref()).collect(),
            Type::Enum(cases) => vec![None; cases.len()],
            Type::Option(inner) => vec![None, Some(inner)],
            Type::Result(result) => vec![result.ok.as_ref(), result.err.as_ref()],
            Type::Primitive(_)
            | Type::List(_)
            | Type::Map(_)
            | Type::Record(_)
            | Type::Tuple(_)
            | Type::Flags(_) => Vec::new(),
        })
    }

    fn discriminant(&self) -> Layout {
        Layout::discriminant(self.0.len())
    }

    fn layout(&self) -> Layout {
        let payloads = self.0.iter().flatten().map(|ty| Layout::of(ty));
        let (size, align) = payloads
            .fold((0, 1), |(size, align), payload| (payload.size.max(size), payload.align.max(align)));
        let align_all = align.max(self.discriminant().align);
        Layout { size: (self.payload_at() + size).next_multiple_of(align_all), align: align_all }
    }

    fn payload_at(&self) -> u32 {
        let align = self.0.iter().flatten().map(|ty| Layout::of(ty).align).max().unwrap_or(1);
        self.discriminant().size.next_multiple_of(align)
    }
}

/// Returns the offset of the payload in a variant, option or result, bytes.
pub(super) fn payload_at(variant: &Type) -> u32 {
    Cases::of(variant).payload_at()
}

/// Returns the core values of these types in sequence; `None` if there are more than
/// [`FLAT_PARAMS_MAX`].
pub(super) fn flatten<'a>(types: impl IntoIterator<Item = &'a Type>) -> Option<Vec<ValType>> {
    let mut flat = Vec::new();
    for ty in types {
        flatten_onto(&mut flat, ty)?;
    }
    Some(flat)
}

fn flatten_onto(flat: &mut Vec<ValType>, ty: &Type) -> Option<()> {
    match ty {
        Type::Primitive(
            Primitive::Bool
            | Primitive::S8
            | Primitive::U8
            | Primitive::S16
            | Primitive::U16
            | Primitive::S32
            | Primitive::U32
            | Primitive::Char,
        )
        | Type::Enum(_) => flat.push(ValType::I32),
        Type::Primitive(Primitive::S64 | Primitive::U64) => flat.push(ValType::I64),
        Type::Primitive(Primitive::Float32) => flat.push(ValType::F32),
        Type::Primitive(Primitive::Float64) => flat.push(ValType::F64),
        Type::Primitive(Primitive::String) | Type::List(_) | Type::Map(_) => flat.extend([ValType::I32; 2]),
        Type::Flags(names) => flat.extend(std::iter::repeat_n(ValType::I32, names.len().div_ceil(32))),
        Type::Record(fields) => fields.iter().try_for_each(|field| flatten_onto(flat, &field.ty))?,
        Type::Tuple(types) => types.iter().try_for_each(|ty| flatten_onto(flat, ty))?,
        Type::Variant(_) | Type::Option(_) | Type::Result(_) => {
            flat.push(ValType::I32);
            let begin = flat.len();
            for payload in Cases::of(ty).0.into_iter().flatten() {
                for (index, of_case) in flatten([payload])?.into_iter().enumerate() {
                    match flat.get_mut(begin + index) {
                        Some(joined) => *joined = join(*joined, of_case),
                        None => flat.push(of_case),
                    }
                }
            }
        }
    }
    (flat.len() <= FLAT_PARAMS_MAX).then_some(())
}

/// Returns the core type that holds either.
fn join(one: ValType, other: ValType) -> ValType {
    if one == other {
        one
    } else if [one, other].iter().all(|ty| matches!(ty, ValType::I32 | ValType::F32)) {
        ValType::I32
    } else {
        ValType::I64
    }
}

/// A local for one core value of a flattened value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) local: u32,
    pub(super) ty: ValType,
}

/// A place in memory: the address in the local `pointer`, plus `at` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) pointer: u32,
    pub(super) at: u32,
}

impl Address {
    fn plus(self, bytes: u32) -> Self {
        Self { at: self.at + bytes, ..self }
    }

    fn argument(self, align: u32) -> MemArg {
        MemArg { offset: u64::from(self.at), align: align.ilog2(), memory_index: 0 }
    }
}

/// Writes code that loads the value of type `ty` at `from` into `slots`, one for each of its core
/// values. Slots that the value's case doesn't use keep their contents, which must be zero.
pub(super) fn load(code: &mut InstructionSink<'_>, ty: &Type, from: Address, slots: &[Slot]) {
    let Some((first, rest)) = slots.split_first() else { return };
    let plain = |code: &mut InstructionSink<'_>,
                 loaded: ValType,
                 instruction: fn(&mut InstructionSink<'_>, MemArg)| {
        code.local_get(from.pointer);
        instruction(code, from.argument(Layout::of(ty).align));
        keep(code, loaded, first);
    };
    let part = |code: &mut InstructionSink<'_>, index: usize| {
        if let Some(slot) = slots.get(index) {
            let from = from.plus(4 * u32::try_from(index).unwrap_or(u32::MAX));
            code.local_get(from.pointer).i32_load(from.argument(4));
            keep(code, ValType::I32, slot);
        }
    };
    match ty {
        Type::Primitive(Primitive::Bool | Primitive::U8) => {
            plain(code, ValType::I32, |code, at| _ = code.i32_load8_u(at))
        }
        Type::Primitive(Primitive::S8) => plain(code, ValType::I32, |code, at| _ = code.i32_load8_s(at)),
        Type::Primitive(Primitive::U16) => plain(code, ValType::I32, |code, at| _ = code.i32_load16_u(at)),
        Type::Primitive(Primitive::S16) => plain(code, ValType::I32, |code, at| _ = code.i32_load16_s(at)),
        Type::Primitive(Primitive::S32 | Primitive::U32 | Primitive::Char) => {
            plain(code, ValType::I32, |code, at| _ = code.i32_load(at))
        }
        Type::Primitive(Primitive::S64 | Primitive::U64) => {
            plain(code, ValType::I64, |code, at| _ = code.i64_load(at))
        }
        Type::Primitive(Primitive::Float32) => plain(code, ValType::F32, |code, at| _ = code.f32_load(at)),
        Type::Primitive(Primitive::Float64) => plain(code, ValType::F64, |code, at| _ = code.f64_load(at)),
        Type::Enum(_) => plain(code, ValType::I32, unsigned(Layout::of(ty).size)),
        Type::Flags(names) if names.len() <= 32 => {
            plain(code, ValType::I32, unsigned(Layout::of(ty).size));
        }
        Type::Flags(_) => (0..slots.len()).for_each(|index| part(code, index)),
        Type::Primitive(Primitive::String) | Type::List(_) | Type::Map(_) => {
            (0..2).for_each(|index| part(code, index))
        }
        Type::Record(fields) => load_sequence(code, fields.iter().map(|field| &field.ty), from, slots),
        Type::Tuple(types) => load_sequence(code, types.iter(), from, slots),
        Type::Variant(_) | Type::Option(_) | Type::Result(_) => {
            let cases = Cases::of(ty);
            code.local_get(from.pointer);
            let discriminant = cases.discriminant();
            unsigned(discriminant.size)(code, from.argument(discriminant.align));
            keep(code, ValType::I32, first);
            load_payload(
                code,
                &cases,
                from.plus(cases.payload_at()),
                &VariantSlots { discriminant: first, payload: rest },
            );
        }
    }
}

/// Returns the instruction that loads an unsigned integer of that many bytes.
fn unsigned(bytes: u32) -> fn(&mut InstructionSink<'_>, MemArg) {
    match bytes {
        1 => |code, at| _ = code.i32_load8_u(at),
        2 => |code, at| _ = code.i32_load16_u(at),
        _ => |code, at| _ = code.i32_load(at),
    }
}

fn load_sequence<'a>(
    code: &mut InstructionSink<'_>,
    types: impl Iterator<Item = &'a Type>,
    from: Address,
    mut slots: &[Slot],
) {
    let mut end = 0_u32;
    for ty in types {
        let layout = Layout::of(ty);
        let begin = end.next_multiple_of(layout.align);
        end = begin + layout.size;
        let count = flatten([ty]).map_or(0, |flat| flat.len());
        let Some((own, rest)) = slots.split_at_checked(count) else { return };
        load(code, ty, from.plus(begin), own);
        slots = rest;
    }
}

/// The slots of a flattened variant.
struct VariantSlots<'a> {
    discriminant: &'a Slot,
    payload: &'a [Slot],
}

/// Writes code that loads the payload at `from` of the case whose discriminant has been loaded.
///
/// Each payload is loaded after the end of a block of its own. A branch table selects the block.
fn load_payload(code: &mut InstructionSink<'_>, cases: &Cases<'_>, from: Address, slots: &VariantSlots<'_>) {
    let payloads: Vec<&Type> = cases.0.iter().copied().flatten().collect();
    let Ok(end) = u32::try_from(payloads.len()) else { return };
    if end == 0 {
        return;
    }
    for _ in 0..=end {
        code.block(BlockType::Empty);
    }
    code.local_get(slots.discriminant.local);
    if slots.discriminant.ty == ValType::I64 {
        code.i32_wrap_i64();
    }
    let mut next = 0..end;
    let targets: Vec<u32> =
        cases.0.iter().map(|payload| payload.and_then(|_| next.next()).unwrap_or(end)).collect();
    code.br_table(targets, end);
    for (left, payload) in (0..end).rev().zip(payloads) {
        code.end();
        let count = flatten([payload]).map_or(0, |flat| flat.len());
        load(code, payload, from, slots.payload.get(..count).unwrap_or_default());
        if left > 0 {
            code.br(left);
        }
    }
    code.end();
}

/// Pops the value on the stack into a slot, whose type may be wider because of other cases.
fn keep(code: &mut InstructionSink<'_>, loaded: ValType, slot: &Slot) {
    if loaded != slot.ty {
        if loaded == ValType::F32 {
            code.i32_reinterpret_f32();
        } else if loaded == ValType::F64 {
            code.i64_reinterpret_f64();
        }
        if slot.ty == ValType::I64 && loaded != ValType::F64 {
            code.i64_extend_i32_u();
        }
    }
    code.local_set(slot.local);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nebula_codec::{Case, Field, Outcome};

    use super::*;

    fn names(count: usize) -> Arc<[String]> {
        (0..count).map(|at| format!("n{at}")).collect()
    }

    fn record(types: &[Type]) -> Type {
        Type::Record(
            types.iter().enumerate().map(|(at, ty)| Field::new(format!("f{at}"), ty.clone())).collect(),
        )
    }

    fn variant(payloads: &[Option<Type>]) -> Type {
        Type::Variant(
            payloads.iter().enumerate().map(|(at, ty)| Case::new(format!("c{at}"), ty.clone())).collect(),
        )
    }

    fn option(inner: Type) -> Type {
        Type::option(inner)
    }

    #[track_caller]
    fn check(ty: &Type, size: u32, align: u32, flat: Option<&[ValType]>) {
        assert_eq!(Layout::of(ty), Layout { size, align }, "{ty:?}");
        assert_eq!(flatten([ty]).as_deref(), flat, "{ty:?}");
    }

    #[test]
    fn layouts_are_those_of_the_canonical_abi() {
        use ValType::{F32, F64, I32, I64};
        check(&Type::BOOL, 1, 1, Some(&[I32]));
        check(&Type::S16, 2, 2, Some(&[I32]));
        check(&Type::CHAR, 4, 4, Some(&[I32]));
        check(&Type::FLOAT64, 8, 8, Some(&[F64]));
        check(&Type::list(Type::U64), 8, 4, Some(&[I32, I32]));
        check(&record(&[Type::U8, Type::U64, Type::STRING]), 24, 8, Some(&[I32, I64, I32, I32]));
        check(&Type::Tuple([Type::FLOAT32, Type::U16].into()), 8, 4, Some(&[F32, I32]));
        check(
            &variant(&[Some(Type::FLOAT32), Some(Type::U64), Some(Type::STRING)]),
            16,
            8,
            Some(&[I32, I64, I32]),
        );
        check(&variant(&[Some(Type::FLOAT32), Some(Type::U32), None]), 8, 4, Some(&[I32, I32]));
        check(&variant(&[Some(Type::FLOAT32), Some(Type::FLOAT64)]), 16, 8, Some(&[I32, I64]));
        check(&variant(&vec![None; 257]), 2, 2, Some(&[I32]));
        check(&option(option(Type::U8)), 3, 1, Some(&[I32, I32, I32]));
        check(&Type::result(Outcome { ok: None, err: None }), 1, 1, Some(&[I32]));
        check(
            &Type::result(Outcome { ok: Some(Type::FLOAT32), err: Some(Type::FLOAT32) }),
            8,
            4,
            Some(&[I32, F32]),
        );
        check(&Type::Enum(names(256)), 1, 1, Some(&[I32]));
        check(&Type::Enum(names(257)), 2, 2, Some(&[I32]));
        check(&Type::Flags(names(1)), 1, 1, Some(&[I32]));
        check(&Type::Flags(names(9)), 2, 2, Some(&[I32]));
        check(&Type::Flags(names(17)), 4, 4, Some(&[I32]));
        check(&Type::Flags(names(33)), 8, 4, Some(&[I32, I32]));
        check(&record(&[const { Type::U8 }; 16]), 16, 1, Some(&[I32; 16]));
        check(&record(&[const { Type::U8 }; 17]), 17, 1, None);
    }
}
