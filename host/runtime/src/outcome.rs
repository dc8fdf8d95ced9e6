//! How a run ended: from wasmtime's results to the outcome table of the protocol.

use adit_protocol::exec::World;
use adit_protocol::status::Status;
use adit_protocol::transcript::Transcript;
use wasmtime::Trap;

use crate::bindings::TaskError;
use crate::record::Divergence;
use crate::stop::Stop;

/// Everything a run leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// The status, as it enters the receipt.
    pub status: Status,
    /// The output, for every status: accepted emits followed by the result, or standard output.
    pub output: Vec<u8>,
    /// What the guest logged. Not part of any receipt.
    pub log: Vec<u8>,
    /// Fuel used. After a trap it is the whole limit, because wasmtime does not account for the
    /// instructions just before a trap; else a guest could compute for free and then trap.
    pub fuel: u64,
    /// Work units of inference.
    pub nn_units: u64,
    /// Peak memory in bytes, see [`crate::meter::Meter::peak_bytes`].
    pub peak_memory: u64,
    /// The inference calls.
    pub transcript: Transcript,
    /// Code and message of the guest's own error, for people.
    pub task_error: Option<(u32, String)>,
    /// Why the run ended as it did, for people: never part of a receipt.
    pub detail: Option<String>,
    /// Where a replay left its transcript.
    pub divergence: Option<Divergence>,
}

/// What calling the guest's entry point gave.
pub(crate) enum Ended {
    /// The export returned normally; of a task, with these bytes.
    Returned(Vec<u8>),
    /// The export returned the guest's own error.
    Failed(Option<TaskError>),
    /// wasmtime or a host function ended the guest.
    Stopped(wasmtime::Error),
    /// The instance could not be made.
    NotInstantiated(wasmtime::Error),
}

/// Longest message of a guest that is kept, in bytes.
const MESSAGE_BYTES: usize = 4096;

pub(crate) struct Verdict {
    pub status: Status,
    pub task_error: Option<(u32, String)>,
    pub detail: Option<String>,
    pub divergence: Option<Divergence>,
}

impl Verdict {
    pub(crate) fn of(status: Status) -> Self {
        Self {
            status,
            task_error: None,
            detail: None,
            divergence: None,
        }
    }

    pub(crate) fn because(status: Status, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::of(status)
        }
    }
}

/// The verdict on how a guest ended. `refused_bytes` is what the meter last refused it.
pub(crate) fn verdict(ended: &Ended, world: World, refused_bytes: Option<u64>) -> Verdict {
    match ended {
        Ended::Returned(_) => Verdict::of(Status::Ok),
        Ended::Failed(error) => {
            let task_error = error.as_ref().map(|e| {
                let mut message = e.message.clone();
                message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
                (e.code, message)
            });
            let detail = match task_error {
                Some(_) => "the task returned an error",
                None => "the program reported failure",
            };
            Verdict {
                task_error,
                ..Verdict::because(Status::TaskError, detail)
            }
        }
        Ended::NotInstantiated(error) if classified(error).is_none() => match refused_bytes {
            Some(bytes) => Verdict::because(
                Status::LimitExceeded,
                format!(
                    "the component needs {bytes} bytes of memory to start; the limit memory_bytes or table_elements is lower"
                ),
            ),
            None => Verdict::because(
                Status::HostFault,
                format!("the instance could not be made: {error:#}"),
            ),
        },
        Ended::Stopped(error) | Ended::NotInstantiated(error) => {
            stopped(error, world, refused_bytes)
        }
    }
}

enum Class<'a> {
    Stop(&'a Stop),
    Trap(Trap),
    HostResource,
    Hostcall,
}

fn classified(error: &wasmtime::Error) -> Option<Class<'_>> {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return Some(Class::Stop(stop));
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Some(Class::Trap(*trap));
    }
    if error.is::<wasmtime::OutOfMemory>() || error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Some(Class::HostResource);
    }
    // wasmtime keeps this error's type private. Its text is that of the pinned version, and a
    // test with a guest that returns too much holds it in place.
    if format!("{error:#}").contains("fuel allocated for hostcalls has been exhausted") {
        return Some(Class::Hostcall);
    }
    None
}

fn stopped(error: &wasmtime::Error, world: World, refused_bytes: Option<u64>) -> Verdict {
    match classified(error) {
        Some(Class::Stop(stop)) => match stop {
            Stop::Exit(0) if world == World::Command => Verdict::of(Status::Ok),
            Stop::Exit(_) => Verdict::because(Status::TaskError, stop.to_string()),
            Stop::Limit { .. } => Verdict::because(Status::LimitExceeded, stop.to_string()),
            Stop::HostFault(_) => Verdict::because(Status::HostFault, stop.to_string()),
            Stop::Refused(_) => Verdict::because(Status::InvalidComponent, stop.to_string()),
            Stop::Unavailable(_) => Verdict::because(Status::Unavailable, stop.to_string()),
            Stop::Cancelled => Verdict::because(Status::Cancelled, stop.to_string()),
            Stop::Diverged(divergence) => Verdict {
                divergence: Some((**divergence).clone()),
                ..Verdict::because(Status::HostFault, stop.to_string())
            },
        },
        Some(Class::Trap(Trap::OutOfFuel)) => {
            Verdict::because(Status::OutOfFuel, "the fuel limit was used up")
        }
        Some(Class::Trap(Trap::Interrupt)) => {
            Verdict::because(Status::Deadline, "the wall-clock deadline passed")
        }
        Some(Class::Trap(Trap::StackOverflow)) => {
            Verdict::because(Status::StackOverflow, "the wasm stack was used up")
        }
        Some(Class::Trap(trap)) => Verdict::because(Status::Trap, trap_detail(trap, refused_bytes)),
        Some(Class::HostResource) => {
            Verdict::because(Status::HostFault, format!("the host ran short: {error:#}"))
        }
        Some(Class::Hostcall) => Verdict::because(
            Status::LimitExceeded,
            "one call moved more bytes between guest and host than the limits allow",
        ),
        // What is left are wasmtime's own refusals of what the guest did: a handle used after it
        // was dropped, a bad pointer in the component ABI, too many handles.
        None => Verdict::because(Status::Trap, format!("{error:#}")),
    }
}

fn trap_detail(trap: Trap, refused_bytes: Option<u64>) -> String {
    match refused_bytes {
        // Most languages abort when an allocation fails, and the trap alone does not say so.
        Some(bytes) => format!(
            "{trap}; the guest had been refused memory that would have taken it to {bytes} bytes"
        ),
        None => trap.to_string(),
    }
}
