//! Bugs that are put in: each breaks an invariant, and is to be found.

use super::Invariant;

/// A bug, in the coordinator, or in the disk that a process relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The coordinator forgets a task at a restart.
    ForgetAtRestart,
    /// What the coordinator acknowledged last is not on disk when it ends: an acknowledgement
    /// before fsync.
    LoseLastBatch,
    /// The coordinator's whole state is put back to an older one, and nobody notices.
    OldBackup,
    /// The coordinator pays receipts that come after the end of their lease.
    PayLate,
    /// What a miner's journal wrote last is not on disk when the miner ends.
    LoseJournal,
    /// The coordinator keeps in memory what belongs to tasks that have ended.
    KeepContexts,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 6] = [
        Planted::ForgetAtRestart,
        Planted::LoseLastBatch,
        Planted::OldBackup,
        Planted::PayLate,
        Planted::LoseJournal,
        Planted::KeepContexts,
    ];

    /// What it breaks.
    pub fn breaks(self) -> Invariant {
        match self {
            Planted::ForgetAtRestart => Invariant::EndsOnce,
            Planted::LoseLastBatch => Invariant::AcknowledgedOnce,
            Planted::OldBackup => Invariant::NeverForks,
            Planted::PayLate => Invariant::PaidOnce,
            Planted::LoseJournal => Invariant::OneBody,
            Planted::KeepContexts => Invariant::Bounded,
        }
    }

    /// As the coordinator knows it, if it is one of its own.
    pub(super) fn in_coordinator(self) -> Option<adit_coordinator::planted::Planted> {
        use adit_coordinator::planted::Planted as Own;
        match self {
            Planted::ForgetAtRestart => Some(Own::ForgetAtRestart),
            Planted::PayLate => Some(Own::PayLate),
            Planted::KeepContexts => Some(Own::KeepContexts),
            Planted::LoseLastBatch | Planted::OldBackup | Planted::LoseJournal => None,
        }
    }
}

impl std::str::FromStr for Planted {
    type Err = String;

    fn from_str(text: &str) -> Result<Planted, String> {
        let found = Planted::ALL
            .into_iter()
            .find(|planted| format!("{planted:?}").eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("there is no bug `{text}`; there are {:?}", Planted::ALL))
    }
}
