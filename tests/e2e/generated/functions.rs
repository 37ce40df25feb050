//! Generated functions: a signature, and a body that computes its result from all parameters.
//!
//! ```text
//! memory:  0 text | RESULT the result, then the lists in it | HEAP the parameters
//! ```
//!
//! A body is one expression per number of the result.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::expressions::{Expressions, Span};
use super::types::{Core, FLAT_MAX, Type, aligned, any_type};

/// The bytes of text at the beginning of memory.
const TEXT_BYTES: usize = 0x1300;

/// The address below which expressions write to memory.
const UNWRITTEN: usize = 0x1000;

const RESULT: usize = 0x2000;

const HEAP: usize = 0x1_0000;

/// A function that otherwise never traps returns an invalid character or text for about one in
/// `2^n` inputs.
const INVALID_BITS: u32 = 4;

/// The turns of a loop that takes some milliseconds, several times as long as a result must take to
/// be stored on disk.
const TURNS: usize = 3_000_000;

/// The most items of a list that a function builds.
const ITEMS_MAX: usize = 3;

/// A generated function.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// The types of the parameters, which are named `p0`, `p1` and so on.
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    /// The type of the function's own errors, if it returns any.
    pub(crate) error: Option<Type>,
    pub(crate) wat: String,
}

/// The properties of a function to generate.
#[derive(Clone, Debug)]
pub(crate) struct FunctionSpec {
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    pub(crate) error: Option<Type>,
    /// The function returns an error for about one in `2^n` inputs, if it has any errors.
    pub(crate) error_bits: u32,
    /// The function traps only for about one in `2^n` inputs. `None` allows expressions that trap.
    pub(crate) trap_bits: Option<u32>,
    /// The turns of a loop that precedes the body.
    pub(crate) turns: usize,
}

/// The properties of a function with any signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The function takes some milliseconds.
    pub(crate) is_slow: bool,
    /// The function may return an error of its own.
    pub(crate) has_errors: bool,
}

/// The memory between [`RESULT`] and [`HEAP`], which is assigned in ascending order.
struct ResultArea {
    free: usize,
}

impl ResultArea {
    fn reserve(&mut self, align: usize, bytes: usize) -> usize {
        let begin = self.free.next_multiple_of(align);
        self.free = begin + bytes;
        assert!(self.free <= HEAP, "a result takes {} bytes", self.free - RESULT);
        begin
    }
}

impl Type {
    /// Generates an expression for a value, or returns `None` if the type isn't a single core
    /// value. Not all values are valid characters, and unused bits may be set.
    fn core(&self, of: &Expressions) -> Option<BoxedStrategy<String>> {
        let masked = |mask: &'static str| {
            of.int.clone().prop_map(move |e| format!("(i32.and {e} (i32.const {mask}))"))
        };
        Some(match self {
            Self::U8 | Self::S16 | Self::S32 | Self::Flags(_) => of.int.clone(),
            Self::U64 => of.long.clone(),
            Self::F64 => of.float.clone(),
            Self::Bool => masked("3").boxed(),
            Self::Char if of.never_trap => {
                let char = |(invalid, e)| {
                    format!("(select (i32.const 0xd800) (i32.and {e} (i32.const 0x7f)) {invalid})")
                };
                (of.true_for_one_in(INVALID_BITS), of.int.clone()).prop_map(char).boxed()
            }
            Self::Char => prop_oneof![4 => masked("0x7f"), 1 => masked("0xffff")].boxed(),
            Self::Enum(count) => of.below(*count),
            Self::Variant(cases) if cases.iter().all(Option::is_none) => of.below(cases.len()),
            Self::String
            | Self::Bytes
            | Self::List(_)
            | Self::Option(_)
            | Self::Result(..)
            | Self::Variant(_)
            | Self::Record(_)
            | Self::Tuple(_) => return None,
        })
    }

    /// Generates instructions that store a value at the address `at`.
    fn store(&self, at: usize, of: &Expressions, area: &mut ResultArea) -> BoxedStrategy<String> {
        let store = |store: &'static str| {
            let core = self.core(of).unwrap();
            core.prop_map(move |e| format!("({store} (i32.const {at}) {e})\n")).boxed()
        };
        match self {
            Self::U8 | Self::Bool | Self::Flags(_) | Self::Enum(_) => store("i32.store8"),
            Self::S16 => store("i32.store16"),
            Self::S32 | Self::Char => store("i32.store"),
            Self::U64 => store("i64.store"),
            Self::F64 => store("f64.store"),
            Self::String | Self::Bytes | Self::List(_) => {
                let to = at + 4;
                let store = move |BuiltSpan { instructions, span: Span { begin, length } }| {
                    format!(
                        "{instructions}(i32.store (i32.const {at}) {begin}) (i32.store (i32.const {to}) {length})\n"
                    )
                };
                self.span(of, area).prop_map(store).boxed()
            }
            Self::Record(types) | Self::Tuple(types) => {
                let mut end = at;
                let mut parts = Vec::new();
                for ty in types {
                    let begin = aligned(end, ty);
                    parts.push(ty.store(begin, of, area));
                    end = begin + ty.bytes();
                }
                parts.prop_map(|parts| parts.concat()).boxed()
            }
            Self::Option(_) | Self::Result(..) | Self::Variant(_) => {
                let count = self.cases().map_or(0, |cases| cases.len());
                self.store_case(at, of.below(count), of, area)
            }
        }
    }

    /// Generates instructions that store the case with the index `case` at the address `at`.
    fn store_case(
        &self,
        at: usize,
        case: BoxedStrategy<String>,
        of: &Expressions,
        area: &mut ResultArea,
    ) -> BoxedStrategy<String> {
        let cases = self.cases().unwrap_or_default().into_iter().enumerate();
        let payloads: Vec<_> = cases
            .filter_map(|(index, payload)| {
                let store = payload?.store(at + self.payload_at(), of, area);
                Some(store.prop_map(move |store| {
                    format!(
                        "(if (i32.eq (i32.load8_u (i32.const {at})) (i32.const {index})) (then {store}))\n"
                    )
                }))
            })
            .collect();
        let store = move |(case, payloads): (String, Vec<String>)| {
            format!("(i32.store8 (i32.const {at}) {case})\n{}", payloads.concat())
        };
        (case, payloads).prop_map(store).boxed()
    }

    /// Generates a text, bytes or a list: a part of memory, a parameter, or a list built item by
    /// item. Some texts are invalid UTF-8.
    fn span(&self, of: &Expressions, area: &mut ResultArea) -> BoxedStrategy<BuiltSpan> {
        let masked = |mask: &'static str| {
            of.int.clone().prop_map(move |e| format!("(i32.and {e} (i32.const {mask}))"))
        };
        let in_memory = |(begin, length): (String, String)| BuiltSpan {
            instructions: String::new(),
            span: Span { begin, length },
        };
        let begin = masked("0xff8");
        let window = if of.never_trap && *self == Self::String {
            // Memory that nothing writes to holds valid text. An address beyond the memory makes
            // the text invalid.
            let begin = masked("0x1f8").prop_map(|e| format!("(i32.add (i32.const {UNWRITTEN}) {e})"));
            let out_of_bounds = |(invalid, e)| format!("(select (i32.const -1) {e} {invalid})");
            let begin = (of.true_for_one_in(INVALID_BITS), begin).prop_map(out_of_bounds);
            (begin, masked("0x3f")).prop_map(in_memory).boxed()
        } else {
            (begin, masked("0x3f")).prop_map(in_memory).boxed()
        };
        let built = if let Self::List(item) = self
            && !matches!(**item, Self::U64 | Self::S32 | Self::S16)
        {
            let begin = area.reserve(item.align(), ITEMS_MAX * item.bytes());
            let items: Vec<_> =
                (0..ITEMS_MAX).map(|index| item.store(begin + index * item.bytes(), of, area)).collect();
            (items, masked("3"))
                .prop_map(move |(items, length)| BuiltSpan {
                    instructions: items.concat(),
                    span: Span { begin: format!("(i32.const {begin})"), length },
                })
                .boxed()
        } else {
            window
        };
        let parameters = of.parameters.spans.iter().filter(|(ty, _)| ty == self);
        let parameters: Vec<_> = parameters
            .map(|(_, span)| BuiltSpan { instructions: String::new(), span: span.clone() })
            .collect();
        if parameters.is_empty() { built } else { prop_oneof![built, select(parameters)].boxed() }
    }
}

/// A text, bytes or a list, and the instructions that store its items.
#[derive(Clone, Debug)]
struct BuiltSpan {
    instructions: String,
    span: Span,
}

/// Generates a function with any signature.
pub(crate) fn function(kind: Kind) -> impl Strategy<Value = Function> {
    let error = any_type().prop_map(move |ty| kind.has_errors.then_some(ty));
    (any_params(), any_type(), error).prop_flat_map(move |(params, result, error)| {
        let turns = if kind.is_slow { TURNS } else { 1 };
        function_of(FunctionSpec { params, result, error, error_bits: 1, trap_bits: None, turns })
    })
}

/// Generates up to three parameters, or fewer if their core values would exceed [`FLAT_MAX`].
pub(crate) fn any_params() -> impl Strategy<Value = Vec<Type>> {
    vec(any_type(), 1..4).prop_map(|mut params| {
        while params.len() > 1 && params.iter().map(|ty| ty.flat().len()).sum::<usize>() > FLAT_MAX {
            params.pop();
        }
        params
    })
}

/// Generates a function with these properties.
pub(crate) fn function_of(spec: FunctionSpec) -> impl Strategy<Value = Function> {
    let FunctionSpec { params, result, error, error_bits, trap_bits, turns } = spec;
    let of = Expressions::new(&params, trap_bits.is_some());
    let mut area = ResultArea { free: RESULT };
    let mut definitions = Vec::new();
    let mut head = String::new();
    for (index, ty) in params.iter().enumerate() {
        write!(head, " (param \"p{index}\" {})", ty.wat(&mut definitions)).unwrap();
    }
    let returned = match &error {
        Some(error) => Type::Result(Box::new(result.clone()), Box::new(error.clone())),
        None => result.clone(),
    };
    write!(head, " (result {})", returned.wat(&mut definitions)).unwrap();
    let (core, body) = match (returned.core(&of), &returned.flat()[..]) {
        (Some(body), [core]) => (*core, body),
        _ => {
            let at = area.reserve(returned.align(), returned.bytes());
            let store = match error {
                Some(_) => returned.store_case(at, of.true_for_one_in(error_bits), &of, &mut area),
                None => returned.store(at, &of, &mut area),
            };
            (Core::I32, store.prop_map(move |store| format!("{store} (i32.const {at})")).boxed())
        }
    };
    let traps = match trap_bits {
        Some(bits) => {
            of.true_for_one_in(bits).prop_map(|traps| format!("(if {traps} (then (unreachable)))\n")).boxed()
        }
        None => Just(String::new()).boxed(),
    };
    let flat: Vec<Core> = params.iter().flat_map(Type::flat).collect();
    let flat = if flat.len() > FLAT_MAX { vec![Core::I32] } else { flat };
    let flat = flat.into_iter().map(|core| format!(" {}", core.wat())).collect::<String>();
    let definitions = definitions.join("\n");
    let mixed = of.parameters.mixed();
    (traps, body).prop_map(move |(traps, body)| {
        let wat = component(Parts {
            definitions: &definitions,
            signature: &head,
            core_params: &flat,
            core_result: core,
            turns,
            body: &format!("(local.set $mixed {mixed})\n{traps}{body}"),
        });
        Function { params: params.clone(), result: result.clone(), error: error.clone(), wat }
    })
}

/// The parts of a component that differ between functions, as WAT.
struct Parts<'a> {
    /// The types that need a name.
    definitions: &'a str,
    /// Parameters and result of `handle`.
    signature: &'a str,
    core_params: &'a str,
    core_result: Core,
    turns: usize,
    body: &'a str,
}

fn component(parts: Parts<'_>) -> String {
    let Parts { definitions, signature, core_params, core_result, turns, body } = parts;
    let text: String =
        "It was a dark and stormy night; 0123456789 <&> ".chars().cycle().take(TEXT_BYTES).collect();
    let core_result = core_result.wat();
    format!(
        r#"(component
            {definitions}
            (core module $m
                (memory (export "memory") 2)
                (data (i32.const 0) "{text} ")
                (global $free (mut i32) (i32.const {HEAP}))
                (global $ticks (mut i32) (i32.const 0))
                (global $heat (mut i64) (i64.const 42))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                    (global.get $free)
                    (global.set $free (i32.add (global.get $free) (local.get 3))))
                (func $tick (result i32)
                    (global.set $ticks (i32.add (global.get $ticks) (i32.const 1)))
                    (global.get $ticks))
                (func $spin (param $turns i32) (param $x i64) (result i64)
                    (loop $again
                        (local.set $x (i64.mul (local.get $x) (i64.const 6364136223846793005)))
                        (local.set $x (i64.add (local.get $x) (i64.const 1442695040888963407)))
                        (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
                        (br_if $again (i32.gt_s (local.get $turns) (i32.const 0))))
                    (local.get $x))
                (func (export "handle") (param{core_params}) (result {core_result})
                    (local $mixed i32)
                    (global.set $heat (call $spin (i32.const {turns}) (global.get $heat)))
                    {body}))
            (core instance $i (instantiate $m))
            (func (export "handle"){signature}
                (canon lift (core func $i "handle")
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    )
}
