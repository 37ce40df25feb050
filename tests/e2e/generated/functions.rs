//! Made-up functions: a signature, and a body that computes something of everything it is given.
//!
//! ```text
//! memory:  0 text | RESULT where what is answered stands, and then the lists in it | HEAP what is given
//! ```
//!
//! A body is one expression for each number that its result consists of.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::expressions::Expressions;
use super::types::{Core, FLAT_MAX, Type, any_type, at_next};

/// Bytes of text at the beginning of memory.
const TEXT_BYTES: usize = 0x1300;

/// Expressions write to what is before.
const UNWRITTEN: usize = 0x1000;

const RESULT: usize = 0x2000;

const HEAP: usize = 0x1_0000;

/// Of about `2^n` inputs one gives no character, or no text, where a calm function gives one.
const STRAY_BITS: u32 = 4;

/// Turns of a loop that take some milliseconds: several times what makes a result worth a place on disk.
const TURNS: usize = 3_000_000;

/// Items that a list has room for that is put together.
const ITEMS_MAX: usize = 3;

/// A function, in no server yet.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// They are called `p0`, `p1` and so on.
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    /// Of what type its own errors are, if it has any.
    pub(crate) error: Option<Type>,
    pub(crate) wat: String,
}

/// What a function is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    pub(crate) error: Option<Type>,
    /// Of about `2^n` inputs one gives an error, if it has any.
    pub(crate) errs_bits: u32,
    /// Nothing of it traps but for one in about `2^n` inputs.
    pub(crate) is_calm_but_for: Option<u32>,
    /// How long it takes.
    pub(crate) turns: usize,
}

/// Where in memory the next list goes that is put together.
struct Room {
    free: usize,
}

impl Room {
    fn take(&mut self, align: usize, bytes: usize) -> usize {
        let begin = self.free.next_multiple_of(align);
        self.free = begin + bytes;
        assert!(self.free <= HEAP, "a result takes {} bytes", self.free - RESULT);
        begin
    }
}

impl Type {
    /// An expression for it, where it is one value in core Wasm. Not all scalars are characters, and bits are set that
    /// don't count.
    fn core(&self, of: &Expressions) -> Option<BoxedStrategy<String>> {
        let masked = |mask: &'static str| {
            of.int.clone().prop_map(move |e| format!("(i32.and {e} (i32.const {mask}))"))
        };
        Some(match self {
            Self::U8 | Self::S16 | Self::S32 | Self::Flags(_) => of.int.clone(),
            Self::U64 => of.long.clone(),
            Self::F64 => of.float.clone(),
            Self::Bool => masked("3").boxed(),
            Self::Char if of.are_calm => {
                let char = |(stray, e)| {
                    format!("(select (i32.const 0xd800) (i32.and {e} (i32.const 0x7f)) {stray})")
                };
                (of.rarely(STRAY_BITS), of.int.clone()).prop_map(char).boxed()
            }
            Self::Char => prop_oneof![4 => masked("0x7f"), 1 => masked("0xffff")].boxed(),
            Self::Enum(count) => of.one_of(*count),
            Self::Variant(cases) if cases.iter().all(Option::is_none) => of.one_of(cases.len()),
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

    /// Instructions that put a value to `at` in memory.
    fn stored(&self, at: usize, of: &Expressions, room: &mut Room) -> BoxedStrategy<String> {
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
                let store = move |(made, begin, length): (String, String, String)| {
                    format!(
                        "{made}(i32.store (i32.const {at}) {begin}) (i32.store (i32.const {to}) {length})\n"
                    )
                };
                self.span(of, room).prop_map(store).boxed()
            }
            Self::Record(types) | Self::Tuple(types) => {
                let mut end = at;
                let mut parts = Vec::new();
                for ty in types {
                    let begin = at_next(end, ty);
                    parts.push(ty.stored(begin, of, room));
                    end = begin + ty.bytes();
                }
                parts.prop_map(|parts| parts.concat()).boxed()
            }
            Self::Option(_) | Self::Result(..) | Self::Variant(_) => {
                let count = self.cases().map_or(0, |cases| cases.len());
                self.stored_case(at, of.one_of(count), of, room)
            }
        }
    }

    /// Instructions that put that one of its cases to `at` in memory.
    fn stored_case(
        &self,
        at: usize,
        which: BoxedStrategy<String>,
        of: &Expressions,
        room: &mut Room,
    ) -> BoxedStrategy<String> {
        let cases = self.cases().unwrap_or_default().into_iter().enumerate();
        let payloads: Vec<_> = cases
            .filter_map(|(index, payload)| {
                let stored = payload?.stored(at + self.payload_at(), of, room);
                Some(stored.prop_map(move |stored| {
                    format!(
                        "(if (i32.eq (i32.load8_u (i32.const {at})) (i32.const {index})) (then {stored}))\n"
                    )
                }))
            })
            .collect();
        let store = move |(which, payloads): (String, Vec<String>)| {
            format!("(i32.store8 (i32.const {at}) {which})\n{}", payloads.concat())
        };
        (which, payloads).prop_map(store).boxed()
    }

    /// Of a text, bytes or a list: instructions that make it, where it begins, and how long it is. It is a part of what is in
    /// memory, what was given, or put together. Not all text is UTF-8 in the end.
    fn span(&self, of: &Expressions, room: &mut Room) -> BoxedStrategy<(String, String, String)> {
        let masked = |mask: &'static str| {
            of.int.clone().prop_map(move |e| format!("(i32.and {e} (i32.const {mask}))"))
        };
        let begin = masked("0xff8");
        let window = if of.are_calm && *self == Self::String {
            // Where nothing is written text stays text, but for what is nowhere.
            let begin = masked("0x1f8").prop_map(|e| format!("(i32.add (i32.const {UNWRITTEN}) {e})"));
            let stray = |(stray, e)| format!("(select (i32.const -1) {e} {stray})");
            let begin = (of.rarely(STRAY_BITS), begin).prop_map(stray);
            (Just(String::new()), begin, masked("0x3f")).boxed()
        } else {
            (Just(String::new()), begin, masked("0x3f")).boxed()
        };
        let made = if let Self::List(item) = self
            && !matches!(**item, Self::U64 | Self::S32 | Self::S16)
        {
            let begin = room.take(item.align(), ITEMS_MAX * item.bytes());
            let items: Vec<_> =
                (0..ITEMS_MAX).map(|index| item.stored(begin + index * item.bytes(), of, room)).collect();
            (items, masked("3"))
                .prop_map(move |(items, length)| (items.concat(), format!("(i32.const {begin})"), length))
                .boxed()
        } else {
            window
        };
        let given = of.given.spans.iter().filter(|(ty, _)| ty == self);
        let given: Vec<_> =
            given.map(|(_, [begin, length])| (String::new(), begin.clone(), length.clone())).collect();
        if given.is_empty() { made } else { prop_oneof![made, select(given)].boxed() }
    }
}

/// Any function. One that is slow takes some milliseconds; one with errors may answer with an error of its own.
pub(crate) fn function(is_slow: bool, has_errors: bool) -> impl Strategy<Value = Function> {
    let error = any_type(true).prop_map(move |ty| has_errors.then_some(ty));
    (any_params(), any_type(true), error).prop_flat_map(move |(params, result, error)| {
        let turns = if is_slow { TURNS } else { 1 };
        such_a_function(Wanted { params, result, error, errs_bits: 1, is_calm_but_for: None, turns })
    })
}

/// Parameters, as many as travel in registers.
pub(crate) fn any_params() -> impl Strategy<Value = Vec<Type>> {
    vec(any_type(true), 1..4).prop_map(|mut params| {
        while params.len() > 1 && params.iter().map(|ty| ty.flat().len()).sum::<usize>() > FLAT_MAX {
            params.pop();
        }
        params
    })
}

/// A function like that.
pub(crate) fn such_a_function(wanted: Wanted) -> impl Strategy<Value = Function> {
    let Wanted { params, result, error, errs_bits, is_calm_but_for, turns } = wanted;
    let of = Expressions::new(&params, is_calm_but_for.is_some());
    let mut room = Room { free: RESULT };
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
            let at = room.take(returned.align(), returned.bytes());
            let stored = match error {
                Some(_) => returned.stored_case(at, of.rarely(errs_bits), &of, &mut room),
                None => returned.stored(at, &of, &mut room),
            };
            (Core::I32, stored.prop_map(move |stored| format!("{stored} (i32.const {at})")).boxed())
        }
    };
    let traps = match is_calm_but_for {
        Some(bits) => {
            of.rarely(bits).prop_map(|traps| format!("(if {traps} (then (unreachable)))\n")).boxed()
        }
        None => Just(String::new()).boxed(),
    };
    let flat: Vec<Core> = params.iter().flat_map(Type::flat).collect();
    let flat = if flat.len() > FLAT_MAX { vec![Core::I32] } else { flat };
    let flat = flat.into_iter().map(|core| format!(" {}", core.wat())).collect::<String>();
    let definitions = definitions.join("\n");
    let mixed = of.given.mixed();
    (traps, body).prop_map(move |(traps, body)| {
        let wat = component(
            &definitions,
            &flat,
            core,
            &head,
            turns,
            &format!("(local.set $mixed {mixed})\n{traps}{body}"),
        );
        Function { params: params.clone(), result: result.clone(), error: error.clone(), wat }
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
                    (local $mixed i32)
                    (global.set $heat (call $spin (i32.const {turns}) (global.get $heat)))
                    {body}))
            (core instance $i (instantiate $m))
            (func (export "handle"){head}
                (canon lift (core func $i "handle")
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    )
}
