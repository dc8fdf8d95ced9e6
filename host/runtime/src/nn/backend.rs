//! What an inference backend is to the rest of the runtime.
//!
//! A backend loads models from bytes and computes on tensors. It describes itself in a
//! [`BackendInfo`], from which the environment document of a receipt is made, so whatever changes
//! results must show there.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::manifest::ModelManifest;

use super::tensor::Tensor;

/// Loads models and describes itself. One per device of a worker.
pub trait Backend: Send + Sync {
    /// The facts about this backend that belong into a receipt's environment.
    fn describe(&self) -> BackendInfo;

    /// Loads a model. Called on an inference thread.
    ///
    /// # Errors
    ///
    /// [`BackendError::Malformed`] if the files are damaged or contradict the manifest,
    /// [`BackendError::Unsupported`] if they need what this backend lacks.
    fn load(
        &self,
        manifest: &ModelManifest,
        files: ModelFiles,
    ) -> Result<Arc<dyn LoadedModel>, BackendError>;

    /// Runs `body` on a thread that is prepared for this backend and returns when it is done.
    ///
    /// The inference pool calls this once per thread and `body` then serves jobs until the pool
    /// ends. A backend with threads of its own can run `body` on one of them, which saves every
    /// job a change of thread.
    ///
    /// # Errors
    ///
    /// [`BackendError::Failed`] if the thread cannot be prepared; `body` was not called then.
    fn on_thread(&self, body: &mut (dyn FnMut() + Send)) -> Result<(), BackendError> {
        body();
        Ok(())
    }
}

/// A model in memory, ready to compute; shared by the slots of a worker.
pub trait LoadedModel: Send + Sync {
    /// Computes all outputs that the manifest names, in its order, from all inputs that it names,
    /// in any order. Dimensions are as the guest sees them: `[1]` stands for rank 0.
    ///
    /// # Errors
    ///
    /// [`BackendError::InvalidInput`] if the inputs contradict the manifest, else see the type.
    fn compute(&self, inputs: Vec<(String, Tensor)>)
    -> Result<Vec<(String, Tensor)>, BackendError>;

    /// Bytes of memory that the model holds while it is loaded, apart from running computations.
    /// An estimate that a cache can count with; constant.
    fn resident_bytes(&self) -> u64;

    /// Operators of the model that run elsewhere than on the execution provider that the backend
    /// describes, as `provider/operator`, with their number. Constant.
    fn fallback(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }
}

/// What a backend is, in the words of the environment document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendInfo {
    /// Name of the inference library.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// Build options that can change results.
    pub build: String,
    /// Execution provider that really runs the model.
    pub execution_provider: String,
    /// Device; `cpu` for all processors of one baseline.
    pub device: String,
    /// Driver version; empty without one.
    pub driver: String,
    /// Precision of the arithmetic.
    pub precision: String,
    /// Threads per computation.
    pub threads: u32,
    /// Instruction-set level of the processor as the backend's dispatch sees it, see
    /// [`cpu_baseline`].
    pub cpu_baseline: String,
    /// Whether a GPU computes.
    pub gpu: bool,
    /// Settings of the execution provider that can change results.
    pub options: BTreeMap<String, String>,
}

/// Why a model could not be loaded or a computation gave no result.
///
/// The texts are for logs and terminals. They never enter a receipt and never reach a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The model's files are damaged, or contradict its manifest.
    #[error(
        "the model is malformed: {0}; hint: check that the file is the one the manifest was made for, and make the manifest again if it is"
    )]
    Malformed(String),
    /// The model needs something that this backend does not have.
    #[error(
        "this backend cannot run the model: {0}; hint: use another backend, or export the model differently"
    )]
    Unsupported(String),
    /// The inputs contradict the manifest: a name, an element type or a dimension.
    #[error(
        "input `{tensor}` is refused: {why}; hint: `adit inspect` shows the inputs that the model takes"
    )]
    InvalidInput {
        /// Name of the input.
        tensor: String,
        /// What is wrong with it.
        why: String,
    },
    /// An input value is valid for the manifest but this backend cannot represent it.
    #[error(
        "element {index} of input `{tensor}` is {value}, which this backend cannot represent: {why}; hint: use a smaller value or another backend"
    )]
    ValueOutOfRange {
        /// Name of the input.
        tensor: String,
        /// Index of the element in row-major order.
        index: u64,
        /// The value, as text.
        value: String,
        /// The range that is supported.
        why: String,
    },
    /// There is not enough memory within the limit.
    #[error(
        "not enough memory for {what}: {needed} bytes needed, {available} available; hint: raise the model memory limit, or run fewer models at once"
    )]
    OutOfMemory {
        /// What the memory was for.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes available.
        available: u64,
    },
    /// The backend reported an error, or gave outputs that contradict the manifest.
    #[error(
        "inference failed: {0}; hint: run the model with other inputs or another backend to find the cause"
    )]
    Failed(String),
    /// The library or the device cannot be used at all. The text says what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The backend panicked. It was contained; other models go on.
    #[error(
        "the inference library panicked: {0}; hint: this is a defect of the library or of the model file, please report it"
    )]
    Panicked(String),
}

impl BackendError {
    pub(crate) fn malformed(why: impl Display) -> Self {
        Self::Malformed(bounded(why))
    }

    pub(crate) fn unsupported(why: impl Display) -> Self {
        Self::Unsupported(bounded(why))
    }

    pub(crate) fn unavailable(why: impl Display) -> Self {
        Self::Unavailable(bounded(why))
    }

    pub(crate) fn failed(why: impl Display) -> Self {
        Self::Failed(bounded(why))
    }

    pub(crate) fn invalid_input(tensor: &str, why: impl Display) -> Self {
        Self::InvalidInput {
            tensor: bounded(tensor),
            why: bounded(why),
        }
    }
}

/// Gives a model's files to a loader, by content hash. Implemented by the blob store.
pub trait FileSource {
    /// The bytes of the blob with this hash, which are expected to be `len` bytes.
    ///
    /// The result is checked against both, so that an implementation may trust its storage.
    ///
    /// # Errors
    ///
    /// A sentence for the log if the blob cannot be had.
    fn read(&self, hash: &Hash, len: u64) -> Result<Vec<u8>, String>;
}

impl<F: Fn(&Hash, u64) -> Result<Vec<u8>, String>> FileSource for F {
    fn read(&self, hash: &Hash, len: u64) -> Result<Vec<u8>, String> {
        self(hash, len)
    }
}

/// The files of one model, by the names that the manifest gives them, in memory.
#[derive(Default)]
pub struct ModelFiles {
    files: BTreeMap<String, Vec<u8>>,
}

impl ModelFiles {
    /// Files that are already in memory. Their hashes are not checked.
    pub fn from_memory(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self {
            files: files.into_iter().collect(),
        }
    }

    /// Reads all files of a manifest and checks each one's length and hash.
    ///
    /// # Errors
    ///
    /// [`BackendError::Failed`] if a file cannot be read, [`BackendError::Malformed`] if its length
    /// or hash is not the manifest's.
    pub fn read(manifest: &ModelManifest, source: &dyn FileSource) -> Result<Self, BackendError> {
        let mut files = BTreeMap::new();
        for (name, file) in manifest.files.iter() {
            let bytes = source.read(&file.hash, file.len).map_err(|why| {
                BackendError::failed(format!("model file `{name}` is not available: {why}"))
            })?;
            if bytes.len() as u64 != file.len {
                return Err(BackendError::malformed(format!(
                    "file `{name}` has {} bytes, the manifest says {}",
                    bytes.len(),
                    file.len
                )));
            }
            if Hash::of(&bytes) != file.hash {
                return Err(BackendError::malformed(format!(
                    "the content of file `{name}` does not have the hash that the manifest states"
                )));
            }
            files.insert(name.to_string(), bytes);
        }
        Ok(Self { files })
    }

    /// Takes the only file out.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unsupported`] if there is none or more than one.
    pub fn into_single(self) -> Result<(String, Vec<u8>), BackendError> {
        let count = self.files.len();
        let mut files = self.files.into_iter();
        match (files.next(), files.next()) {
            (Some(file), None) => Ok(file),
            _ => Err(BackendError::unsupported(format!(
                "it consists of {count} files and this backend takes exactly one"
            ))),
        }
    }
}

/// Runs `f` and turns a panic into [`BackendError::Panicked`].
pub(crate) fn contained<T>(f: impl FnOnce() -> Result<T, BackendError>) -> Result<T, BackendError> {
    // A model stays usable after a panic: what `f` touches is either owned by the call or guarded
    // by locks, which report their poisoning by another panic.
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|payload| Err(BackendError::Panicked(panic_text(&*payload))))
}

/// The message of a panic, as far as it has one.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    bounded(text.unwrap_or("no message"))
}

/// The text, cut to 512 bytes: messages may quote a hostile file.
fn bounded(text: impl Display) -> String {
    const MAX: usize = 512;
    let mut text = text.to_string();
    if text.len() > MAX {
        let end = (0..=MAX)
            .rev()
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

/// The instruction-set level that libraries with run-time dispatch find on this processor.
///
/// `x86-64-v1` to `x86-64-v4` are the levels of the x86-64 psABI. Dot-product extensions are
/// appended because int8 kernels give other results with them: without VNNI, pairs of products
/// saturate at 16 bits.
pub fn cpu_baseline() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        x86_64_baseline()
    }
    #[cfg(target_arch = "aarch64")]
    {
        let mut baseline = String::from("aarch64");
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            baseline.push_str("+dotprod");
        }
        if std::arch::is_aarch64_feature_detected!("i8mm") {
            baseline.push_str("+i8mm");
        }
        baseline
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        std::env::consts::ARCH.to_string()
    }
}

#[cfg(target_arch = "x86_64")]
fn x86_64_baseline() -> String {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("cmpxchg16b")
        && has!("popcnt")
        && has!("sse3")
        && has!("ssse3")
        && has!("sse4.1")
        && has!("sse4.2");
    let v3 = v2
        && has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt")
        && has!("movbe");
    let v4 = v3
        && has!("avx512f")
        && has!("avx512bw")
        && has!("avx512cd")
        && has!("avx512dq")
        && has!("avx512vl");
    let mut baseline = String::from(match (v2, v3, v4) {
        (_, _, true) => "x86-64-v4",
        (_, true, _) => "x86-64-v3",
        (true, _, _) => "x86-64-v2",
        _ => "x86-64-v1",
    });
    if v4 && has!("avx512vnni") {
        baseline.push_str("+avx512vnni");
    }
    baseline
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let number = 3;
        let error = contained::<()>(|| panic!("at {number}")).unwrap_err();
        assert_eq!(error, BackendError::Panicked("at 3".into()));
        assert_eq!(contained(|| Ok(1)), Ok(1));
    }

    #[test]
    fn messages_are_bounded_at_a_character() {
        let text = bounded("\u{e9}".repeat(600));
        assert!(text.len() <= 516);
        assert!(text.ends_with("\u{e9} ..."));
        assert_eq!(bounded("short"), "short");
    }

    #[test]
    fn the_baseline_is_stable_and_names_the_architecture() {
        assert_eq!(cpu_baseline(), cpu_baseline());
        if cfg!(target_arch = "x86_64") {
            assert!(cpu_baseline().starts_with("x86-64-v"));
        }
    }
}
