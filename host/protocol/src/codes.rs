//! The typed codes of everything that can go wrong, as they go over a wire and to people.
//!
//! A code is stable once it is published: programs match on it. Messages are not; they carry the
//! particulars of one case, a code carries what is true of all of them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::status::Status;

/// Declares the codes with their texts, so that none can lack one.
macro_rules! codes {
    ($($variant:ident $text:literal $retryable:literal $summary:literal $explain:literal)*) => {
        /// What happened, by kind. The statuses of a run come first, under their own names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $summary] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The code in kebab case, as `out-of-fuel`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// What happened, in one line without a full stop.
            pub const fn summary(self) -> &'static str {
                match self { $(Code::$variant => $summary,)* }
            }

            /// What happened, why, and what to do about it, in a few sentences.
            pub const fn explain(self) -> &'static str {
                match self { $(Code::$variant => $explain,)* }
            }

            /// Whether the same request may succeed later or elsewhere without being changed.
            pub const fn retryable(self) -> bool {
                match self { $(Code::$variant => $retryable,)* }
            }
        }
    };
}

codes! {
    Ok "ok" false
        "the task returned a result"
        "The guest ran to its end and returned a result, which is the output. There is nothing to \
         do. The receipt says what ran and on what; `receipt verify` checks its signatures and \
         `receipt replay` runs it again."
    TaskError "task-error" false
        "the task returned an error of its own"
        "The component ran properly and decided that it could not do its work: it returned an \
         error, or a command exited with a code other than 0. The cause lies in the task's input \
         or logic, not in the runtime, and every replay ends the same way. Read the task's message \
         or its stderr, then change the input or the task."
    Trap "trap" false
        "the task did something that WebAssembly forbids"
        "The guest executed an unreachable instruction, accessed memory out of bounds, divided by \
         zero or called through a wrong pointer; in Rust a panic ends as a trap. The same input \
         traps on every machine, and the receipt reports the whole fuel limit as used. Look for a \
         panic message on the task's stderr, and run the task's logic natively under a debugger."
    OutOfFuel "out-of-fuel" false
        "the task used all its fuel"
        "Each WebAssembly operator costs fuel, and so do host calls by the bytes they move. The \
         guest reached the limit of its spec, at the same point on every machine. If the task was \
         not in an endless loop, run it again with a higher limit (`--fuel`); the receipt of a \
         successful run says how much it really takes."
    LimitExceeded "limit-exceeded" false
        "the task ran into a limit of its spec"
        "The guest asked for more memory, output, tensors, handles or another bounded thing than \
         its spec allows, and the run was ended there; this happens at the same point on every \
         machine. The message names the limit. Raise it (for memory with `--memory`) if the task \
         truly needs it, or make the task use less."
    InvalidComponent "invalid-component" false
        "the component cannot be run"
        "The bytes are a component, but one that no host can run: it is malformed, uses a feature \
         of WebAssembly that the engine has switched off, or needs more than the engine's fixed \
         limits allow. Every machine refuses it. Build it again with `adit build`, which checks \
         this, and `inspect` shows what the component imports and exports."
    StackOverflow "stack-overflow" false
        "the task's calls were nested too deeply"
        "The guest used up its stack. How much stack a function takes depends on the compiler and \
         the processor, so another machine may come to another result and this outcome proves \
         nothing. Deep recursion is the usual cause: turn it into a loop, or bound its depth."
    Deadline "deadline" true
        "the attempt took longer than its deadline"
        "The wall-clock budget of one attempt ran out before the task ended. That depends on how \
         fast and how busy the machine was, so it proves nothing about the task. Try again, on a \
         faster machine if need be, or set a longer deadline (`--deadline`)."
    HostFault "host-fault" true
        "the host failed, through no fault of the task"
        "Something outside the guest went wrong while it ran: the inference backend failed, a \
         worker process died, or the disk did. The run is void and costs the submitter nothing. \
         Try again; if it comes back on the same machine, its log names the cause."
    Cancelled "cancelled" false
        "the task was cancelled"
        "Whoever submitted the task, or the operator of the machine, ended it before it was done. \
         Output that had been emitted by then was delivered. Submit the task again if the result \
         is still wanted."
    Unavailable "unavailable" true
        "the input or a model could not be had"
        "The machine that was to run the task could not fetch its input, its component or one of \
         its models, so nothing ran. The holder of the blob may be unreachable or no longer have \
         it. Make sure that the blob exists where the spec says, then try again."
    CompileLimit "compile-limit" false
        "compiling the component took too much time or memory"
        "Components are compiled in a process with bounds, since a small component can be built to \
         take hours. This one ran into them. Make it smaller: build in release mode, drop unused \
         dependencies, strip debug information."
    NotAComponent "not-a-component" false
        "the file is not a WebAssembly component"
        "The file does not begin as a WebAssembly binary does. It may be source code, a native \
         program, an archive, or the text form of WebAssembly. Give the `.wasm` file that \
         `adit build`, or `cargo build --target wasm32-wasip2`, has made."
    CoreModule "core-module" false
        "the file is a core module, not a component"
        "The file is WebAssembly of the older kind, as `wasm32-wasip1` and many compilers make it. \
         The runtime takes components only, so that what a guest may import is typed. Build for \
         `wasm32-wasip2`, or let `adit build` adapt the module."
    UnknownImport "unknown-import" false
        "the component imports something that no host offers"
        "A component runs only if everything it imports is part of its world. This one asks for \
         more, often a network socket, a file system beyond the sandbox, or another version of an \
         interface; the message names it. Remove the dependency that needs it, or build against \
         the versions in the `wit` folder."
    MissingExport "missing-export" false
        "the component exports neither world's entry point"
        "A task exports `run` of the world `adit:task/task`, or is a program with a main function, \
         which exports `wasi:cli/run`. This component has neither. A library was built instead of \
         a program, or the macro `#[adit_sdk::task]` is missing."
    ComponentTooLarge "component-too-large" false
        "the component is larger than the engine accepts"
        "Size is bounded so that fetching and compiling a component stay within what every machine \
         can do. This one is above the bound that the message names. Build in release mode, strip \
         debug information, and pass large data as input or as a model and not inside the \
         component."
    ModelNotFound "model-not-found" false
        "no model of that name or hash is known"
        "The task asked for a model that its spec does not name, or the spec names a manifest that \
         is not in the store. Names are those given with `--model NAME=FILE`, letter by letter. \
         Add the model to the spec, or fetch it first."
    ModelMismatch "model-mismatch" false
        "the model does not fit its manifest"
        "The manifest promises names, types and shapes of tensors, and everything that a guest \
         sees comes from it. The model file has others, or its answer had. Write a new manifest \
         for this file, or find the file that belongs to the manifest by its hash."
    ModelMalformed "model-malformed" false
        "the model file cannot be read"
        "The backend refused the file: it is cut off, of another format than the manifest says, or \
         uses operators that this backend does not have. Check the file's hash against its source, \
         and its format and operator set against the backend."
    BlobMissing "blob-missing" true
        "a blob is not in the store"
        "Components, inputs, outputs, models and tensors are blobs named by their hash, and this \
         one is not here. It was never stored, was deleted, or belongs to another state folder. \
         The message has its name; fetch it, or point `--state` to the folder that has it."
    BlobCorrupt "blob-corrupt" false
        "a blob does not have the contents that its name says"
        "A blob's name is the hash of its bytes, and these bytes have another hash. The disk, a \
         transfer or a person altered it. Nothing was done with it. Delete the file and fetch the \
         blob again; if it comes back, check the disk."
    BadSignature "bad-signature" false
        "a signature does not fit"
        "The signature was made by another key, under another context or over other bytes than \
         these. A single altered bit is enough. Do not trust the document: get it again from its \
         source, and compare the public key with the one you expect."
    BadEncoding "bad-encoding" false
        "the bytes are not in the format that was expected"
        "Every document has exactly one encoding, and these bytes are not one: they are cut off, \
         have fields that this version does not know, or are another kind of file. The message \
         names the document and the first offending byte. Get the file again, or use the program \
         version that wrote it."
    BadKey "bad-key" false
        "the key, address or phrase is not valid"
        "A public key must be a valid point other than zero, an address must have its checksum and \
         the prefix of this network, and a recovery phrase must be words of the list with a \
         checksum. The message says which of these failed. Copy the text again from its source."
    BadPassphrase "bad-passphrase" false
        "the password does not open the keystore"
        "The key file was found, but the password does not decrypt it. The file itself may also \
         have been damaged, which looks the same. Check the keyboard's layout and caps lock; a \
         lost password cannot be recovered, but the recovery phrase makes the same key again."
    Diverged "diverged" false
        "the replay came to another result than the receipt"
        "The component was run again with the recorded answers of its inference calls, and its \
         output, fuel, peak memory or status, or one of its calls, is not what the receipt says. \
         Either the receipt is wrong or this engine is not the same; the engine id tells. `receipt \
         diff` shows the first call that differs. Anyone can repeat this check."
    NotDisclosed "not-disclosed" false
        "the task's spec and blobs are not disclosed to you"
        "The submitter chose that only the parties, or only checkers, are given the spec and the \
         blobs. The receipt's signatures can be checked without them, its execution cannot. Ask \
         the submitter for them; the check was not performed, which says nothing about its result."
    EngineMismatch "engine-mismatch" false
        "the result belongs to another engine"
        "Fuel and results are defined by the engine document, whose hash is the engine id. The \
         spec names another id than this program has, so a comparison would mean nothing. Use the \
         version of the program that has this engine; the engine document names its parts."
    WorkerCrashed "worker-crashed" true
        "the worker process died"
        "Tasks run in a process of their own, and that process ended without an answer: a native \
         inference library crashed, or the system ended it. It was replaced. Try again; if the \
         same model brings it down each time, the backend or its driver is at fault."
    WorkerMemory "worker-memory" true
        "the worker process used too much memory"
        "An inference backend allocates memory outside the sandbox, so the process as a whole has \
         a bound, and this run went over it. The worker was replaced. Use a smaller batch or a \
         smaller model, or give the worker more memory."
    DeviceWrong "device-wrong" false
        "the device computes the model wrongly"
        "Before a device is used for a model its answers are compared with those of the built-in \
         backend, under the tolerance of the model's manifest. Here they differ by more. A driver or \
         a library with a defect does that without an error. Use another device for this model; after \
         an update `adit doctor --model` measures again."
    BackendUnavailable "backend-unavailable" true
        "ONNX Runtime was asked for and cannot be used"
        "Devices other than the built-in backend are reached by way of ONNX Runtime, a library that \
         is installed apart. It was not found, or is too old, or cannot be loaded; the message says \
         which. Install the Python package for your device (`onnxruntime-webgpu`, `onnxruntime-gpu`, \
         `onnxruntime-openvino` or `onnxruntime`), or name the library with `--onnxruntime`."
    GpuUnavailable "gpu-unavailable" true
        "a GPU was asked for and none can be used"
        "The task requires a GPU, and this machine has none, its driver did not load, or the \
         backend has no kernel for it. A CPU was not taken in its place, since the receipt would \
         then say something else than was ordered. The doctor command shows what was found; or \
         ask for any device."
    StateLocked "state-locked" true
        "another process uses the state folder"
        "A state folder has one writer at a time, so that nothing is written twice. Another \
         process of this program holds its lock. Wait for it or end it, or give this one a folder \
         of its own with `--state`."
    StateCorrupt "state-corrupt" false
        "the state folder is damaged"
        "A file in the state folder is not what this program writes there, perhaps after a disk \
         error or an interrupted copy. Nothing was changed. Move the folder away and start with a \
         new one, or restore it from a backup; blobs can be fetched again, keys cannot."
    DiskFull "disk-full" true
        "there is no space left to write"
        "The file system that holds the state folder, or its quota, is full. What was being \
         written was not completed, and nothing refers to it. Free some space, or move the state \
         folder to a larger disk with `--state`."
    PermissionDenied "permission-denied" false
        "the system refused access to a file or folder"
        "The user that runs this program may not read or write the file that the message names. A \
         key file must moreover be readable by its owner alone. Change the owner or the mode, or \
         choose another folder."
    InvalidArgument "invalid-argument" false
        "an argument is not valid"
        "A value that was given is outside what it may be, or two of them contradict each other. \
         The message names it and says what is allowed. Change it and try again; nothing was done."
    Internal "internal" true
        "this program has an error of its own"
        "Something happened that its authors ruled out. No claim is made about the task or its \
         result. Please report it, with the message, the version and what you did; trying again \
         does no harm."
}

/// A text that is no code.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "there is no code of this name; hint: codes are in lower case with hyphens, as `out-of-fuel`"
)]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Code, UnknownCode> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or(UnknownCode)
    }
}

impl From<Status> for Code {
    fn from(status: Status) -> Code {
        match status {
            Status::Ok => Code::Ok,
            Status::TaskError => Code::TaskError,
            Status::Trap => Code::Trap,
            Status::OutOfFuel => Code::OutOfFuel,
            Status::LimitExceeded => Code::LimitExceeded,
            Status::InvalidComponent => Code::InvalidComponent,
            Status::StackOverflow => Code::StackOverflow,
            Status::Deadline => Code::Deadline,
            Status::HostFault => Code::HostFault,
            Status::Cancelled => Code::Cancelled,
            Status::Unavailable => Code::Unavailable,
            Status::CompileLimit => Code::CompileLimit,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_kebab_case_and_parse() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!(
                code.as_str()
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '-'),
                "{code}"
            );
        }
        assert_eq!("Ok".parse::<Code>(), Err(UnknownCode));
    }

    #[test]
    fn every_status_has_the_code_of_its_name() {
        for status in Status::ALL {
            assert_eq!(Code::from(status).as_str(), status.name());
        }
    }

    #[test]
    fn every_code_is_explained() {
        for code in Code::ALL {
            let summary = code.summary();
            assert!(!summary.ends_with('.') && summary.len() < 80, "{code}");
            let explain = code.explain();
            assert!(
                explain.matches(". ").count() >= 1 && explain.len() > 150 && explain.ends_with('.'),
                "{code}"
            );
            assert!(!explain.contains("  "), "{code}");
        }
    }
}
