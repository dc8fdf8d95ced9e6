//! `wasi:nn` as the guest sees it.
//!
//! What a guest can observe follows from the model manifest and from recorded answers, never from
//! a backend: the same mistakes get the same errors whichever library computes, and replay needs
//! no model. A model that a backend cannot run, or a backend that fails, ends the run as a host
//! fault; the guest never learns of it.

mod calls;

pub use calls::{LOAD_PARTS_RECORDED, UNKNOWN_NAME_BYTES};

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::exec::ExecSpec;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::tensor::DType;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use super::tensor::Tensor;
use crate::bindings::{ErrorCode, TensorType};
use crate::record::{Answerer, Session};
use crate::state::{State, charge};
use crate::stop::Stop;

/// The version of the `wasi:nn` package.
pub const WASI_NN_VERSION: &str = "0.2.0-rc-2024-10-28";

/// A tensor that a guest holds. It may be ragged: that is found out when it is used.
pub struct HostTensor {
    ty: TensorType,
    dims: Vec<u32>,
    data: HostData,
}

enum HostData {
    /// Bytes from the guest, of any length.
    Raw(Vec<u8>),
    /// A backend's output.
    Whole(Tensor),
}

impl HostData {
    fn bytes(&self) -> &[u8] {
        match self {
            HostData::Raw(bytes) => bytes,
            HostData::Whole(tensor) => tensor.bytes(),
        }
    }
}

impl HostTensor {
    fn held_bytes(&self) -> u64 {
        self.data.bytes().len() as u64 + 4 * self.dims.len() as u64
    }

    fn whole(self) -> Option<Tensor> {
        match self.data {
            HostData::Raw(bytes) => Tensor::new(dtype(self.ty), self.dims, bytes).ok(),
            HostData::Whole(tensor) => Some(tensor),
        }
    }
}

/// A model that the run may use: its manifest and the manifest's hash.
#[derive(Clone)]
pub struct ModelEntry {
    /// Hash of the manifest.
    pub hash: Hash,
    /// The manifest.
    pub manifest: Arc<ModelManifest>,
    /// Whether the guest brought the model along; if not, the spec names it.
    pub brought: bool,
}

/// `wasi:nn/graph.graph`.
pub struct HostGraph(ModelEntry);

/// `wasi:nn/inference.graph-execution-context`.
pub struct HostContext {
    model: ModelEntry,
    id: u32,
    chain: Hash,
}

/// `wasi:nn/errors.error`.
pub struct HostError(ErrorCode);

/// Inference state of a run.
pub struct Nn {
    session: Session,
    models: Arc<BTreeMap<String, ModelEntry>>,
    contexts: u32,
    held: u64,
    moved: u64,
    loaded: u64,
    held_max: u64,
    moved_max: u64,
    loaded_max: u64,
}

impl Nn {
    /// Inference for a run of `spec`: `models` are the manifests of the models it names.
    pub fn new(
        spec: &ExecSpec,
        models: Arc<BTreeMap<String, ModelEntry>>,
        answerer: Box<dyn Answerer>,
    ) -> Self {
        Self {
            session: Session::new(answerer),
            models,
            contexts: 0,
            held: 0,
            moved: 0,
            loaded: 0,
            held_max: spec.limits.tensor_bytes_held,
            moved_max: spec.limits.tensor_bytes_moved,
            loaded_max: spec.limits.model_bytes,
        }
    }

    /// The transcript's keeper.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    fn hold(&mut self, bytes: u64) -> Result<(), Stop> {
        self.held = self.held.saturating_add(bytes);
        if self.held > self.held_max {
            return Err(Stop::Limit {
                limit: "tensor_bytes_held",
                max: self.held_max,
            });
        }
        Ok(())
    }

    fn release(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
    }

    fn moved(&mut self, bytes: u64) -> Result<(), Stop> {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved > self.moved_max {
            return Err(Stop::Limit {
                limit: "tensor_bytes_moved",
                max: self.moved_max,
            });
        }
        Ok(())
    }
}

type Store<'a> = StoreContextMut<'a, State>;
type Fallible<T> = wasmtime::Result<(Result<T, Resource<HostError>>,)>;

/// The element type of the protocol for one of the WIT.
fn dtype(ty: TensorType) -> DType {
    match ty {
        TensorType::Fp16 => DType::Fp16,
        TensorType::Fp32 => DType::Fp32,
        TensorType::Fp64 => DType::Fp64,
        TensorType::Bf16 => DType::Bf16,
        TensorType::U8 => DType::U8,
        TensorType::I32 => DType::I32,
        TensorType::I64 => DType::I64,
    }
}

fn tensor_type(dtype: DType) -> TensorType {
    match dtype {
        DType::Fp16 => TensorType::Fp16,
        DType::Fp32 => TensorType::Fp32,
        DType::Fp64 => TensorType::Fp64,
        DType::Bf16 => TensorType::Bf16,
        DType::U8 => TensorType::U8,
        DType::I32 => TensorType::I32,
        DType::I64 => TensorType::I64,
    }
}

/// Error codes in the order of the WIT, which gives them their numbers in a transcript, and the
/// constant that `error.data()` returns for each.
const ERROR_CODES: [(ErrorCode, &str); 9] = [
    (ErrorCode::InvalidArgument, "invalid-argument"),
    (ErrorCode::InvalidEncoding, "invalid-encoding"),
    (ErrorCode::Timeout, "timeout"),
    (ErrorCode::RuntimeError, "runtime-error"),
    (ErrorCode::UnsupportedOperation, "unsupported-operation"),
    (ErrorCode::TooLarge, "too-large"),
    (ErrorCode::NotFound, "not-found"),
    (ErrorCode::Security, "security"),
    (ErrorCode::Unknown, "unknown"),
];

fn error_number(code: ErrorCode) -> u8 {
    ERROR_CODES
        .iter()
        .position(|(c, _)| *c == code)
        .map_or(8, |i| i as u8)
}

fn error_of(number: u8) -> (ErrorCode, &'static str) {
    ERROR_CODES
        .get(usize::from(number))
        .copied()
        .unwrap_or((ErrorCode::Unknown, "unknown"))
}

fn refuse<T>(state: &mut State, number: u8) -> Fallible<T> {
    let error = state.push(HostError(error_of(number).0))?;
    Ok((Err(error),))
}

/// Define `wasi:nn`.
///
/// # Errors
///
/// Only when a name is defined twice, which is a mistake in this crate.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    link_errors(linker)?;
    link_tensor(linker)?;
    link_graph(linker)?;

    let mut inference = linker.instance(&interface("inference"))?;
    inference.resource(
        "graph-execution-context",
        ResourceType::host::<HostContext>(),
        |mut s, rep| {
            s.data_mut()
                .table
                .delete::<HostContext>(Resource::new_own(rep))?;
            Ok(())
        },
    )?;
    inference.func_wrap("[method]graph-execution-context.compute", calls::compute)
}

fn interface(name: &str) -> String {
    format!("wasi:nn/{name}@{WASI_NN_VERSION}")
}

fn link_errors(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut errors = linker.instance(&interface("errors"))?;
    errors.resource("error", ResourceType::host::<HostError>(), |mut s, rep| {
        s.data_mut()
            .table
            .delete::<HostError>(Resource::new_own(rep))?;
        Ok(())
    })?;
    errors.func_wrap(
        "[method]error.code",
        |mut s: Store<'_>, (e,): (Resource<HostError>,)| {
            charge(&mut s, 0)?;
            Ok((s.data().table.get(&e)?.0,))
        },
    )?;
    errors.func_wrap(
        "[method]error.data",
        |mut s: Store<'_>, (e,): (Resource<HostError>,)| {
            charge(&mut s, 0)?;
            let code = s.data().table.get(&e)?.0;
            Ok((error_of(error_number(code)).1.to_owned(),))
        },
    )
}

fn link_tensor(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut tensor = linker.instance(&interface("tensor"))?;
    tensor.resource(
        "tensor",
        ResourceType::host::<HostTensor>(),
        |mut s, rep| {
            let state = s.data_mut();
            let tensor = state.table.delete::<HostTensor>(Resource::new_own(rep))?;
            state.nn.release(tensor.held_bytes());
            Ok(())
        },
    )?;
    tensor.func_wrap(
        "[constructor]tensor",
        |mut s: Store<'_>, (dims, ty, data): (Vec<u32>, TensorType, Vec<u8>)| {
            let tensor = HostTensor {
                ty,
                dims,
                data: HostData::Raw(data),
            };
            charge(&mut s, tensor.held_bytes())?;
            let state = s.data_mut();
            state.nn.hold(tensor.held_bytes())?;
            Ok((state.push(tensor)?,))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.dimensions",
        |mut s: Store<'_>, (t,): (Resource<HostTensor>,)| {
            let dims = s.data().table.get(&t)?.dims.clone();
            charge(&mut s, 4 * dims.len() as u64)?;
            Ok((dims,))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.ty",
        |mut s: Store<'_>, (t,): (Resource<HostTensor>,)| {
            charge(&mut s, 0)?;
            Ok((s.data().table.get(&t)?.ty,))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.data",
        |mut s: Store<'_>, (t,): (Resource<HostTensor>,)| {
            let len = s.data().table.get(&t)?.data.bytes().len() as u64;
            charge(&mut s, len)?;
            let state = s.data_mut();
            state.nn.moved(len)?;
            Ok((state.table.get(&t)?.data.bytes().to_vec(),))
        },
    )
}

fn link_graph(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut graph = linker.instance(&interface("graph"))?;
    graph.resource("graph", ResourceType::host::<HostGraph>(), |mut s, rep| {
        s.data_mut()
            .table
            .delete::<HostGraph>(Resource::new_own(rep))?;
        Ok(())
    })?;
    graph.func_wrap("load", calls::load)?;
    graph.func_wrap("load-by-name", calls::load_by_name)?;
    graph.func_wrap("[method]graph.init-execution-context", calls::init_context)
}
