//! The recorded calls of `wasi:nn`: load, load-by-name, init-execution-context, compute.

use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::onnx;
use adit_protocol::tensor::DType;
use adit_protocol::transcript::{Call, Op, TensorRef, chain_next, chain_start};
use wasmtime::AsContextMut as _;
use wasmtime::component::Resource;

use super::{
    Fallible, HostContext, HostData, HostGraph, HostTensor, ModelEntry, Store, error_number,
    refuse, tensor_type,
};
use crate::bindings::{ErrorCode, ExecutionTarget, GraphEncoding};
use crate::nn::tensor::Tensor;
use crate::record::Request;
use crate::state::{NESTED_LIST_BYTES, charge};
use crate::stop::Stop;

/// Parts of a model that a guest loads of which the transcript keeps the hashes.
pub const LOAD_PARTS_RECORDED: usize = 16;
/// Bytes of a name that no model has which the transcript keeps.
pub const UNKNOWN_NAME_BYTES: usize = 128;

fn blank_call(op: Op) -> Call {
    Call {
        op,
        name: None,
        manifest: None,
        context: None,
        chain: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        nn_units: 0,
        environment: None,
        error: None,
    }
}

pub(super) fn load_by_name(mut s: Store<'_>, (name,): (String,)) -> Fallible<Resource<HostGraph>> {
    charge(&mut s, name.len() as u64)?;
    let state = s.data_mut();
    let mut call = blank_call(Op::LoadByName);
    let answer = match state.nn.models.get(&name).cloned() {
        None => {
            call.name = Some(short(name));
            call.error = Some(error_number(ErrorCode::NotFound));
            state.nn.session.call(call, Request::Refused)?
        }
        Some(entry) => {
            call.name = Some(name);
            call.manifest = Some(entry.hash);
            let request = Request::LoadByName {
                hash: entry.hash,
                manifest: &entry.manifest,
            };
            let answer = state.nn.session.call(call, request)?;
            if answer.error.is_none() {
                return Ok((Ok(state.push(HostGraph(entry))?),));
            }
            answer
        }
    };
    refuse(state, answer.error.unwrap_or(8))
}

/// A name that is not in the spec can be as long as the guest likes; the transcript keeps the
/// beginning.
fn short(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(UNKNOWN_NAME_BYTES));
    name
}

pub(super) fn load(
    mut s: Store<'_>,
    (builder, encoding, target): (Vec<Vec<u8>>, GraphEncoding, ExecutionTarget),
) -> Fallible<Resource<HostGraph>> {
    let len: u64 = builder.iter().map(|part| part.len() as u64).sum();
    let lists = NESTED_LIST_BYTES.saturating_mul(builder.len() as u64);
    charge(&mut s, len.saturating_add(lists))?;
    let state = s.data_mut();
    state.nn.loaded = state.nn.loaded.saturating_add(len);
    if state.nn.loaded > state.nn.loaded_max {
        return Err(Stop::Limit {
            limit: "model_bytes",
            max: state.nn.loaded_max,
        }
        .into());
    }

    let mut call = blank_call(Op::Load);
    // One part is what is accepted; of a list that is refused, the beginning says enough.
    call.inputs = builder
        .iter()
        .take(LOAD_PARTS_RECORDED)
        .map(|part| TensorRef {
            name: String::new(),
            hash: Hash::of(part),
        })
        .collect();
    // A guest's own model runs on the CPU reference: a device that was asked for and is not used
    // must never be replaced in silence.
    let refused = match (encoding, target, builder.len()) {
        (GraphEncoding::Onnx | GraphEncoding::Autodetect, ExecutionTarget::Cpu, 1) => None,
        (GraphEncoding::Onnx | GraphEncoding::Autodetect, ExecutionTarget::Cpu, _) => {
            Some(ErrorCode::InvalidArgument)
        }
        (GraphEncoding::Onnx | GraphEncoding::Autodetect, _, _) => {
            Some(ErrorCode::UnsupportedOperation)
        }
        _ => Some(ErrorCode::InvalidEncoding),
    };
    if let Some(code) = refused {
        call.error = Some(error_number(code));
        state.nn.session.call(call, Request::Refused)?;
        return refuse(state, error_number(code));
    }
    let bytes = builder.into_iter().next().unwrap_or_default();
    let Ok(manifest) = onnx::manifest_from_onnx(&bytes, "model.onnx", &onnx::OnnxLimits::default())
    else {
        call.error = Some(error_number(ErrorCode::InvalidEncoding));
        state.nn.session.call(call, Request::Refused)?;
        return refuse(state, error_number(ErrorCode::InvalidEncoding));
    };
    let manifest = Arc::new(manifest);
    let hash = manifest.hash();
    call.manifest = Some(hash);
    let request = Request::Load {
        hash,
        manifest: &manifest,
        bytes,
    };
    let answer = state.nn.session.call(call, request)?;
    if let Some(number) = answer.error {
        return refuse(state, number);
    }
    let entry = ModelEntry {
        hash,
        manifest,
        brought: true,
    };
    Ok((Ok(state.push(HostGraph(entry))?),))
}

pub(super) fn init_context(
    mut s: Store<'_>,
    (graph,): (Resource<HostGraph>,),
) -> Fallible<Resource<HostContext>> {
    charge(&mut s, 0)?;
    let state = s.data_mut();
    let model = state.table.get(&graph)?.0.clone();
    let id = state.nn.contexts;
    state.nn.contexts = id.saturating_add(1);
    let mut call = blank_call(Op::InitContext);
    call.manifest = Some(model.hash);
    call.context = Some(id);
    let answer = state.nn.session.call(call, Request::InitContext)?;
    if let Some(number) = answer.error {
        return refuse(state, number);
    }
    let chain = chain_start(&model.hash, id);
    let context = HostContext { model, id, chain };
    Ok((Ok(state.push(context)?),))
}

pub(super) fn compute(
    mut s: Store<'_>,
    (context, inputs): (Resource<HostContext>, Vec<(String, Resource<HostTensor>)>),
) -> Fallible<Vec<(String, Resource<HostTensor>)>> {
    // The tensors are the host's now, and are released whatever comes of the call.
    let state = s.data_mut();
    let mut tensors = Vec::with_capacity(inputs.len());
    let mut bytes = 0u64;
    for (name, tensor) in inputs {
        let tensor = state.table.delete(tensor)?;
        state.nn.release(tensor.held_bytes());
        bytes = bytes.saturating_add(tensor.held_bytes() + name.len() as u64);
        tensors.push((name, tensor));
    }
    let names = NESTED_LIST_BYTES.saturating_mul(tensors.len() as u64);
    charge(&mut s.as_context_mut(), bytes.saturating_add(names))?;
    let state = s.data_mut();
    state.nn.moved(bytes)?;

    let (model, id, chain) = {
        let context = state.table.get(&context)?;
        (context.model.clone(), context.id, context.chain)
    };
    let mut call = blank_call(Op::Compute);
    call.manifest = Some(model.hash);
    call.context = Some(id);

    let Some(inputs) = check(&model.manifest, tensors, &mut call) else {
        // What was wrong with refused inputs follows from the manifest, and their number and
        // names are the guest's to choose: the transcript keeps only that they were refused.
        call.error = Some(error_number(ErrorCode::InvalidArgument));
        state.nn.session.call(call, Request::Refused)?;
        return refuse(state, error_number(ErrorCode::InvalidArgument));
    };
    call.inputs = inputs
        .iter()
        .map(|(name, tensor)| TensorRef {
            name: name.clone(),
            hash: tensor.hash(),
        })
        .collect();
    let chain = chain_next(&chain, &call.inputs);
    call.chain = Some(chain);
    state.table.get_mut(&context)?.chain = chain;

    let request = Request::Compute {
        hash: model.hash,
        manifest: &model.manifest,
        brought: model.brought,
        inputs,
    };
    let answer = state.nn.session.call(call, request)?;
    if let Some(number) = answer.error {
        return refuse(state, number);
    }
    let moved: u64 = answer
        .outputs
        .iter()
        .map(|(_, tensor)| tensor.bytes().len() as u64)
        .sum();
    charge(&mut s.as_context_mut(), moved)?;
    let state = s.data_mut();
    state.nn.moved(moved)?;
    let mut outputs = Vec::with_capacity(answer.outputs.len());
    for (name, tensor) in answer.outputs {
        let tensor = HostTensor {
            ty: tensor_type(tensor.dtype()),
            dims: tensor.dims().to_vec(),
            data: HostData::Whole(tensor),
        };
        state.nn.hold(tensor.held_bytes())?;
        outputs.push((name, state.push(tensor)?));
    }
    Ok((Ok(outputs),))
}

/// The inputs as whole tensors in the manifest's order, if they satisfy the manifest; also prices
/// the call.
fn check(
    manifest: &ModelManifest,
    tensors: Vec<(String, HostTensor)>,
    call: &mut Call,
) -> Option<Vec<(String, Tensor)>> {
    let mut inputs = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let name = resolve(manifest, &name)?.to_owned();
        inputs.push((name, tensor.whole()?));
    }
    let shapes: Vec<(&str, DType, &[u32], usize)> = inputs
        .iter()
        .map(|(name, t)| (name.as_str(), t.dtype(), t.dims(), t.bytes().len()))
        .collect();
    manifest.check_inputs(&shapes).ok()?;
    call.nn_units = manifest.nn_units(inputs.iter().map(|(_, t)| t.dims()));
    // The order in which a guest lists its inputs means nothing to the model.
    inputs.sort_by_key(|(name, _)| manifest.inputs.iter().position(|spec| spec.name == *name));
    Some(inputs)
}

/// The name of the input that a guest means: an input of that name, else, for a decimal number
/// without sign or leading zeros, the input at that position of the manifest.
///
/// Positions are for programs written for the older `wasi_ephemeral_nn`, which knows inputs by
/// number only. Two names for one input are found as an input that was given twice.
fn resolve<'m>(manifest: &'m ModelManifest, given: &str) -> Option<&'m str> {
    let named = manifest.inputs.iter().find(|spec| spec.name == given);
    let spec = named.or_else(|| {
        let position: usize = given.parse().ok()?;
        let canonical = position.to_string() == given;
        manifest.inputs.get(position).filter(|_| canonical)
    })?;
    Some(&spec.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_found_by_name_and_then_by_position() {
        let file = include_bytes!("../../../tests/fixtures/double.onnx");
        let limits = onnx::OnnxLimits::default();
        let mut manifest = onnx::manifest_from_onnx(file, "model.onnx", &limits).unwrap();
        let x = manifest.inputs[0].clone();
        manifest.inputs = ["x", "y", "0"]
            .map(|name| adit_protocol::manifest::TensorSpec {
                name: name.to_owned(),
                ..x.clone()
            })
            .into();
        let found = |given: &str| resolve(&manifest, given);
        assert_eq!(found("y"), Some("y"));
        assert_eq!(found("1"), Some("y"));
        assert_eq!(found("2"), Some("0"));
        // A name that is there is that input, whatever its position.
        assert_eq!(found("0"), Some("0"));
        let none = [
            "", "z", "3", "01", "00", "+1", "-0", " 1", "1 ", "1.0", "\u{661}",
        ];
        for given in none {
            assert_eq!(found(given), None, "{given:?}");
        }
        let huge = "99999999999999999999999";
        assert_eq!(found(huge), None);
    }
}
