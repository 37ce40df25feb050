//! The expressions that generated functions compute from their parameters.
//!
//! The operations are those whose results a careless host could cache or pass on wrongly: floats
//! with NaN payloads, memory and globals that must be fresh in each call, and traps.

use std::rc::Rc;

use proptest::prelude::*;
use proptest::sample::select;

use super::types::{Core, FLAT_MAX, Type, aligned};

/// The depth of expressions.
const DEPTH: usize = 3;

/// A hash of all parameters, which the body sets first.
const MIXED: &str = "(local.get $mixed)";

/// A text, bytes or a list in memory.
#[derive(Clone, Debug)]
pub(super) struct Span {
    /// An expression for the address.
    pub(super) begin: String,
    /// An expression for the number of items.
    pub(super) length: String,
}

/// The parameters of a function as expressions.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// The numbers among them.
    parts: Vec<(Core, String)>,
    /// Texts, bytes and lists, which the function can return as they are.
    pub(super) spans: Vec<(Type, Span)>,
}

impl Parameters {
    fn new(params: &[Type]) -> Self {
        let mut parameters = Self::default();
        if params.iter().map(|ty| ty.flat().len()).sum::<usize>() <= FLAT_MAX {
            let mut local = 0;
            params.iter().for_each(|ty| parameters.add_locals(ty, &mut local));
        } else {
            let mut end = 0;
            for ty in params {
                let begin = aligned(end, ty);
                parameters.add_memory(ty, begin);
                end = begin + ty.bytes();
            }
        }
        parameters
    }

    /// Adds a parameter that is passed in locals, of which `at` is the first.
    fn add_locals(&mut self, ty: &Type, at: &mut usize) {
        let local = |index: usize| format!("(local.get {index})");
        match ty {
            Type::Record(types) | Type::Tuple(types) => types.iter().for_each(|ty| self.add_locals(ty, at)),
            Type::String | Type::Bytes | Type::List(_) => {
                self.add_span(ty, Span { begin: local(*at), length: local(*at + 1) });
                *at += 2;
            }
            Type::U8
            | Type::S16
            | Type::S32
            | Type::U64
            | Type::F64
            | Type::Bool
            | Type::Char
            | Type::Option(_)
            | Type::Result(..)
            | Type::Enum(_)
            | Type::Flags(_)
            | Type::Variant(_) => {
                for core in ty.flat() {
                    self.parts.push((core, local(*at)));
                    *at += 1;
                }
            }
        }
    }

    /// Adds a parameter that is passed in memory at the offset `at` from the address in local 0.
    /// Only the index of a case is used, not its payload.
    fn add_memory(&mut self, ty: &Type, at: usize) {
        let load = |load: &str, at: usize| format!("({load} offset={at} (local.get 0))");
        match ty {
            Type::Record(types) | Type::Tuple(types) => {
                let mut end = at;
                for ty in types {
                    let begin = aligned(end, ty);
                    self.add_memory(ty, begin);
                    end = begin + ty.bytes();
                }
            }
            Type::String | Type::Bytes | Type::List(_) => {
                self.add_span(ty, Span { begin: load("i32.load", at), length: load("i32.load", at + 4) });
            }
            Type::U64 => self.parts.push((Core::I64, load("i64.load", at))),
            Type::F64 => self.parts.push((Core::F64, load("f64.load", at))),
            Type::S32 | Type::Char => self.parts.push((Core::I32, load("i32.load", at))),
            Type::S16 => self.parts.push((Core::I32, load("i32.load16_s", at))),
            Type::U8
            | Type::Bool
            | Type::Option(_)
            | Type::Result(..)
            | Type::Enum(_)
            | Type::Flags(_)
            | Type::Variant(_) => self.parts.push((Core::I32, load("i32.load8_u", at))),
        }
    }

    fn add_span(&mut self, ty: &Type, span: Span) {
        self.parts.extend([&span.begin, &span.length].map(|part| (Core::I32, part.clone())));
        self.spans.push((ty.clone(), span));
    }

    /// Returns an expression for a hash of all parameters. It includes one byte in the middle of
    /// each text and list.
    pub(super) fn mixed(&self) -> String {
        let parts = self.parts.iter().map(|(core, part)| match core {
            Core::I32 => part.clone(),
            Core::I64 => format!("(i32.wrap_i64 (i64.xor {part} (i64.rotl {part} (i64.const 32))))"),
            Core::F64 => format!("(i32.wrap_i64 (i64.rotl (i64.reinterpret_f64 {part}) (i64.const 16)))"),
        });
        let bytes = self.spans.iter().map(|(_, Span { begin, length })| {
            let at = format!("(i32.add {begin} (i32.shr_u {length} (i32.const 1)))");
            format!("(i32.load8_u (i32.and {at} (i32.const 0x1ffff)))")
        });
        parts.chain(bytes).fold("(i32.const 1)".to_owned(), |mixed, part| {
            format!("(i32.xor (i32.mul {mixed} (i32.const 31)) {part})")
        })
    }
}

/// Strategies for expressions of each core Wasm type.
#[derive(Clone)]
pub(super) struct Expressions {
    pub(super) int: BoxedStrategy<String>,
    pub(super) long: BoxedStrategy<String>,
    pub(super) float: BoxedStrategy<String>,
    pub(super) parameters: Rc<Parameters>,
    /// True if no expression traps.
    pub(super) never_trap: bool,
}

impl Expressions {
    /// Creates strategies for expressions over parameters of these types.
    pub(super) fn new(params: &[Type], never_trap: bool) -> Self {
        let parameters = Parameters::new(params);
        let leaf = |core: Core, constants: &'static [&'static str], others: &[&str]| {
            let mut leaves: Vec<String> = others.iter().map(|&other| other.to_owned()).collect();
            // Parameters are three times as likely as other leaves.
            for _ in 0..3 {
                let parts = parameters.parts.iter().filter(|part| part.0 == core);
                leaves.extend(parts.map(|part| part.1.clone()));
            }
            let constants =
                select(constants).prop_map(move |value| format!("({}.const {value})", core.wat()));
            prop_oneof![1 => constants, 3 => select(leaves)].boxed()
        };
        let leaves = Self {
            int: leaf(Core::I32, INTS, &["(call $tick)", "(memory.size)", MIXED, MIXED]),
            long: leaf(
                Core::I64,
                LONGS,
                &[
                    "(global.get $heat)",
                    "(i64.mul (i64.extend_i32_u (local.get $mixed)) (i64.const 0x9e3779b97f4a7c15))",
                ],
            ),
            float: leaf(
                Core::F64,
                FLOATS,
                &["(f64.load (i32.const 128))", "(f64.convert_i32_s (local.get $mixed))"],
            ),
            parameters: Rc::new(parameters),
            never_trap,
        };
        (0..DEPTH).fold(leaves, |inner, _| inner.combined())
    }

    /// Generates expressions with values below `count`.
    pub(super) fn below(&self, count: usize) -> BoxedStrategy<String> {
        self.int.clone().prop_map(move |e| format!("(i32.rem_u {e} (i32.const {count}))")).boxed()
    }

    /// Generates expressions that are true for about one in `2^bits` inputs.
    pub(super) fn true_for_one_in(&self, bits: u32) -> BoxedStrategy<String> {
        let condition = move |salt: u32| {
            let hash = format!("(i32.mul (i32.xor {MIXED} (i32.const {salt})) (i32.const 0x9e3779b1))");
            format!("(i32.eqz (i32.shr_u {hash} (i32.const {})))", 32 - bits)
        };
        any::<u32>().prop_map(condition).boxed()
    }

    /// Returns strategies for expressions one level deeper.
    fn combined(&self) -> Self {
        let Self { int, long, float, parameters, never_trap } = self;
        let unary = |ops: &'static [&'static str], inner: &BoxedStrategy<String>| {
            (select(ops), inner.clone()).prop_map(|(op, a)| format!("({op} {a})"))
        };
        let binary = |ops: &'static [&'static str], inner: &BoxedStrategy<String>| {
            (select(ops), inner.clone(), inner.clone()).prop_map(|(op, a, b)| format!("({op} {a} {b})"))
        };
        let either = |core: Core, inner: &BoxedStrategy<String>| {
            (int.clone(), inner.clone(), inner.clone())
                .prop_map(move |(c, a, b)| format!("(if (result {}) {c} (then {a}) (else {b}))", core.wat()))
        };
        // The load may overlap the store.
        let stored_and_loaded = |core: Core, inner: &BoxedStrategy<String>| {
            (int.clone(), int.clone(), inner.clone()).prop_map(move |(to, from, value)| {
                let (core, at) = (core.wat(), |at: &str| format!("(i32.and {at} (i32.const 0xff8))"));
                let (to, from) = (at(&to), at(&from));
                format!("(block (result {core}) ({core}.store {to} {value}) ({core}.load {from}))")
            })
        };
        let traps = (int.clone(), int.clone())
            .prop_map(|(c, a)| format!("(if (result i32) {c} (then {a}) (else (unreachable)))"));
        let grows = int.clone().prop_map(|a| format!("(memory.grow (i32.and {a} (i32.const 3)))"));
        let far = int.clone().prop_map(|at| format!("(i32.load8_u (i32.and {at} (i32.const 0x7ffff)))"));
        let loops = (int.clone(), long.clone())
            .prop_map(|(turns, seed)| format!("(call $spin (i32.and {turns} (i32.const 0xff)) {seed})"));
        let int_total = prop_oneof![
            24 => binary(INT_OPS, int),
            6 => unary(INT_UNARY, int),
            6 => binary(LONG_COMPARISONS, long),
            6 => binary(FLOAT_COMPARISONS, float),
            1 => unary(&["i32.wrap_i64", "i64.eqz"], long),
            1 => unary(&["i32.trunc_sat_f64_u"], float),
            6 => either(Core::I32, int),
            6 => stored_and_loaded(Core::I32, int),
            1 => grows,
        ];
        let long_total = prop_oneof![
            18 => binary(LONG_OPS, long),
            6 => unary(&["i64.clz", "i64.popcnt", "i64.extend16_s"], long),
            6 => unary(&["i64.extend_i32_s", "i64.extend_i32_u"], int),
            6 => unary(&["i64.reinterpret_f64", "i64.trunc_sat_f64_s"], float),
            3 => either(Core::I64, long),
            6 => stored_and_loaded(Core::I64, long),
            6 => loops,
        ];
        let int_trapping =
            prop_oneof![binary(INT_DIVISIONS, int), unary(&["i32.trunc_f64_s"], float), traps, far,];
        let long_trapping = prop_oneof![
            2 => binary(&["i64.div_s", "i64.rem_u"], long),
            1 => unary(&["i64.trunc_f64_u"], float),
        ];
        let mixed = |total: BoxedStrategy<String>, weight: u32, trapping: BoxedStrategy<String>| {
            if *never_trap { total } else { prop_oneof![weight => total, 1 => trapping].boxed() }
        };
        Self {
            int: mixed(int_total.boxed(), 14, int_trapping.boxed()),
            long: mixed(long_total.boxed(), 20, long_trapping.boxed()),
            float: prop_oneof![
                8 => binary(FLOAT_OPS, float),
                3 => unary(FLOAT_UNARY, float),
                1 => unary(&["f64.convert_i32_s", "f64.convert_i32_u"], int),
                3 => unary(&["f64.convert_i64_u", "f64.reinterpret_i64"], long),
                1 => either(Core::F64, float),
                1 => stored_and_loaded(Core::F64, float),
            ]
            .boxed(),
            parameters: Rc::clone(parameters),
            never_trap: *never_trap,
        }
    }
}

const INTS: &[&str] = &["0", "1", "-1", "7", "0x40", "1000", "0x7fffffff", "0x80000000"];
const LONGS: &[&str] =
    &["0", "1", "-1", "10", "0x7fffffffffffffff", "0x8000000000000000", "0x7ff8000000000001"];
const FLOATS: &[&str] =
    &["0", "-0", "1", "0.1", "-1.5", "1e308", "5e-324", "inf", "-inf", "nan", "-nan:0x4000000000001"];
const INT_OPS: &[&str] = &[
    "i32.add",
    "i32.sub",
    "i32.mul",
    "i32.and",
    "i32.or",
    "i32.xor",
    "i32.shl",
    "i32.shr_s",
    "i32.rotl",
    "i32.lt_s",
    "i32.gt_u",
    "i32.eq",
];
const INT_DIVISIONS: &[&str] = &["i32.div_s", "i32.div_u", "i32.rem_s", "i32.rem_u"];
const INT_UNARY: &[&str] = &["i32.clz", "i32.popcnt", "i32.eqz", "i32.extend8_s"];
const LONG_COMPARISONS: &[&str] = &["i64.lt_s", "i64.ge_u", "i64.ne"];
const LONG_OPS: &[&str] =
    &["i64.add", "i64.sub", "i64.mul", "i64.and", "i64.xor", "i64.shl", "i64.shr_u", "i64.rotr"];
const FLOAT_COMPARISONS: &[&str] = &["f64.lt", "f64.ge", "f64.eq", "f64.ne"];
const FLOAT_OPS: &[&str] =
    &["f64.add", "f64.sub", "f64.mul", "f64.div", "f64.min", "f64.max", "f64.copysign"];
const FLOAT_UNARY: &[&str] = &["f64.sqrt", "f64.neg", "f64.abs", "f64.floor", "f64.nearest"];
