//! What made-up functions compute: expressions over what they are given.
//!
//! Operations are those of which a careless host could remember, or pass on, something wrong: floats whose NaNs have bits,
//! memory and globals that are as new in each call, and what traps.

use std::rc::Rc;

use proptest::prelude::*;
use proptest::sample::select;

use super::types::{Core, FLAT_MAX, Type, at_next};

/// How deep expressions are.
const DEPTH: usize = 3;

/// What is made of everything that a function is given.
const MIXED: &str = "(local.get $mixed)";

/// What a function is given, as it comes to it.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Its numbers.
    parts: Vec<(Core, String)>,
    /// Texts, bytes and lists that can be given back as they are: where they begin, and how long they are.
    pub(super) spans: Vec<(Type, [String; 2])>,
}

impl Given {
    fn new(params: &[Type]) -> Self {
        let mut given = Self::default();
        if params.iter().map(|ty| ty.flat().len()).sum::<usize>() <= FLAT_MAX {
            let mut local = 0;
            params.iter().for_each(|ty| given.in_locals(ty, &mut local));
        } else {
            let mut end = 0;
            for ty in params {
                let begin = at_next(end, ty);
                given.in_memory(ty, begin);
                end = begin + ty.bytes();
            }
        }
        given
    }

    fn in_locals(&mut self, ty: &Type, at: &mut usize) {
        let local = |index: usize| format!("(local.get {index})");
        match ty {
            Type::Record(types) | Type::Tuple(types) => types.iter().for_each(|ty| self.in_locals(ty, at)),
            Type::String | Type::Bytes | Type::List(_) => {
                self.span(ty, [local(*at), local(*at + 1)]);
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

    /// Where it is too much for locals, the only one of these says where it is. Of one of several cases only which it is
    /// counts.
    fn in_memory(&mut self, ty: &Type, at: usize) {
        let load = |load: &str, at: usize| format!("({load} offset={at} (local.get 0))");
        match ty {
            Type::Record(types) | Type::Tuple(types) => {
                let mut end = at;
                for ty in types {
                    let begin = at_next(end, ty);
                    self.in_memory(ty, begin);
                    end = begin + ty.bytes();
                }
            }
            Type::String | Type::Bytes | Type::List(_) => {
                self.span(ty, [load("i32.load", at), load("i32.load", at + 4)]);
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

    fn span(&mut self, ty: &Type, span: [String; 2]) {
        self.parts.extend(span.iter().map(|part| (Core::I32, part.clone())));
        self.spans.push((ty.clone(), span));
    }

    /// One number that is another one for most inputs. Of texts and lists one byte is in it, in the middle.
    pub(super) fn mixed(&self) -> String {
        let parts = self.parts.iter().map(|(core, part)| match core {
            Core::I32 => part.clone(),
            Core::I64 => format!("(i32.wrap_i64 (i64.xor {part} (i64.rotl {part} (i64.const 32))))"),
            Core::F64 => format!("(i32.wrap_i64 (i64.rotl (i64.reinterpret_f64 {part}) (i64.const 16)))"),
        });
        let bytes = self.spans.iter().map(|(_, [begin, length])| {
            let at = format!("(i32.add {begin} (i32.shr_u {length} (i32.const 1)))");
            format!("(i32.load8_u (i32.and {at} (i32.const 0x1ffff)))")
        });
        parts.chain(bytes).fold("(i32.const 1)".to_owned(), |mixed, part| {
            format!("(i32.xor (i32.mul {mixed} (i32.const 31)) {part})")
        })
    }
}

/// Expressions of each type of core Wasm.
#[derive(Clone)]
pub(super) struct Expressions {
    pub(super) int: BoxedStrategy<String>,
    pub(super) long: BoxedStrategy<String>,
    pub(super) float: BoxedStrategy<String>,
    pub(super) given: Rc<Given>,
    /// Nothing in them traps.
    pub(super) are_calm: bool,
}

impl Expressions {
    /// Over parameters.
    pub(super) fn new(params: &[Type], are_calm: bool) -> Self {
        let given = Given::new(params);
        let leaf = |core: Core, constants: &'static [&'static str], others: &[&str]| {
            let mut leaves: Vec<String> = others.iter().map(|&other| other.to_owned()).collect();
            // What is given counts most.
            for _ in 0..3 {
                leaves.extend(given.parts.iter().filter(|part| part.0 == core).map(|part| part.1.clone()));
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
            given: Rc::new(given),
            are_calm,
        };
        (0..DEPTH).fold(leaves, |inner, _| inner.combined())
    }

    /// One of so many, from 0.
    pub(super) fn one_of(&self, count: usize) -> BoxedStrategy<String> {
        self.int.clone().prop_map(move |e| format!("(i32.rem_u {e} (i32.const {count}))")).boxed()
    }

    /// True of about one in `2^bits` inputs.
    pub(super) fn rarely(&self, bits: u32) -> BoxedStrategy<String> {
        let rarely = move |salt: u32| {
            let hash = format!("(i32.mul (i32.xor {MIXED} (i32.const {salt})) (i32.const 0x9e3779b1))");
            format!("(i32.eqz (i32.shr_u {hash} (i32.const {})))", 32 - bits)
        };
        any::<u32>().prop_map(rarely).boxed()
    }

    /// One level deeper.
    fn combined(&self) -> Self {
        let Self { int, long, float, given, are_calm } = self;
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
        // What is read may be what was written, or a part of it.
        let written = |core: Core, inner: &BoxedStrategy<String>| {
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
        let int_calm = prop_oneof![
            24 => binary(INT_OPS, int),
            6 => unary(INT_UNARY, int),
            6 => binary(LONG_COMPARISONS, long),
            6 => binary(FLOAT_COMPARISONS, float),
            1 => unary(&["i32.wrap_i64", "i64.eqz"], long),
            1 => unary(&["i32.trunc_sat_f64_u"], float),
            6 => either(Core::I32, int),
            6 => written(Core::I32, int),
            1 => grows,
        ];
        let long_calm = prop_oneof![
            18 => binary(LONG_OPS, long),
            6 => unary(&["i64.clz", "i64.popcnt", "i64.extend16_s"], long),
            6 => unary(&["i64.extend_i32_s", "i64.extend_i32_u"], int),
            6 => unary(&["i64.reinterpret_f64", "i64.trunc_sat_f64_s"], float),
            3 => either(Core::I64, long),
            6 => written(Core::I64, long),
            6 => loops,
        ];
        let int_wild =
            prop_oneof![binary(INT_DIVISIONS, int), unary(&["i32.trunc_f64_s"], float), traps, far,];
        let long_wild = prop_oneof![
            2 => binary(&["i64.div_s", "i64.rem_u"], long),
            1 => unary(&["i64.trunc_f64_u"], float),
        ];
        let with = |calm: BoxedStrategy<String>, of_calm: u32, wild: BoxedStrategy<String>| {
            if *are_calm { calm } else { prop_oneof![of_calm => calm, 1 => wild].boxed() }
        };
        Self {
            int: with(int_calm.boxed(), 14, int_wild.boxed()),
            long: with(long_calm.boxed(), 20, long_wild.boxed()),
            float: prop_oneof![
                8 => binary(FLOAT_OPS, float),
                3 => unary(FLOAT_UNARY, float),
                1 => unary(&["f64.convert_i32_s", "f64.convert_i32_u"], int),
                3 => unary(&["f64.convert_i64_u", "f64.reinterpret_i64"], long),
                1 => either(Core::F64, float),
                1 => written(Core::F64, float),
            ]
            .boxed(),
            given: Rc::clone(given),
            are_calm: *are_calm,
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
