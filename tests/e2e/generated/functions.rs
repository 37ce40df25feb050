//! Made-up functions: a signature, and a body that computes something of everything it is given.
//!
//! ```text
//! memory:  0 text | RESULT where what is answered stands | HEAP what is given
//! ```
//!
//! A body is one expression for each number that its result consists of. Operations are those of which a careless host
//! could remember something wrong: floats whose NaNs have bits, memory and globals that are as new in each call, and what
//! traps.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Bytes of text at the beginning of memory.
const TEXT_BYTES: usize = 0x1100;

const RESULT: usize = 0x2000;

const HEAP: usize = 0x1_0000;

/// How deep expressions are.
const DEPTH: usize = 3;

/// Turns of a loop that take some milliseconds: several times what makes a result worth a place on disk.
const TURNS: usize = 3_000_000;

/// Parameters that travel in registers, at most.
const FLAT_MAX: usize = 16;

/// A function, in no server yet.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// They are called `p0`, `p1` and so on.
    pub(crate) params: Vec<Type>,
    pub(crate) wat: String,
}

/// A type of WIT that travels.
#[derive(Clone, Debug)]
pub(crate) enum Type {
    S32,
    U64,
    F64,
    Bool,
    Char,
    String,
    /// `list<u8>`.
    Bytes,
    Option(Box<Type>),
    /// Its fields are called `f0`, `f1` and so on.
    Record(Vec<Type>),
    Tuple(Vec<Type>),
}

/// A type of core Wasm.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Core {
    I32,
    I64,
    F64,
}

impl Core {
    fn wat(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

impl Type {
    /// Its text; types that need a name are appended to `definitions`.
    fn wat(&self, definitions: &mut Vec<String>) -> String {
        match self {
            Self::S32 => "s32".to_owned(),
            Self::U64 => "u64".to_owned(),
            Self::F64 => "f64".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Char => "char".to_owned(),
            Self::String => "string".to_owned(),
            Self::Bytes => "(list u8)".to_owned(),
            Self::Option(inner) => format!("(option {})", inner.wat(definitions)),
            Self::Tuple(types) => {
                let types: Vec<_> = types.iter().map(|ty| ty.wat(definitions)).collect();
                format!("(tuple {})", types.join(" "))
            }
            Self::Record(fields) => {
                let mut text = String::new();
                for (index, ty) in fields.iter().enumerate() {
                    write!(text, " (field \"f{index}\" {})", ty.wat(definitions)).unwrap();
                }
                let name = format!("t{}", definitions.len());
                definitions.push(format!(
                    "(type ${name}' (record{text})) (import \"{name}\" (type ${name} (eq ${name}')))"
                ));
                format!("${name}")
            }
        }
    }

    /// What it is in core Wasm.
    fn flat(&self) -> Vec<Core> {
        match self {
            Self::S32 | Self::Bool | Self::Char => vec![Core::I32],
            Self::U64 => vec![Core::I64],
            Self::F64 => vec![Core::F64],
            Self::String | Self::Bytes => vec![Core::I32; 2],
            Self::Option(inner) => [vec![Core::I32], inner.flat()].concat(),
            Self::Record(types) | Self::Tuple(types) => types.iter().flat_map(Self::flat).collect(),
        }
    }

    fn align(&self) -> usize {
        match self {
            Self::Bool => 1,
            Self::S32 | Self::Char | Self::String | Self::Bytes => 4,
            Self::U64 | Self::F64 => 8,
            Self::Option(inner) => inner.align(),
            Self::Record(types) | Self::Tuple(types) => types.iter().map(Self::align).max().unwrap_or(1),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Bool => 1,
            Self::S32 | Self::Char => 4,
            Self::U64 | Self::F64 | Self::String | Self::Bytes => 8,
            Self::Option(inner) => (inner.align() + inner.bytes()).next_multiple_of(self.align()),
            Self::Record(types) | Self::Tuple(types) => {
                let end = types.iter().fold(0, |at, ty| at_next(at, ty) + ty.bytes());
                end.next_multiple_of(self.align())
            }
        }
    }

    /// Where in memory, and how, each part of what it is in core Wasm stands.
    fn places(&self, at: usize) -> Vec<(usize, &'static str)> {
        match self {
            Self::S32 | Self::Char => vec![(at, "i32.store")],
            Self::Bool => vec![(at, "i32.store8")],
            Self::U64 => vec![(at, "i64.store")],
            Self::F64 => vec![(at, "f64.store")],
            Self::String | Self::Bytes => vec![(at, "i32.store"), (at + 4, "i32.store")],
            Self::Option(inner) => [vec![(at, "i32.store8")], inner.places(at + inner.align())].concat(),
            Self::Record(types) | Self::Tuple(types) => {
                let mut places = Vec::new();
                types.iter().fold(at, |at, ty| {
                    places.extend(ty.places(at_next(at, ty)));
                    at_next(at, ty) + ty.bytes()
                });
                places
            }
        }
    }

    /// Expressions for what it is in core Wasm. Not all text is UTF-8 in the end, and not all scalars are characters.
    fn value(&self, of: &Expressions) -> BoxedStrategy<Vec<String>> {
        let masked = |mask: &'static str| {
            of.int.clone().prop_map(move |e| format!("(i32.and {e} (i32.const {mask}))"))
        };
        match self {
            Self::S32 => of.int.clone().prop_map(|e| vec![e]).boxed(),
            Self::U64 => of.long.clone().prop_map(|e| vec![e]).boxed(),
            Self::F64 => of.float.clone().prop_map(|e| vec![e]).boxed(),
            Self::Bool => masked("1").prop_map(|e| vec![e]).boxed(),
            Self::Char => {
                prop_oneof![4 => masked("0x7f"), 1 => masked("0xffff")].prop_map(|e| vec![e]).boxed()
            }
            Self::String | Self::Bytes => {
                let window = (masked("0xfff"), masked("0x3f")).prop_map(|(at, length)| vec![at, length]);
                let given: Vec<_> = of.given_texts.iter().map(|at| vec![local(*at), local(at + 1)]).collect();
                match given.is_empty() {
                    true => window.boxed(),
                    false => prop_oneof![window, select(given)].boxed(),
                }
            }
            Self::Option(inner) => (masked("1"), inner.value(of))
                .prop_map(|(is_some, inner)| [vec![is_some], inner].concat())
                .boxed(),
            Self::Record(types) | Self::Tuple(types) => {
                let values: Vec<_> = types.iter().map(|ty| ty.value(of)).collect();
                values.prop_map(|values| values.concat()).boxed()
            }
        }
    }

    /// Instructions that put a value to `at` in memory.
    fn stored(&self, at: usize, of: &Expressions) -> BoxedStrategy<String> {
        let places = self.places(at);
        let store = move |values: Vec<String>| {
            places.iter().zip(values).fold(String::new(), |mut text, ((at, store), value)| {
                writeln!(text, "({store} (i32.const {at}) {value})").unwrap();
                text
            })
        };
        self.value(of).prop_map(store).boxed()
    }
}

/// Where a value of `ty` begins that comes after `at`.
fn at_next(at: usize, ty: &Type) -> usize {
    at.next_multiple_of(ty.align())
}

fn local(index: usize) -> String {
    format!("(local.get {index})")
}

/// Any type that travels, of at most two levels.
fn any_type() -> impl Strategy<Value = Type> + Clone {
    let plain =
        select(vec![Type::S32, Type::U64, Type::F64, Type::Bool, Type::Char, Type::String, Type::Bytes]);
    prop_oneof![
        5 => plain.clone(),
        1 => plain.clone().prop_map(|inner| Type::Option(Box::new(inner))),
        1 => vec(prop_oneof![3 => plain.clone(), 1 => plain.clone().prop_map(|inner| Type::Option(Box::new(inner)))], 2..4)
            .prop_map(Type::Record),
        1 => vec(plain, 2..4).prop_map(Type::Tuple),
    ]
}

/// Expressions of each type of core Wasm.
#[derive(Clone)]
struct Expressions {
    int: BoxedStrategy<String>,
    long: BoxedStrategy<String>,
    float: BoxedStrategy<String>,
    /// Locals that a text or bytes begin with.
    given_texts: Vec<usize>,
}

impl Expressions {
    /// Over parameters.
    fn new(params: &[Type]) -> Self {
        let flat: Vec<Core> = params.iter().flat_map(Type::flat).collect();
        let given_texts = (0..flat.len().saturating_sub(1)).filter(|at| is_text_at(params, *at)).collect();
        let leaf = |core: Core, constants: &'static [&'static str], others: &[&str]| {
            let mut leaves: Vec<String> = others.iter().map(|&other| other.to_owned()).collect();
            // What is given counts most.
            for _ in 0..3 {
                leaves.extend((0..flat.len()).filter(|at| flat[*at] == core).map(local));
            }
            let constants =
                select(constants).prop_map(move |value| format!("({}.const {value})", core.wat()));
            prop_oneof![1 => constants, 3 => select(leaves)].boxed()
        };
        let leaves = Self {
            int: leaf(Core::I32, INTS, &["(call $tick)", "(memory.size)"]),
            long: leaf(Core::I64, LONGS, &["(global.get $heat)"]),
            float: leaf(Core::F64, FLOATS, &["(f64.load (i32.const 128))"]),
            given_texts,
        };
        (0..DEPTH).fold(leaves, |inner, _| inner.combined())
    }

    /// One level deeper.
    fn combined(&self) -> Self {
        let Self { int, long, float, given_texts } = self;
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
        Self {
            int: prop_oneof![
                24 => binary(INT_OPS, int),
                1 => binary(INT_DIVISIONS, int),
                6 => unary(INT_UNARY, int),
                6 => binary(LONG_COMPARISONS, long),
                6 => binary(FLOAT_COMPARISONS, float),
                1 => unary(&["i32.wrap_i64", "i64.eqz"], long),
                2 => unary(FLOAT_TO_INT, float),
                6 => either(Core::I32, int),
                6 => written(Core::I32, int),
                1 => traps,
                1 => grows,
                1 => far,
            ]
            .boxed(),
            long: prop_oneof![
                18 => binary(LONG_OPS, long),
                1 => binary(&["i64.div_s", "i64.rem_u"], long),
                6 => unary(&["i64.clz", "i64.popcnt", "i64.extend16_s"], long),
                6 => unary(&["i64.extend_i32_s", "i64.extend_i32_u"], int),
                6 => unary(&["i64.reinterpret_f64", "i64.trunc_sat_f64_s"], float),
                1 => unary(&["i64.trunc_f64_u"], float),
                3 => either(Core::I64, long),
                6 => written(Core::I64, long),
                6 => loops,
            ]
            .boxed(),
            float: prop_oneof![
                8 => binary(FLOAT_OPS, float),
                3 => unary(FLOAT_UNARY, float),
                1 => unary(&["f64.convert_i32_s", "f64.convert_i32_u"], int),
                3 => unary(&["f64.convert_i64_u", "f64.reinterpret_i64"], long),
                1 => either(Core::F64, float),
                1 => written(Core::F64, float),
            ]
            .boxed(),
            given_texts: given_texts.clone(),
        }
    }
}

/// Whether parameters have a text, or bytes, whose address is the local `wanted`.
fn is_text_at(params: &[Type], wanted: usize) -> bool {
    let mut at = 0;
    params.iter().any(|ty| {
        let is_it = at == wanted && matches!(ty, Type::String | Type::Bytes);
        at += ty.flat().len();
        is_it
    })
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
const FLOAT_TO_INT: &[&str] = &["i32.trunc_f64_s", "i32.trunc_sat_f64_u"];
const FLOAT_OPS: &[&str] =
    &["f64.add", "f64.sub", "f64.mul", "f64.div", "f64.min", "f64.max", "f64.copysign"];
const FLOAT_UNARY: &[&str] = &["f64.sqrt", "f64.neg", "f64.abs", "f64.floor", "f64.nearest"];

/// Any function. One that is slow takes some milliseconds; one with errors may answer with an error of its own.
pub(crate) fn function(is_slow: bool, has_errors: bool) -> impl Strategy<Value = Function> {
    let params = vec(any_type(), 1..4).prop_map(|mut params| {
        while params.iter().map(|ty| ty.flat().len()).sum::<usize>() > FLAT_MAX {
            params.pop();
        }
        params
    });
    (params, any_type(), any_type()).prop_flat_map(move |(params, result, error)| {
        let of = Expressions::new(&params);
        let mut definitions = Vec::new();
        let mut head = String::new();
        for (index, ty) in params.iter().enumerate() {
            write!(head, " (param \"p{index}\" {})", ty.wat(&mut definitions)).unwrap();
        }
        let result_wat = result.wat(&mut definitions);
        let (result_wat, core, body) = if has_errors {
            // What it is comes first, and then the value, at the place that is right for either.
            let at = RESULT + result.align().max(error.align());
            let body = (of.int.clone(), result.stored(at, &of), error.stored(at, &of)).prop_map(
                |(is_error, result, error)| {
                    format!(
                        "(local.set $is_error (i32.and {is_error} (i32.const 1)))
                        (if (local.get $is_error) (then {error}) (else {result}))
                        (i32.store8 (i32.const {RESULT}) (local.get $is_error))
                        (i32.const {RESULT})"
                    )
                },
            );
            (
                format!("(result {result_wat} (error {}))", error.wat(&mut definitions)),
                Core::I32,
                body.boxed(),
            )
        } else if let [core] = result.flat()[..] {
            (result_wat, core, result.value(&of).prop_map(|values| values.concat()).boxed())
        } else {
            let body = result.stored(RESULT, &of).prop_map(|body| format!("{body} (i32.const {RESULT})"));
            (result_wat, Core::I32, body.boxed())
        };
        let flat =
            params.iter().flat_map(Type::flat).map(|core| format!(" {}", core.wat())).collect::<String>();
        let turns = if is_slow { TURNS } else { 1 };
        let definitions = definitions.join("\n");
        body.prop_map(move |body| {
            let wat =
                component(&definitions, &flat, core, &format!("{head} (result {result_wat})"), turns, &body);
            Function { params: params.clone(), wat }
        })
    })
}

fn component(definitions: &str, flat: &str, core: Core, head: &str, turns: usize, body: &str) -> String {
    let text: String =
        "It was a dark and stormy night; 0123456789 <&> ".chars().cycle().take(TEXT_BYTES).collect();
    let core = core.wat();
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
                (func (export "handle") (param{flat}) (result {core})
                    (local $is_error i32)
                    (global.set $heat (call $spin (i32.const {turns}) (global.get $heat)))
                    {body}))
            (core instance $i (instantiate $m))
            (func (export "handle"){head}
                (canon lift (core func $i "handle")
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    )
}
