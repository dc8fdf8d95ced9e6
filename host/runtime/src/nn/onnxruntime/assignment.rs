//! Which operators of a loaded model ONNX Runtime runs where.
//!
//! The binding has no safe form of this part of the C interface (`Session_GetEpGraphAssignmentInfo`
//! of `onnxruntime_c_api.h`, since 1.24), so the calls are made here. The library records the
//! assignment only if the session's option `session.record_ep_graph_assignment_info` is set.
//!
//! What it records of the preferred provider is not complete (operators that a layout pass moves
//! are missing); what is left for others is: compared with the library's own profile, every
//! operator that ran elsewhere was in this list.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::ptr;

use ort::AsPointer as _;
use ort::session::Session;
use ort::sys::{OrtEpAssignedNode, OrtEpAssignedSubgraph, OrtStatusPtr};

use super::Fallback;
use super::provider::Provider;
use crate::nn::backend::BackendError;

/// The session option that makes the library keep the assignment.
pub(super) const RECORD: &str = "session.record_ep_graph_assignment_info";

/// Most kinds of operators that are told apart; the rest are counted together. It is the bound of
/// the environment document.
const KINDS_MAX: usize = 255;
/// Longest operator name that is kept, in bytes: names of operators are in the model's file.
const OPERATOR_BYTES: usize = 64;

/// The operators that do not run on `asked`.
///
/// # Errors
///
/// [`BackendError::Failed`] if the library does not say.
pub(super) fn fallback(session: &Session, asked: Provider) -> Result<Fallback, BackendError> {
    let mut elsewhere = BTreeMap::new();
    for (provider, operators) in assigned(session)? {
        if provider == asked.library_name() {
            continue;
        }
        let provider = Provider::name_of(&provider);
        for operator in operators {
            let mut key = format!("{provider}/{}", plain(&operator));
            if !elsewhere.contains_key(&key) && elsewhere.len() >= KINDS_MAX {
                key = format!("{provider}/other");
            }
            *elsewhere.entry(key).or_insert(0) += 1;
        }
    }
    Ok(elsewhere)
}

/// An operator's name as far as it is one; a hostile file can call an operator anything.
fn plain(operator: &str) -> String {
    let plain: String = operator
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '?'
            }
        })
        .take(OPERATOR_BYTES)
        .collect();
    if plain.is_empty() { "?".into() } else { plain }
}

/// Providers with the types of the operators that each was assigned, one entry for each subgraph.
fn assigned(session: &Session) -> Result<Vec<(String, Vec<String>)>, BackendError> {
    let api = ort::api();
    let inner = session.inner();
    let mut subgraphs: *const *const OrtEpAssignedSubgraph = ptr::null();
    let mut count = 0;
    // SAFETY: the session is alive; the library writes a pointer to an array that lives as long as
    // it, and the array's length.
    checked(unsafe {
        (api.Session_GetEpGraphAssignmentInfo)(inner.ptr(), &mut subgraphs, &mut count)
    })?;
    // SAFETY: as above; nothing changes the array while the session is borrowed.
    let subgraphs = unsafe { slice(subgraphs, count) };
    subgraphs
        .iter()
        .map(|&subgraph| {
            let mut name = ptr::null();
            // SAFETY: the pointer came from the library and belongs to the living session.
            checked(unsafe { (api.EpAssignedSubgraph_GetEpName)(subgraph, &mut name) })?;
            let mut nodes: *const *const OrtEpAssignedNode = ptr::null();
            let mut count = 0;
            // SAFETY: as above.
            checked(unsafe {
                (api.EpAssignedSubgraph_GetNodes)(subgraph, &mut nodes, &mut count)
            })?;
            // SAFETY: as above.
            let nodes = unsafe { slice(nodes, count) };
            let operators = nodes
                .iter()
                .map(|&node| {
                    let mut operator = ptr::null();
                    // SAFETY: as above.
                    checked(unsafe { (api.EpAssignedNode_GetOperatorType)(node, &mut operator) })?;
                    // SAFETY: as above; the string belongs to the node.
                    Ok(unsafe { text(operator) })
                })
                .collect::<Result<_, BackendError>>()?;
            // SAFETY: as above; the string belongs to the subgraph.
            Ok((unsafe { text(name) }, operators))
        })
        .collect()
}

/// # Safety
///
/// `start` is null or points to `count` values that live for `'a`.
unsafe fn slice<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// # Safety
///
/// `text` is null or points to a string that ends with a zero byte.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// A status of the library as a result; it is freed.
fn checked(status: OrtStatusPtr) -> Result<(), BackendError> {
    if status.0.is_null() {
        return Ok(());
    }
    let api = ort::api();
    // SAFETY: a status that is not null has a message, and is freed once, after the message has
    // been copied.
    let message = unsafe {
        let message = text((api.GetErrorMessage)(status.0));
        (api.ReleaseStatus)(status.0);
        message
    };
    Err(BackendError::failed(format!(
        "the library does not tell where the operators run: {message}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_operators_are_made_plain() {
        assert_eq!(plain("Conv"), "Conv");
        assert_eq!(plain("a/b\n\u{e9}"), "a?b??");
        assert_eq!(plain(""), "?");
        assert_eq!(plain(&"x".repeat(1000)).len(), OPERATOR_BYTES);
    }
}
