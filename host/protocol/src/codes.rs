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
    BadProof "bad-proof" false
        "a proof of a log does not hold"
        "What a log shows was compared with the root that it has signed, and does not belong to it: \
         a file of it is damaged, or it shows other entries than it has signed. Keep the checkpoint \
         and the file that the message names; a mirror of the log may have the right one. Nothing \
         is known of the entries that could not be proven."
    LogForked "log-forked" false
        "a log has shown two histories"
        "A log only grows: each checkpoint continues all earlier ones. Here are two that cannot both \
         be true, and both bear the log's signature, so one of those who read it was deceived. The \
         message says where both are kept: they are evidence, and cost the coordinator its stake. \
         The innocent cause is a state folder that was restored from a backup or ran twice."
    NotCosigned "not-cosigned" true
        "too few witnesses have cosigned the checkpoint"
        "Witnesses cosign a checkpoint once they have seen that it continues all that they knew of \
         the log. Fewer of them have done so than were asked for. Right after a new checkpoint that \
         is normal, so try again in a moment. If it stays so, they are down, or refuse: ask them why."
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
    HelloFirst "hello-first" true
        "the coordinator does not know what the miner offers"
        "A miner says what it offers before it asks for work, and again after half a minute of \
         silence or when the coordinator was started anew. Nothing is lost: assignments and \
         receipts are kept. The program says hello by itself and polls again; nothing needs to be \
         done."
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
    JournalLost "journal-lost" false
        "the miner's journal does not have what the coordinator has of it"
        "A miner numbers its receipts for a coordinator, and signs each number once. The coordinator \
         has one that the journal here does not know, or another one of the same number: the state \
         folder was lost, restored from an older backup, or is in use on a second machine. To go on \
         would mean to sign a number twice, which costs stake, so this miner refuses. Restore the \
         newest journal, or make a new node key and register it."
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
    // What a server answers to any request.
    InvalidRequest "invalid-request" false
        "the request is not one that the server understands"
        "The body, a parameter or a header is malformed, is missing, or has a value outside what \
         it may be; the message names the field. Nothing was done. Correct the field: the server's \
         `/v1/openapi.json` describes each request, and sending the same one again does not help."
    NotFound "not-found" false
        "the server has nothing at that address"
        "The path of the request names no resource of this server. The address may have a typing \
         error, belong to another version of the interface, or be that of another node. Compare it \
         with the server's `/v1/openapi.json`."
    MethodNotAllowed "method-not-allowed" false
        "the address exists, but does not take that method"
        "The path is right and the method is not, as a POST to something that is only read. The \
         answer's `allow` header lists the methods that are taken. Nothing was done."
    RangeNotSatisfiable "range-not-satisfiable" false
        "the part that was asked for begins behind the end"
        "A part of a blob was asked for by its range of bytes, and the blob has no byte there. The \
         answer's `content-range` header says how many it has. A download that is to be continued \
         has all of it already, or what was kept of it belongs to another blob: ask for less, or \
         begin anew."
    TooLarge "too-large" false
        "the request is larger than the server accepts"
        "Every request has a bound on its headers and its body, so that no sender can fill the \
         memory of a node. The message says which bound it is. Send less at once, or pass large \
         data as a blob, which is streamed."
    Timeout "timeout" true
        "the other side took too long"
        "A request, an answer or a part of one did not come within its time, or came more slowly \
         than the slowest rate that is accepted. Whether the request took effect is not known. \
         Those with an idempotency key, and all that only read, can simply be sent again."
    Overloaded "overloaded" true
        "the server has as much work as it takes on"
        "A queue, a cache or the number of connections has reached its bound, and the server \
         refuses more in place of growing without end. Nothing was done. Wait as long as the \
         `retry-after` header says, then send the request again."
    Draining "draining" true
        "the node is about to stop and takes on nothing new"
        "Its operator has asked it to finish what it has and to end. Work under way is completed, \
         new work is refused. Send the request to another node, or again once this one has been \
         started anew."
    VersionMismatch "version-mismatch" false
        "the two programs do not speak the same version"
        "A message has a version, a format or a network that this program does not have, so it \
         cannot be taken for what it may mean. The message says what was expected. Bring both \
         sides to the same release; `/version` tells what a server runs."
    Unauthorized "unauthorized" false
        "the request has no token, or one that is not valid"
        "Clients prove who they are with a token in the header `authorization: Bearer TOKEN`. This \
         request had none, or one that the coordinator does not know: it may have been mistyped or \
         withdrawn. Ask the coordinator's operator for one."
    Forbidden "forbidden" false
        "you are known, but may not do that"
        "The token or the key is valid, and does not carry the right to this: a task belongs to the \
         client that submitted it, and an assignment to the miner that was drawn for it. Use the \
         token or the key of the owner."
    QuotaExceeded "quota-exceeded" true
        "the client has used up what its token allows"
        "Each token has a bound on tasks in flight, on tasks a minute and on bytes of blobs, and \
         the message says which one was reached. Nothing was done. Wait as long as the \
         `retry-after` header says, or ask the coordinator's operator for more."
    IdempotencyConflict "idempotency-conflict" false
        "the idempotency key was used before, for another request"
        "A key makes sure that one request takes effect once, however often it is sent. This one \
         came with a different body earlier, and the coordinator cannot tell which is meant. Use a \
         new key for a new request, and the old key only to send exactly the same one again."

    // Signed requests of nodes.
    BadRequestSignature "bad-request-signature" false
        "the signature of the request does not fit it"
        "Nodes sign each request: its method, authority, path, query and the digest of its body. \
         One of these was altered on the way, for instance by a proxy that rewrites the host, or \
         another key signed it, or a header of the signature is malformed. The message says which. \
         Check the coordinator's public address and the miner's key."
    RequestStale "request-stale" true
        "the request was signed too long ago, or in the future"
        "A signature holds for a short time only, so that a request that was overheard is of no use \
         later. Either the two clocks differ, or the request was under way too long, or the \
         coordinator has just been started and takes nothing that was signed before. Sign again; \
         if that does not help, set the clock by NTP."
    RequestReplayed "request-replayed" false
        "the same signed request has been received before"
        "Each signed request has a nonce, and this one was used already. Someone sent a copy, or a \
         client sent the same bytes again in place of signing anew. Nothing was done a second \
         time. A client that is unsure whether its request arrived signs it again with a new nonce."
    NotRegistered "not-registered" false
        "the node is not a member of this network"
        "The key that signed is not among the registered nodes, or not in this role. It may have \
         been rotated, or belong to another network. Register the node, or start the program with \
         the key that is registered; `network show` lists the members."
    Jailed "jailed" false
        "the node is excluded for what it did"
        "A proven fault, or quality below the bound in several epochs, has excluded this node from \
         drawing and from pay. The message and the log say which. After the time that the rules \
         set, its operator can ask for readmission."

    // Tasks, assignments and blobs at a coordinator.
    UnknownTask "unknown-task" false
        "the coordinator does not know that task"
        "No task of that id was submitted here, or it ended so long ago that only its receipts are \
         kept in the log. A task is known to the coordinator that took it and to no other. Check \
         the id and the coordinator's address."
    UnknownBlob "unknown-blob" true
        "the coordinator does not have that blob"
        "The task or the request names a blob by its hash, and none of that hash was uploaded here \
         or it has been removed since. Upload it with `PUT /v1/blobs/HASH`, then send the request \
         again. `task submit` does both."
    BlobTooLarge "blob-too-large" false
        "the blob is larger than this coordinator takes"
        "Blobs have a bound, by coordinator and by client, so that one upload cannot fill a disk. \
         The message says how large this one is and what the bound is. Make it smaller, split it, \
         or ask the operator for a higher bound."
    BlobMismatch "blob-mismatch" false
        "the bytes that were sent are not the blob that they were sent as"
        "A blob is named by the BLAKE3 hash of its bytes. The bytes that arrived hash to another \
         name, so they were altered or cut off on the way, or the file changed while it was sent. \
         They were thrown away. Hash the file again and repeat the transfer."
    UnknownAssignment "unknown-assignment" false
        "the coordinator has no such assignment for this node"
        "The receipt or acceptance names a task, an attempt or a replica that was not assigned to \
         the node that signed it. It may belong to another coordinator, or to a state of it that \
         was lost. Nothing is paid for work that was not assigned; the assignments are in the log."
    LeaseExpired "lease-expired" false
        "the result came after the assignment had expired"
        "An assignment holds until its deadline, and then the work is given to another miner. This \
         result was later, so it is not paid. A machine that is too slow for such tasks, or a slow \
         upload, is the usual cause: offer fewer slots, so that each task runs faster."
    Equivocation "equivocation" false
        "two different receipts were signed for one assignment"
        "A miner signs one receipt for an assignment and then only resends its bytes. Two different \
         bodies are proof of misconduct that anyone can check, and cost stake. The usual innocent \
         cause is a miner's state folder that was restored from a backup or copied to a second \
         machine. Stop both, and register a new node key."
    SeqOutOfOrder "seq-out-of-order" false
        "the receipt's sequence number is not the next one"
        "The receipts of a miner for one coordinator are numbered without gaps, and each names the \
         one before. This one has another number, or another predecessor. A receipt before it was \
         not handed in yet, or the miner's journal was lost. The message says what was expected; \
         a miner with its journal sends the missing ones first."
    StaleEngine "stale-engine" false
        "the engine is not one that the network pays for"
        "Fuel and results are defined by the engine document, and a network lists the engines that \
         are active. The one of this node or this task is not, or is no longer. Install the release \
         of the program that the network uses; `network show` lists its engines."
    TaskEnded "task-ended" false
        "the task has ended already"
        "A task that has a result, has failed or was cancelled stays as it is: it can neither be \
         cancelled nor be given another result. Read what became of it with `task show`, and \
         submit it again if another run is wanted."
    NoEligibleMiner "no-eligible-miner" true
        "no miner of the network can run the task"
        "The coordinator looked for a miner that meets the requirements, is active, and has not had \
         this task before, and found none within the time that the task allows. `task explain` \
         says for each miner what is missing. Relax the requirements, ask for fewer replicas, or \
         try again when more miners are there."
    NoQuorum "no-quorum" false
        "the miners did not agree on a result"
        "The task was run by several miners, and too few came to the same output and status. Either \
         some of them were wrong, or the task is not repeatable under its tolerance. The receipts \
         are in the log: `receipt replay` tells which of them are right."
    AttemptsExhausted "attempts-exhausted" true
        "all attempts that the task allows have failed"
        "Each attempt ended without a result that counts: a lease ran out, a host failed or a \
         receipt was rejected. The coordinator does not try without end. `task explain` lists the \
         attempts with their reasons; a longer deadline is the usual remedy for expired leases."

    // Why a task still waits.
    WaitingForMiner "waiting-for-miner" true
        "no miner is polling at the moment"
        "The task is accepted and durable, and no active miner has asked this coordinator for work \
         in the last half minute. It will be assigned as soon as one does. On a network of your \
         own, start a miner; `miner status` shows whether it reaches the coordinator."
    WaitingForSlot "waiting-for-slot" true
        "all miners that could run the task are busy"
        "There are miners that meet the task's requirements, and all their slots are taken. The \
         task is next when one becomes free, in the order of submission. More miners or more slots \
         shorten the wait."
    WaitingForRoster "waiting-for-roster" true
        "the miners for the next draw are being fixed"
        "Miners are drawn from a roster that stands in the log before the draw, so that nobody can \
         choose. The set of miners has just changed, or the coordinator has just started, and the \
         next roster is written within a second. Nothing needs to be done."
    RequirementsUnmet "requirements-unmet" true
        "no active miner meets the task's requirements"
        "Miners are polling, and each lacks something that the task asks for: a GPU, memory of a \
         device, an environment, an engine. The message counts them by what they lack. Relax the \
         requirement that excludes most, or wait for a miner that has it."
    MinersExhausted "miners-exhausted" true
        "every miner that could run the task has had it already"
        "No miner is given the same task twice, so that replicas are independent and a failed \
         attempt goes elsewhere. All that meet the requirements have had their turn. The task \
         waits until another one joins, or fails at its time limit."
    WaitingForResult "waiting-for-result" true
        "the task is running"
        "A miner holds an assignment of the task that has not expired, and its receipt has not come \
         in. The message names the miner and the deadline. If the lease runs out, the task goes to \
         another miner without any action of yours."
    WaitingForQuorum "waiting-for-quorum" true
        "a result is in, and others have to confirm it"
        "The task is run by several miners, and fewer than its quorum have handed in a result so \
         far. Results stay undisclosed until all replicas have ended, so that none can be copied. \
         The message says how many are in."

    // Why a miner has nothing to do.
    NoTasks "no-tasks" true
        "the coordinator has no task that waits"
        "The miner is active and in the roster, and nothing is queued. Tasks come from the clients \
         of the coordinator, and there are none at the moment. Nothing is wrong with the miner; it \
         can serve more than one coordinator."
    NotDrawn "not-drawn" true
        "tasks were given out, and other miners were drawn"
        "Each task goes to a miner that is drawn by chance, weighted by stake, quality and \
         locality. This miner was a candidate and was not drawn. `miner explain` shows its weight \
         and share of the roster, and how many draws one can expect to win."
    NotInRoster "not-in-roster" true
        "the miner is not yet in the roster that draws are made from"
        "A miner becomes a candidate with the first roster that is written after its poll, which \
         takes a second or so. After half a minute without a poll it is dropped again. If this \
         stays, the coordinator's answer and its roster contradict each other, and the signed \
         answer is evidence."
    BelowMinimumStake "below-minimum-stake" false
        "the stake is lower than the network asks for"
        "A miner is drawn only while its own and delegated stake reach the minimum, so that a fault \
         costs more than it can gain. The message says what is there and what is needed. Stake \
         more, or win votes."
    Paused "paused" false
        "the miner's operator has paused it"
        "The miner, or the device that would run the task, was paused by its operator and asks for \
         no work until it is resumed. What was running is completed. `miner resume` ends the pause."
    SlotsFull "slots-full" true
        "all slots of the miner are taken"
        "The miner runs as many tasks at once as it has slots, and asks for more when one is done. \
         There is nothing to do, unless the machine has capacity left: then raise the number of \
         slots."
    DeviceHot "device-hot" true
        "the device is hotter than its operator allows"
        "The device has reached the temperature at which its operator wants it to take on no more, \
         so it asks for no work until it has cooled. What was running is completed. Improve the \
         cooling, or raise the bound within what the maker allows."
    MemoryShort "memory-short" true
        "the device has too little free memory for the tasks that wait"
        "Other programs, or models of tasks that run, hold the device's memory, and none of the \
         waiting tasks fits into what is left. Close what else uses the device, or lower the number \
         of slots."

    // What a client finds out about the other side by itself.
    Unreachable "unreachable" true
        "the other node cannot be reached"
        "No connection came about, or it broke off: the name has no address, nothing listens on the \
         port, or a firewall is between. The message has the address and the system's reason. Check \
         that the node runs and that the address is right, then try again."
    TlsFailed "tls-failed" false
        "the other side's certificate was not accepted"
        "The connection is encrypted, and the certificate is not signed by an authority that this \
         system trusts, is for another name, or has expired. Someone may be in between. For a \
         network of your own with a certificate of its own, name it with `--tls-ca FILE`."
    BadAnswer "bad-answer" false
        "the other side's answer is not what its interface promises"
        "The answer is malformed, too long, of another type, or contradicts itself. What listens \
         there may be another program, a proxy that answers in its place, or another version. \
         Check the address, and compare `/version` with this program's own."
    BadCertificate "bad-certificate" false
        "the TLS certificate or its key cannot be used"
        "The file is not PEM, holds no certificate or no key, the two do not belong together, or \
         the key can be read by others. The message says which. Certificates come first the node's \
         own, then the intermediate ones; the key is a file of its own with mode 0600."
    InsecureListen "insecure-listen" false
        "listening beyond this machine without TLS was refused"
        "Tokens and results would cross the network in the clear. Give a certificate and its key, \
         or let the program make one with `--tls-self-signed`. If a proxy on the way adds TLS, say \
         so with `--insecure-listen`."
    AddressInUse "address-in-use" true
        "the address to listen on cannot be had"
        "Another program listens on that port, or the address does not belong to this machine, or \
         the port is one that only the administrator may use. The message has the system's reason. \
         Choose another one with `--listen`; port 0 takes any that is free."

    // The ledger.
    InsufficientFunds "insufficient-funds" false
        "the account does not have that much"
        "A transaction can spend what its account has free at that moment: what is staked, voted, in \
         escrow or unbonding is not. The message says what there is and what was asked for, the fee \
         included. `adit account` shows where the tokens are and when those that unbond are free."
    TransactionNumber "transaction-number" false
        "the transaction does not have the account's next number"
        "An account's transactions are numbered from 0, without gaps, so that none takes effect twice \
         and each takes effect in the order in which it was signed. This number was used already, or \
         an earlier transaction is missing. Sign it again with the number that the message gives."
    TransactionExpired "transaction-expired" false
        "the transaction's time has passed, or lies too far ahead"
        "A transaction says until when it may take effect, at most a day ahead, so that one which was \
         lost does not come back later. The time is that of the registry's blocks. Sign it again; if \
         it is new, this machine's clock may be wrong."
    KeyTaken "key-taken" false
        "the key is in use already"
        "Every node has a key of its own, and a key that a node has had once belongs to it for ever, \
         so that what it signed cannot be held against another. An account's key is no node's key \
         either. Make a new key with `adit key generate` and register that one."
    RuleBroken "rule-broken" false
        "the ledger's rules do not allow this"
        "The transaction is well formed and signed, and its account has the means, but what it asks \
         for is not possible in this state: a vote for a node that is leaving, a bond of nothing, an \
         escrow of a node that is no coordinator. The message says which rule it is."

    // What nobody expects.
    Internal "internal" true
        "this program has an error of its own"
        "Something happened that its authors ruled out. No claim is made about the task or its \
         result. Please report it, with the message, the version and what you did; trying again \
         does no harm."
}

impl Code {
    /// The code for a failure of the system at a file: what its user can mend is told from the rest.
    pub fn of_io(error: &std::io::Error) -> Code {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Code::DiskFull,
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Code::PermissionDenied,
            _ => Code::Internal,
        }
    }
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
