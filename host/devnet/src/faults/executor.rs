//! Cheating in the sandbox's place: what a run is said to have come to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_miner::executor::{Device, Executor};
use adit_protocol::cbor::Document as _;
use adit_protocol::status::Status;
use adit_protocol::transcript::Transcript;
use adit_runtime::state::Events;
use adit_runtime::worker::supervisor::{Ran, SupervisorError, Task};

use super::Fault;

/// How often a miner that never answers looks whether it may stop.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// An executor whose results are wrong, or never come.
pub struct FaultyExecutor {
    inner: Arc<dyn Executor>,
    fault: Fault,
    ending: Arc<AtomicBool>,
}

impl FaultyExecutor {
    /// Wraps an executor. Runs that never end do so once `ending` is set.
    pub fn new(inner: Arc<dyn Executor>, fault: Fault, ending: Arc<AtomicBool>) -> FaultyExecutor {
        FaultyExecutor {
            inner,
            fault,
            ending,
        }
    }
}

impl Executor for FaultyExecutor {
    fn devices(&self) -> Arc<[Device]> {
        self.inner.devices()
    }

    fn run(
        &self,
        device: usize,
        task: &Task,
        events: &mut dyn Events,
    ) -> Result<Ran, SupervisorError> {
        match self.fault {
            Fault::WrongResult => {
                let mut ran = self.inner.run(device, task, events)?;
                falsify(&mut ran.output);
                Ok(ran)
            }
            Fault::HostFault => Ok(nothing(Status::HostFault)),
            Fault::Silent => {
                while !events.cancelled() && !self.ending.load(Ordering::Relaxed) {
                    std::thread::sleep(LOOK_EVERY);
                }
                Ok(nothing(Status::Cancelled))
            }
            // They cheat with what they send.
            Fault::Late | Fault::Equivocate => self.inner.run(device, task, events),
        }
    }

    fn temperature_c(&self, device: usize) -> Option<u32> {
        self.inner.temperature_c(device)
    }
}

/// Makes another output of one.
fn falsify(output: &mut Vec<u8>) {
    match output.last_mut() {
        Some(byte) => *byte ^= 1,
        None => output.push(b'?'),
    }
}

/// A run that has left nothing.
fn nothing(status: Status) -> Ran {
    Ran {
        status,
        output: Vec::new(),
        log: Vec::new(),
        fuel: 0,
        nn_units: 0,
        peak_memory: 0,
        duration_us: 0,
        transcript: Transcript::default().to_cbor(),
        task_error: None,
        detail: Some("the miner says that its machine failed".to_owned()),
        refusal: None,
        divergence: None,
        rechecks: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falsified_output_is_another_one() {
        for output in [&b""[..], b"a", b"abc"] {
            let mut other = output.to_vec();
            falsify(&mut other);
            assert_ne!(other, output);
        }
    }
}
