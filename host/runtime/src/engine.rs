//! The one engine constructor of Adit.
//!
//! Compiler, worker, replay and benchmarks all build their `wasmtime::Engine` here, so that a
//! component that was admitted by one is executed by the other under identical rules. Whatever a
//! guest can observe of this configuration is also written into the engine document
//! ([`crate::engine_document`]), whose hash is the engine id that every receipt rests on.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel,
    PoolingAllocationConfig, Strategy, WasmBacktraceDetails, WasmFeatures,
};

/// The wasmtime release whose fuel accounting and validation this runtime relies on.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Largest linear memory of any guest, in bytes: all that 32 bits address. The pool reserves this
/// much for every memory, so that the reservation never shows in a guest; what a run may really
/// use is the `memory_bytes` of its limits.
pub const MEMORY_CAP: usize = 1 << 32;
/// Most elements of one table.
pub const TABLE_ELEMENTS_CAP: usize = 100_000;
/// Most linear memories that one component may define, over all its core modules.
pub const MEMORIES_PER_COMPONENT: u32 = 8;
/// Most core module instances in one component.
pub const CORE_INSTANCES_PER_COMPONENT: u32 = 100;
/// Most tables that one component may define, over all its core modules.
pub const TABLES_PER_COMPONENT: u32 = 100;
/// Most linear memories that one core module may define.
pub const MEMORIES_PER_MODULE: u32 = 1;
/// Most tables that one core module may define.
pub const TABLES_PER_MODULE: u32 = 16;
/// Most bytes of engine metadata for one core instance or component.
pub const INSTANCE_METADATA_BYTES: usize = 4 << 20;
/// Wasm stack of a run, in bytes. A frame's size depends on code generation, so running out of
/// it is an outcome that is not attestable.
pub const WASM_STACK_BYTES: usize = 4 << 20;
/// Native stack of a thread that runs guests, in bytes: the wasm stack, and ample room for the
/// host functions below it.
pub const SLOT_STACK_BYTES: usize = 16 << 20;
/// Fuel for each page that `memory.grow` asks for. The host has to provide and zero 64 KiB, which
/// wasmtime's default price of 0 would give away.
pub const MEMORY_GROW_FUEL_PER_PAGE: u8 = 255;

/// Wasm features that are on, with the names under which the engine document lists them.
pub const FEATURES_ON: &[(&str, WasmFeatures)] = &[
    ("bulk-memory", WasmFeatures::BULK_MEMORY),
    ("component-model", WasmFeatures::COMPONENT_MODEL),
    ("extended-const", WasmFeatures::EXTENDED_CONST),
    ("floats", WasmFeatures::FLOATS),
    ("multi-value", WasmFeatures::MULTI_VALUE),
    ("mutable-global", WasmFeatures::MUTABLE_GLOBAL),
    ("reference-types", WasmFeatures::REFERENCE_TYPES),
    (
        "saturating-float-to-int",
        WasmFeatures::SATURATING_FLOAT_TO_INT,
    ),
    ("sign-extension", WasmFeatures::SIGN_EXTENSION),
    ("simd", WasmFeatures::SIMD),
];

/// Wasm features that are off by decision: each is a source of nondeterminism (threads, relaxed
/// SIMD), unbounded or unmetered work (tail calls, stack switching), or surface that no task
/// needs yet. wasmtime turns some of them on by default, so they are named.
const FEATURES_OFF: &[WasmFeatures] = &[
    WasmFeatures::THREADS,
    WasmFeatures::SHARED_EVERYTHING_THREADS,
    WasmFeatures::RELAXED_SIMD,
    WasmFeatures::MEMORY64,
    WasmFeatures::MULTI_MEMORY,
    WasmFeatures::TAIL_CALL,
    WasmFeatures::CUSTOM_PAGE_SIZES,
    WasmFeatures::STACK_SWITCHING,
    WasmFeatures::EXCEPTIONS,
    WasmFeatures::FUNCTION_REFERENCES,
    WasmFeatures::GC,
    WasmFeatures::WIDE_ARITHMETIC,
    WasmFeatures::CM_ASYNC,
    WasmFeatures::CM_THREADING,
];

/// x86-64 features that compiled guests may use: one fixed baseline for every machine. SSE 4.1 is
/// part of it because without it wasmtime calls float routines whose NaNs are not canonicalised.
pub const X86_BASELINE: &[&str] = &[
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
];

/// What guests are compiled for. Nothing of it is visible to a guest: the same run comes to the
/// same result, fuel and memory on each. Only where the stack ends differs, as it does between
/// processors, and that outcome is not attestable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Native code of this machine's processor.
    #[default]
    Processor,
    /// Bytecode for Pulley, the interpreter inside wasmtime. It shares the front half of the
    /// compiler with native code and nothing of the rest: no instruction selection for a
    /// processor, no traps by signals, no machine code at all. So it is a second opinion on what
    /// the compiler made of a guest, at a tenth of the speed or less.
    Interpreter,
}

/// How an engine is sized and what it runs guests on. Nothing here is visible to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// How many guests may run at the same time, at least 1.
    pub slots: u32,
    /// What guests are compiled for.
    pub target: Target,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            slots: 4,
            target: Target::default(),
        }
    }
}

/// The price of each operator: wasmtime's defaults, except for growing memory.
pub fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::new();
    cost.variable.memory_grow_per_page = MEMORY_GROW_FUEL_PER_PAGE;
    cost
}

/// Build the engine.
///
/// # Errors
///
/// wasmtime's error when the machine lacks the CPU baseline or the address space for the pool.
pub fn engine(options: EngineOptions) -> wasmtime::Result<Engine> {
    Engine::new(&config(options)?)
}

/// Build an engine that only compiles, for [`engine`]s of any size with this target: it has no
/// pool, so that it works under a tight memory limit.
///
/// # Errors
///
/// As [`engine`].
pub fn compiler(target: Target) -> wasmtime::Result<Engine> {
    Engine::new(&rules(target)?)
}

fn config(options: EngineOptions) -> wasmtime::Result<Config> {
    let mut c = rules(options.target)?;
    let slots = options.slots.max(1);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(slots.saturating_mul(MEMORIES_PER_COMPONENT))
        .total_tables(slots.saturating_mul(TABLES_PER_COMPONENT))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memories_per_module(MEMORIES_PER_MODULE)
        .max_tables_per_module(TABLES_PER_MODULE)
        .max_component_instance_size(INSTANCE_METADATA_BYTES)
        .max_core_instance_size(INSTANCE_METADATA_BYTES)
        .max_memory_size(MEMORY_CAP)
        .table_elements(TABLE_ELEMENTS_CAP)
        // Pages that stay resident between runs are zeroed instead of unmapped; with the kernel's
        // page-map scan only the dirty ones are. Together 5 microseconds an instance, not 23.
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(slots.saturating_mul(MEMORIES_PER_COMPONENT));
    c.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(c)
}

/// Everything that decides what code is made and what it does.
fn rules(target: Target) -> wasmtime::Result<Config> {
    let mut c = Config::new();

    // Determinism. Naming the target, although it is the host's own, is what stops wasmtime from
    // inferring CPU features, so that every machine of a triple compiles the same code.
    c.target(&triple(target)?)?;
    if target == Target::Processor && cfg!(target_arch = "x86_64") {
        for flag in X86_BASELINE {
            // SAFETY: these flags only allow instructions; wasmtime compares them with the host's
            // CPU when the engine is created and fails where one is missing.
            unsafe { c.cranelift_flag_enable(flag) };
        }
    }
    // The bits of a NaN otherwise depend on the CPU and on code generation.
    c.cranelift_nan_canonicalization(true);
    c.relaxed_simd_deterministic(true);
    for (_, feature) in FEATURES_ON {
        c.wasm_features(*feature, true);
    }
    for feature in FEATURES_OFF {
        c.wasm_features(*feature, false);
    }
    // Fuel is the only interruption whose place in the program is the same everywhere.
    c.consume_fuel(true);
    c.operator_cost(operator_cost());
    // Epochs are the wall-clock kill switch. Where they stop a guest differs from run to run, so
    // that outcome (deadline) is not attestable.
    c.epoch_interruption(true);
    c.strategy(Strategy::Cranelift);
    c.cranelift_opt_level(OptLevel::Speed);
    // Removes component-model async: a task is one synchronous call.
    c.concurrency_support(false);

    // Isolation.
    c.max_wasm_stack(WASM_STACK_BYTES);
    // No guest runs on an async stack, but wasmtime wants this to be no smaller.
    c.async_stack_size(WASM_STACK_BYTES);
    // The default reads an environment variable; and no message or backtrace enters a receipt.
    c.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    c.wasm_backtrace_max_frames(None);
    // A memory that never moves is one bounds check less, and nothing for a guest to notice.
    c.memory_may_move(false);
    c.memory_init_cow(true);
    Ok(c)
}

/// The triple that code is made for. The interpreter has one for each width and order of the
/// host's words, whatever its processor.
fn triple(target: Target) -> wasmtime::Result<String> {
    use target_lexicon::{Endianness, HOST, PointerWidth};
    if target == Target::Processor {
        return Ok(HOST.to_string());
    }
    let unknown = |()| wasmtime::Error::msg("the interpreter does not know this kind of host");
    let width = HOST.pointer_width().map_err(unknown)?;
    let order = HOST.endianness().map_err(unknown)?;
    let triple = match (width, order) {
        (PointerWidth::U64, Endianness::Little) => "pulley64",
        (PointerWidth::U64, Endianness::Big) => "pulley64be",
        (PointerWidth::U32, Endianness::Little) => "pulley32",
        (PointerWidth::U32, Endianness::Big) => "pulley32be",
        (PointerWidth::U16, _) => return Err(unknown(())),
    };
    Ok(triple.to_owned())
}

/// Put the floating-point unit of this thread into the state that wasm assumes: round to nearest,
/// subnormals kept, exceptions masked.
///
/// Libraries that ran on this thread before may have set flush-to-zero, which would change what a
/// guest computes. Called before every entry into a guest.
pub fn reset_float_environment() {
    #[cfg(target_arch = "x86_64")]
    {
        // The value of MXCSR at reset: all exceptions masked, no FTZ, no DAZ.
        let mxcsr: u32 = 0x1f80;
        // SAFETY: loads the SSE control register from a live, aligned u32; every bit set is a
        // defined one. Rust assumes exactly this state.
        unsafe {
            core::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(readonly, nostack))
        };
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: zero is the architecture's default control state: round to nearest, no FZ.
        unsafe { core::arch::asm!("msr fpcr, {}", in(reg) 0u64, options(nomem, nostack)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_built_and_the_linked_wasmtime_is_the_named_one() {
        for target in [Target::Processor, Target::Interpreter] {
            let engine = engine(EngineOptions { slots: 1, target }).expect("engine");
            assert_eq!(engine.is_pulley(), target == Target::Interpreter);
        }
        let lock = include_str!("../../../Cargo.lock");
        let linked = lock
            .split("[[package]]")
            .find(|p| p.contains("name = \"wasmtime\"\n"))
            .expect("wasmtime is in Cargo.lock");
        assert!(linked.contains(&format!("version = \"{WASMTIME_VERSION}\"")));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_float_environment_is_reset() {
        let subnormal = std::hint::black_box(f64::MIN_POSITIVE) / 4.0;
        assert!(subnormal > 0.0);
        let flush: u32 = 0x1f80 | 0x8040;
        // SAFETY: sets flush-to-zero and denormals-are-zero on this thread only, until the reset.
        unsafe {
            core::arch::asm!("ldmxcsr [{}]", in(reg) &raw const flush, options(readonly, nostack))
        };
        let flushed = std::hint::black_box(f64::MIN_POSITIVE) / std::hint::black_box(4.0);
        reset_float_environment();
        let kept = std::hint::black_box(f64::MIN_POSITIVE) / std::hint::black_box(4.0);
        assert_eq!(flushed, 0.0);
        assert_eq!(kept, subnormal);
    }
}
