//! Documents out of a fuzzer's bytes, valid or nearly so, and changes of encoded bytes.
//!
//! A fuzzer that only changes bytes seldom gets past the checks of deterministic encoding. Built
//! documents are past them from the start. Counts are small: what many entries do, few do too.

use adit_protocol::cbor::SortedMap;
use adit_protocol::device_report::{DeviceReport, ReferenceCheck, Repeatability};
use adit_protocol::engine::EngineDocument;
use adit_protocol::environment::{EnvironmentDocument, joined_providers};
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::hardware::{CpuClaims, DeviceClaims, DeviceKind, HardwareRecord, NetworkClaims};
use adit_protocol::hash::Hash;
use adit_protocol::manifest::{CostFunction, Dim, Encoding, FileRef, ModelManifest, TensorSpec};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::task::{
    DeviceClass, Disclosure, Requirements, SubmitterNonce, TaskSpec, Verification,
};
use adit_protocol::tensor::DType;
use adit_protocol::tolerance::Tolerance;
use adit_protocol::transcript::{Call, Op, TensorRef, Transcript};
use arbitrary::{Arbitrary, Unstructured};

type Recipe<'a, 'b> = &'a mut Unstructured<'b>;

/// Any value of a type; its default once the recipe has run out.
pub fn any<'b, T: Arbitrary<'b> + Default>(recipe: Recipe<'_, 'b>) -> T {
    recipe.arbitrary().unwrap_or_default()
}

/// One of a list that is not empty.
pub fn one_of<T: Copy>(recipe: Recipe, list: &[T]) -> T {
    let last = list.len().saturating_sub(1);
    list[recipe.int_in_range(0..=last).unwrap_or(0)]
}

/// Up to `max` values.
pub fn some<'b, T>(
    recipe: Recipe<'_, 'b>,
    max: usize,
    mut make: impl FnMut(Recipe<'_, 'b>) -> T,
) -> Vec<T> {
    let count = recipe.int_in_range(0..=max).unwrap_or(0);
    (0..count).map(|_| make(recipe)).collect()
}

/// An array of bytes.
pub fn bytes<const N: usize>(recipe: Recipe) -> [u8; N] {
    let mut bytes = [0; N];
    // What is left over stays zero.
    let _ = recipe.fill_buffer(&mut bytes);
    bytes
}

/// A hash; one byte of the recipe, so that equal ones are common.
pub fn hash(recipe: Recipe) -> Hash {
    match any::<u8>(recipe) {
        0 => Hash::ZERO,
        byte => Hash::of(&[byte]),
    }
}

/// A text: mostly short and plain, at times anything, at times around a bound on its length.
pub fn text(recipe: Recipe) -> String {
    match any::<u8>(recipe) {
        0..=9 => any::<String>(recipe),
        10..=19 => {
            let bound = one_of(recipe, &[64, 256, 1024, 4096, 65_536]);
            let length = bound + recipe.int_in_range(0..=2usize).unwrap_or(0) - 1;
            "n".repeat(length)
        }
        20..=29 => one_of(recipe, &["", "é", "\0", "\n", "\u{1b}[2J", "a/b"]).to_owned(),
        byte => format!("name{}", byte % 8),
    }
}

fn map<'b, V>(recipe: Recipe<'_, 'b>, mut value: impl FnMut(Recipe<'_, 'b>) -> V) -> SortedMap<V> {
    some(recipe, 4, |recipe| (text(recipe), value(recipe)))
        .into_iter()
        .collect()
}

/// A number around a width of its encoding.
fn number(recipe: Recipe) -> u64 {
    any::<u64>(recipe) >> recipe.int_in_range(0..=63).unwrap_or(0)
}

/// An engine document.
pub fn engine(recipe: Recipe) -> EngineDocument {
    let mut wasm_features = some(recipe, 4, text);
    if any::<u8>(recipe) < 200 {
        wasm_features.sort();
        wasm_features.dedup();
    }
    EngineDocument {
        runtime: text(recipe),
        wasmtime: text(recipe),
        wasm_features,
        operator_cost: map(recipe, number),
        limits: map(recipe, number),
        rules: map(recipe, text),
    }
}

/// An environment document.
pub fn environment(recipe: Recipe) -> EnvironmentDocument {
    let mut document = EnvironmentDocument {
        engine: hash(recipe),
        triple: text(recipe),
        cpu_baseline: text(recipe),
        backend: text(recipe),
        backend_version: text(recipe),
        build: text(recipe),
        execution_provider: text(recipe),
        device: text(recipe),
        driver: text(recipe),
        precision: text(recipe),
        threads: any(recipe),
        requested: None,
        options: any::<bool>(recipe).then(|| map(recipe, text)),
        fallback: None,
    };
    if any::<bool>(recipe) {
        let requested = text(recipe);
        let nodes = some(recipe, 3, |recipe| {
            (format!("{}/{}", text(recipe), text(recipe)), number(recipe))
        });
        let fallback: SortedMap<u64> = nodes.into_iter().collect();
        if any::<u8>(recipe) < 200 {
            document.execution_provider = joined_providers(&requested, any(recipe), &fallback);
        }
        document.requested = (any::<u8>(recipe) < 230).then_some(requested);
        document.fallback = (any::<u8>(recipe) < 230).then_some(fallback);
    }
    document
}

/// An exec spec.
pub fn exec(recipe: Recipe) -> ExecSpec {
    ExecSpec {
        engine: hash(recipe),
        world: one_of(recipe, &[World::Task, World::Command]),
        component: hash(recipe),
        input: hash(recipe),
        args: some(recipe, 4, text),
        clock_start_ns: number(recipe),
        models: map(recipe, hash),
        seed: bytes(recipe),
        limits: Limits {
            fuel: number(recipe),
            memory_bytes: number(recipe),
            table_elements: number(recipe),
            output_bytes: number(recipe),
            emit_bytes: number(recipe),
            stderr_bytes: number(recipe),
            tensor_bytes_held: number(recipe),
            tensor_bytes_moved: number(recipe),
            model_bytes: number(recipe),
            handles: number(recipe),
        },
    }
}

/// An order for a result.
pub fn task(recipe: Recipe) -> TaskSpec {
    let amount = |recipe: Recipe| any::<u128>(recipe) >> recipe.int_in_range(0..=127).unwrap_or(0);
    TaskSpec {
        genesis: hash(recipe),
        coordinator: bytes(recipe),
        exec: hash(recipe),
        salt: bytes(recipe),
        price: amount(recipe),
        attempt_fee: amount(recipe),
        deadline_ms: number(recipe),
        requirements: Requirements {
            device: one_of(
                recipe,
                &[DeviceClass::Any, DeviceClass::Cpu, DeviceClass::Gpu],
            ),
            device_memory_bytes: number(recipe),
            environments: some(recipe, 3, hash),
        },
        verification: Verification {
            replicas: any(recipe),
            quorum: any(recipe),
            adaptive: any(recipe),
            tolerance: any(recipe),
        },
        disclosure: one_of(
            recipe,
            &[
                Disclosure::Public,
                Disclosure::Checkers,
                Disclosure::Parties,
            ],
        ),
        client_tag: bytes(recipe),
        submitter: any::<bool>(recipe).then(|| SubmitterNonce {
            account: bytes(recipe),
            nonce: number(recipe),
            signature: bytes(recipe),
        }),
    }
}

/// Inputs or outputs of a model.
fn tensors(recipe: Recipe) -> Vec<TensorSpec> {
    some(recipe, 4, |recipe| TensorSpec {
        name: text(recipe),
        dtype: one_of(recipe, &DType::ALL),
        dims: some(recipe, 9, |recipe| match any::<u8>(recipe) {
            0..=99 => Dim::Fixed(number(recipe) as u32),
            100..=199 => Dim::Fixed(u32::from(any::<u8>(recipe) % 4)),
            _ => Dim::Symbol(text(recipe)),
        }),
    })
}

/// A tolerance.
pub fn tolerance(recipe: Recipe) -> Tolerance {
    match any::<u8>(recipe) % 5 {
        0 => Tolerance::Exact,
        3 => Tolerance::TopK {
            k: match any::<u8>(recipe) {
                byte @ 0..=199 => u32::from(byte) / 16,
                _ => any(recipe),
            },
            min_ppm: number(recipe) >> 40,
        },
        4 => Tolerance::PerceptualHash {
            max_bits: u32::from(any::<u8>(recipe) % 70),
        },
        1 => Tolerance::MaxAbsRel {
            abs_nano: number(recipe),
            rel_ppm: number(recipe),
        },
        _ => Tolerance::Cosine {
            min_ppm: match any::<u8>(recipe) {
                0..=99 => 1_000_000,
                _ => number(recipe) >> 40,
            },
        },
    }
}

/// A model's manifest.
pub fn manifest(recipe: Recipe) -> ModelManifest {
    ModelManifest {
        encoding: one_of(
            recipe,
            &[
                Encoding::Openvino,
                Encoding::Onnx,
                Encoding::Tensorflow,
                Encoding::Pytorch,
                Encoding::TensorflowLite,
                Encoding::Ggml,
                Encoding::Autodetect,
            ],
        ),
        files: map(recipe, |recipe| FileRef {
            hash: hash(recipe),
            len: number(recipe),
        }),
        licence: text(recipe),
        inputs: tensors(recipe),
        outputs: tensors(recipe),
        cost: CostFunction {
            base: number(recipe),
            per_input_element: number(recipe),
        },
        tolerance: tolerance(recipe),
        memory_bytes: number(recipe),
    }
}

/// A list of named tensors.
pub fn refs(recipe: Recipe) -> Vec<TensorRef> {
    some(recipe, 4, |recipe| TensorRef {
        name: text(recipe),
        hash: hash(recipe),
    })
}

/// A transcript.
pub fn transcript(recipe: Recipe) -> Transcript {
    Transcript {
        environments: some(recipe, 3, hash),
        calls: some(recipe, 4, |recipe| Call {
            op: one_of(
                recipe,
                &[Op::Load, Op::LoadByName, Op::InitContext, Op::Compute],
            ),
            name: any::<bool>(recipe).then(|| text(recipe)),
            manifest: any::<bool>(recipe).then(|| hash(recipe)),
            context: any(recipe),
            chain: any::<bool>(recipe).then(|| hash(recipe)),
            inputs: refs(recipe),
            outputs: refs(recipe),
            nn_units: number(recipe),
            environment: any::<bool>(recipe).then(|| u32::from(any::<u8>(recipe) % 4)),
            error: any(recipe),
        }),
    }
}

/// The hashes behind a receipt.
pub fn opening(recipe: Recipe) -> ReceiptOpening {
    ReceiptOpening {
        input: hash(recipe),
        output: hash(recipe),
        transcript: hash(recipe),
    }
}

/// What the node of this key claims of its hardware.
pub fn hardware(recipe: Recipe, node: [u8; 32]) -> HardwareRecord {
    HardwareRecord {
        node,
        made_ms: number(recipe),
        software: text(recipe),
        engine: hash(recipe),
        cpu: CpuClaims {
            model: text(recipe),
            cores: any(recipe),
            baseline: text(recipe),
            memory_bytes: number(recipe),
            memory_bandwidth: number(recipe),
            guest_fuel_rate: number(recipe),
        },
        devices: some(recipe, 3, |recipe| DeviceClaims {
            environment: hash(recipe),
            name: text(recipe),
            kind: one_of(recipe, &[DeviceKind::Cpu, DeviceKind::Gpu]),
            memory_bytes: number(recipe),
            memory_bandwidth: number(recipe),
            fp32_rate: number(recipe),
            fp16_rate: any::<bool>(recipe).then(|| number(recipe)),
            models: map(recipe, number),
        }),
        network: any::<bool>(recipe).then(|| NetworkClaims {
            peer: text(recipe),
            rtt_us: number(recipe),
            down: number(recipe),
            up: number(recipe),
        }),
    }
}

/// What was measured of a model on a device; counts are small, so that its rules often hold.
pub fn device_report(recipe: Recipe) -> DeviceReport {
    let count = |recipe: Recipe| u32::from(any::<u8>(recipe) % 8);
    DeviceReport {
        environment: hash(recipe),
        model: hash(recipe),
        reference: any::<bool>(recipe).then(|| ReferenceCheck {
            environment: hash(recipe),
            cases: count(recipe),
            accepted: count(recipe),
            exact: count(recipe),
            max_abs_nano: number(recipe),
            max_rel_ppm: number(recipe),
        }),
        repeatability: any::<bool>(recipe).then(|| Repeatability {
            runs: count(recipe),
            processes: count(recipe),
            threads: some(recipe, 4, count),
            repeatable: any(recipe),
            across_threads: any(recipe),
        }),
    }
}

/// Changes encoded bytes in up to four places: a bit, a byte, one more, one less, a part twice.
pub fn alter(bytes: &mut Vec<u8>, recipe: Recipe) {
    for _ in 0..recipe.int_in_range(1..=4).unwrap_or(1) {
        let last = bytes.len().saturating_sub(1);
        let at = recipe.int_in_range(0..=last).unwrap_or(0);
        match (any::<u8>(recipe) % 5, bytes.get_mut(at)) {
            (0, Some(byte)) => *byte ^= 1 << (any::<u8>(recipe) % 8),
            (1, Some(byte)) => *byte = any(recipe),
            (2, _) => bytes.insert(at.min(bytes.len()), any(recipe)),
            (3, Some(_)) => drop(bytes.remove(at)),
            (_, Some(_)) => {
                let end = at.saturating_add(usize::from(any::<u8>(recipe) % 16));
                let part = bytes[at..end.min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            (_, None) => {}
        }
    }
}
