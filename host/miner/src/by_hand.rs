//! A miner without threads, whose steps a simulator does by hand, in its own time.

use std::sync::Arc;

use crate::journal::{self, Probe};
use crate::miner::{Handle, Miner, Parts, StartError};
use crate::session::{InSlot, Shared};

/// A miner without threads.
pub struct ByHand {
    /// The miner.
    pub handle: Handle,
    /// What writes its journal.
    pub journal: journal::ByHand,
    /// Its slots.
    pub slots: Vec<Slot>,
}

impl ByHand {
    /// As [`Miner::start`], without threads; `probe` ends it between two steps of the journal.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(parts: Parts, probe: Box<dyn Probe>) -> Result<ByHand, StartError> {
        let (handle, journal) = Miner::assemble(parts, probe)?;
        let shared = handle.shared();
        let mut slots = Vec::new();
        for (device, about) in shared.scheduler.devices().iter().enumerate() {
            for _ in 0..about.slots {
                let shared = shared.clone();
                slots.push(Slot { shared, device });
            }
        }
        handle.begin()?;
        Ok(ByHand {
            handle,
            journal,
            slots,
        })
    }
}

/// A slot of a device.
pub struct Slot {
    shared: Arc<Shared>,
    device: usize,
}

impl Slot {
    /// Completes when there may be a run for it.
    pub async fn due(&self) {
        self.shared.scheduler.changed().await;
    }

    /// Takes the next run, if there is one.
    pub fn begin(&self) -> Option<Run> {
        loop {
            let job = self.shared.scheduler.take_now(self.device)?;
            match InSlot::begin(job, self.device) {
                Some(run) => return Some(Run(run)),
                None => self.shared.scheduler.freed(self.device),
            }
        }
    }

    /// Executes the run at once, and has its receipt made.
    pub fn end(&self, run: Run) {
        run.0.run();
        self.shared.scheduler.freed(self.device);
    }
}

/// A run that has begun.
pub struct Run(InSlot);

impl Run {
    /// Whether it was told to end.
    pub fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
