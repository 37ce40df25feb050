//! The component between the functions of a chain: it calls them in sequence.
//!
//! ```text
//! (import "step-0" (func …)) (import "step-1" (func …)) … (export "handle" (func …))
//! ```
//!
//! Its code only moves values, in the form of the canonical ABI. A function returns either one core
//! value or a pointer into the glue's memory; the next one takes up to 16 core values or such a
//! pointer.
//!
//! Invariants:
//! * The glue's memory only grows: an instance serves one call. At the end it holds all that the
//!   functions returned.
//! * The count of bytes handed out restarts before each call of a function, so during the call it
//!   counts the contents of that function's answer alone.
//!
//! `layout` has the canonical ABI, `bound` the length of a value's JSON.

use nebula_codec::{Field, Type};
use wasm_encoder::{
    BlockType, CanonicalOption, CodeSection, ComponentBuilder, ComponentExportKind, ComponentTypeRef,
    ConstExpr, EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    ImportSection, InstructionSink, MemArg, MemorySection, MemoryType, Module, ModuleArg, TypeSection,
    ValType,
};

use super::bound::Bound;
use super::chain::{FuseError, Link};
use super::declare::declare;
use super::layout::{Address, FLAT_PARAMS_MAX, FLAT_RESULTS_MAX, Layout, Slot, flatten, load, payload_at};

/// Type of the glue's memory.
pub(super) const MEMORY: MemoryType =
    MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };

/// Returns the name of the import for the function at that index.
pub(super) fn step(at: usize) -> String {
    format!("step-{at}")
}

/// Returns the glue for a chain.
///
/// # Errors
/// [`FuseError::AnswerBound`].
pub(super) fn glue(chain: &[Link<'_>]) -> Result<ComponentBuilder, FuseError> {
    let mut to = ComponentBuilder::default();
    let declared = declare(chain, &mut to);
    let steps = declared.steps.iter().enumerate();
    let steps: Vec<u32> = steps.map(|(at, ty)| to.import(step(at), ComponentTypeRef::Func(*ty))).collect();

    let heap = to.core_module(None, &heap());
    let heap = to.core_instantiate(None, heap, []);
    let memory = to.core_alias_export(None, heap, "memory", ExportKind::Memory);
    let realloc = to.core_alias_export(None, heap, "realloc", ExportKind::Func);
    let options = [CanonicalOption::UTF8, CanonicalOption::Memory(memory), CanonicalOption::Realloc(realloc)];
    let lowered: Vec<(String, u32)> = steps
        .into_iter()
        .enumerate()
        .map(|(at, func)| (step(at), to.lower_func(None, func, options)))
        .collect();
    let exports: Vec<_> =
        lowered.iter().map(|(name, func)| (name.as_str(), ExportKind::Func, *func)).collect();
    let steps = to.core_instantiate_exports(None, exports);

    let caller = to.core_module(None, &caller(chain)?);
    let with = [("heap", ModuleArg::Instance(heap)), ("steps", ModuleArg::Instance(steps))];
    let caller = to.core_instantiate(None, caller, with);
    let handle = to.core_alias_export(None, caller, "handle", ExportKind::Func);
    let handle = to.lift_func(None, handle, declared.handle, options);
    to.export("handle", ComponentExportKind::Func, handle, Some(ComponentTypeRef::Func(declared.handle)));
    Ok(to)
}

/// Type of `realloc` in the canonical ABI: old pointer, old size, alignment, new size to pointer.
const REALLOC: ([ValType; 4], [ValType; 1]) = ([ValType::I32; 4], [ValType::I32]);

/// Global of the heap: where free memory begins.
const TOP: u32 = 0;
/// Global of the heap: bytes handed out since the count was last reset.
const HANDED_OUT: u32 = 1;

const TOP_TYPE: GlobalType = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
const HANDED_OUT_TYPE: GlobalType = GlobalType { val_type: ValType::I64, mutable: true, shared: false };

/// Keeps pointers from being 0.
const FIRST_FREE: i32 = 16;

const PAGE_BYTES: i64 = 65_536;

/// Returns the module with the memory and its allocator. It is separate because lowering the
/// functions needs it before the caller exists.
pub(super) fn heap() -> Module {
    let mut types = TypeSection::new();
    types.ty().function(REALLOC.0, REALLOC.1);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut memories = MemorySection::new();
    memories.memory(MEMORY);
    let mut globals = GlobalSection::new();
    globals.global(TOP_TYPE, &ConstExpr::i32_const(FIRST_FREE));
    globals.global(HANDED_OUT_TYPE, &ConstExpr::i64_const(0));
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("realloc", ExportKind::Func, 0);
    exports.export("handed-out", ExportKind::Global, HANDED_OUT);
    let mut code = CodeSection::new();
    code.function(&realloc());
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&globals);
    module.section(&exports).section(&code);
    module
}

/// Returns the bump allocator. Resizing copies: it only happens when text is transcoded.
fn realloc() -> Function {
    let (old, old_size, align, new_size) = (0, 1, 2, 3);
    let (begin, end) = (4, 5);
    let mut function = Function::new([(2, ValType::I64)]);
    let mut code = function.instructions();
    // begin = (top + align - 1) & -align; end = begin + new_size. Neither wraps in 64 bits.
    code.global_get(TOP).i64_extend_i32_u();
    code.local_get(align).i64_extend_i32_u().i64_add().i64_const(1).i64_sub();
    code.i64_const(0).local_get(align).i64_extend_i32_u().i64_sub().i64_and().local_tee(begin);
    code.local_get(new_size).i64_extend_i32_u().i64_add().local_set(end);
    // Grows by the missing pages. An end beyond 32 bits exceeds the largest memory, so growing
    // fails.
    code.local_get(end).memory_size(0).i64_extend_i32_u().i64_const(PAGE_BYTES).i64_mul().i64_gt_u();
    code.if_(BlockType::Empty);
    code.local_get(end).i64_const(PAGE_BYTES - 1).i64_add().i64_const(PAGE_BYTES).i64_div_u();
    code.memory_size(0).i64_extend_i32_u().i64_sub().i32_wrap_i64().memory_grow(0);
    code.i32_const(-1).i32_eq().if_(BlockType::Empty).unreachable().end();
    code.end();
    code.local_get(end).i32_wrap_i64().global_set(TOP);
    code.global_get(HANDED_OUT).local_get(new_size).i64_extend_i32_u().i64_add().global_set(HANDED_OUT);
    // A resize copies the smaller of the two sizes.
    code.local_get(old_size).if_(BlockType::Empty);
    code.local_get(begin).i32_wrap_i64().local_get(old);
    code.local_get(old_size).local_get(new_size).local_get(old_size).local_get(new_size).i32_lt_u().select();
    code.memory_copy(0, 0);
    code.end();
    code.local_get(begin).i32_wrap_i64();
    code.end();
    function
}

/// The place of a lowered function's result.
enum ResultPlace<'a> {
    Nothing,
    /// On the stack, as one core value.
    Core(&'a Type),
    /// In the glue's memory.
    Memory(&'a Type),
}

impl<'a> ResultPlace<'a> {
    fn of(link: &Link<'a>) -> Self {
        match &link.signature.result {
            None => Self::Nothing,
            Some(ty) if is_core(ty) => Self::Core(ty),
            Some(ty) => Self::Memory(ty),
        }
    }
}

/// Returns whether a type flattens to at most one core value.
fn is_core(ty: &Type) -> bool {
    flatten([ty]).is_some_and(|flat| flat.len() <= FLAT_RESULTS_MAX)
}

/// The core type of a function.
struct Shape {
    params: Vec<ValType>,
    results: Vec<ValType>,
}

impl Shape {
    /// The shape of a lifted function: a result that isn't a core value is returned as a pointer.
    fn lifted(params: &[Field], result: Option<&Type>) -> Self {
        let params = flatten(params.iter().map(|param| &param.ty)).unwrap_or_else(|| vec![ValType::I32]);
        let result = result.map(|ty| flatten([ty]).filter(|flat| flat.len() <= FLAT_RESULTS_MAX));
        let results = result.map(|flat| flat.unwrap_or_else(|| vec![ValType::I32])).unwrap_or_default();
        Self { params, results }
    }

    /// The shape of a lowered function: its last parameter says where to put a result that isn't a
    /// core value.
    fn lowered(link: &Link<'_>) -> Self {
        let Self { mut params, mut results } =
            Self::lifted(&link.signature.params, link.signature.result.as_ref());
        if matches!(ResultPlace::of(link), ResultPlace::Memory(_)) {
            params.append(&mut results);
        }
        Self { params, results }
    }
}

/// Function index of `realloc` in the caller.
const REALLOC_FUNC: u32 = 0;
/// Function index of the chain's first function in the caller.
const FIRST_STEP_FUNC: u32 = 1;

/// Returns the module that calls the functions in sequence.
fn caller(chain: &[Link<'_>]) -> Result<Module, FuseError> {
    let mut types = TypeSection::new();
    let mut imports = ImportSection::new();
    imports.import("heap", "memory", EntityType::Memory(MEMORY));
    imports.import("heap", "handed-out", EntityType::Global(HANDED_OUT_TYPE));
    imports.import("heap", "realloc", EntityType::Function(0));
    types.ty().function(REALLOC.0, REALLOC.1);
    for (at, link) in chain.iter().enumerate() {
        imports.import("steps", &step(at), EntityType::Function(types.len()));
        let Shape { params, results } = Shape::lowered(link);
        types.ty().function(params, results);
    }
    let mut functions = FunctionSection::new();
    functions.function(types.len());
    let params = chain.first().map_or([].as_slice(), |first| first.signature.params.as_slice());
    let handle = Shape::lifted(params, chain.last().and_then(Link::answer));
    types.ty().function(handle.params.iter().copied(), handle.results.iter().copied());
    let mut exports = ExportSection::new();
    exports.export("handle", ExportKind::Func, imports.len() - 2);
    let mut code = CodeSection::new();
    code.function(&HandleBuilder::new(&handle.params).write(chain)?);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
    Ok(module)
}

/// Builds the function `handle` of the caller.
struct HandleBuilder {
    params: u32,
    locals: Vec<ValType>,
    code: Vec<u8>,
    /// The local that points to the last result in memory.
    stored: u32,
}

/// Index of the heap's count of bytes among the caller's globals.
const HANDED_OUT_IMPORTED: u32 = 0;

impl HandleBuilder {
    fn new(params: &[ValType]) -> Self {
        let params = u32::try_from(params.len()).unwrap_or(u32::MAX);
        Self { params, locals: vec![ValType::I32], code: Vec::new(), stored: params }
    }

    fn write(mut self, chain: &[Link<'_>]) -> Result<Function, FuseError> {
        for param in 0..self.params {
            self.code().local_get(param);
        }
        for (at, link) in chain.iter().enumerate() {
            self.call(link, FIRST_STEP_FUNC + u32::try_from(at).unwrap_or(u32::MAX));
            if at + 1 < chain.len() {
                self.check_length(at, link)?;
                self.pass_on(link, FLAT_PARAMS_MAX);
            } else {
                self.pass_on(link, FLAT_RESULTS_MAX);
            }
        }
        self.code().end();
        let mut function = Function::new_with_locals_types(self.locals);
        function.raw(self.code);
        Ok(function)
    }

    fn code(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    fn local(&mut self, ty: ValType) -> Slot {
        self.locals.push(ty);
        Slot { local: self.stored + u32::try_from(self.locals.len() - 1).unwrap_or(u32::MAX), ty }
    }

    /// Calls a function with the arguments on the stack.
    fn call(&mut self, link: &Link<'_>, func: u32) {
        let stored = self.stored;
        let mut code = self.code();
        if let ResultPlace::Memory(ty) = ResultPlace::of(link) {
            let Layout { size, align } = Layout::of(ty);
            code.i32_const(0).i32_const(0).i32_const(align.cast_signed()).i32_const(size.cast_signed());
            code.call(REALLOC_FUNC).local_tee(stored);
        }
        code.i64_const(0).global_set(HANDED_OUT_IMPORTED);
        code.call(func);
    }

    /// Traps if the JSON of the last answer may exceed the function's output limit.
    fn check_length(&mut self, at: usize, link: &Link<'_>) -> Result<(), FuseError> {
        let Some(ty) = link.answer() else { return Ok(()) };
        let bytes_max = Bound::of_answer(ty).contents_bytes_max(link.output_bytes_max);
        let bytes_max = bytes_max.ok_or(FuseError::AnswerBound { step: at })?;
        if let Ok(bytes_max) = i64::try_from(bytes_max) {
            let mut code = self.code();
            code.global_get(HANDED_OUT_IMPORTED).i64_const(bytes_max).i64_gt_u();
            code.if_(BlockType::Empty).unreachable().end();
        }
        Ok(())
    }

    /// Puts the last answer on the stack, without the `result` around it: as core values if there
    /// are at most `flat_max`, else as a pointer. Traps on an error.
    fn pass_on(&mut self, link: &Link<'_>, flat_max: usize) {
        let stored = self.stored;
        let (ty, at) = match ResultPlace::of(link) {
            ResultPlace::Nothing => return,
            ResultPlace::Core(Type::Result(_)) => {
                self.code().if_(BlockType::Empty).unreachable().end();
                return;
            }
            ResultPlace::Core(_) => return,
            ResultPlace::Memory(result @ Type::Result(_)) => {
                let mut code = self.code();
                code.local_get(stored).i32_load8_u(MemArg { offset: 0, align: 0, memory_index: 0 });
                code.if_(BlockType::Empty).unreachable().end();
                let Some(ty) = link.answer() else { return };
                (ty, payload_at(result))
            }
            ResultPlace::Memory(ty) => (ty, 0),
        };
        let Some(flat) = flatten([ty]).filter(|flat| flat.len() <= flat_max) else {
            self.code().local_get(stored).i32_const(at.cast_signed()).i32_add();
            return;
        };
        let slots: Vec<Slot> = flat.into_iter().map(|ty| self.local(ty)).collect();
        let mut code = self.code();
        load(&mut code, ty, Address { pointer: stored, at }, &slots);
        for slot in slots {
            code.local_get(slot.local);
        }
    }
}
