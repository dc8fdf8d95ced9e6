//! What a simulation may put into a coordinator: failures between two steps, and bugs. A bug that is
//! put in and not found shows that what it breaks is not tested. Nothing but a simulation sets them.

/// Points between the steps of a batch at which a process may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// All is applied; nothing of it is durable.
    BeforeCommit,
    /// It is durable; nobody was told.
    AfterCommit,
    /// Whoever waited was told; the tables lack it, and what is new in the log is in no checkpoint.
    AfterAnswers,
    /// The tables have it, and the journal has it still.
    AfterApply,
}

/// Decides at each [`Point`] whether the process ends there.
pub trait Probe: Send {
    /// Whether it goes on.
    fn goes_on(&mut self, point: Point) -> bool;
}

/// The probe of a real coordinator.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    fn goes_on(&mut self, _: Point) -> bool {
        true
    }
}

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The newest of the tasks that have not ended is forgotten at a restart.
    ForgetAtRestart,
    /// A receipt that comes after the end of its lease is paid all the same.
    PayLate,
    /// What is kept in memory of a task stays there after its end.
    KeepContexts,
}
