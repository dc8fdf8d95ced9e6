//! The registry's own process under fire, as the coordinator's is in `crate::crash`,
//! `crate::syscalls`, `crate::hostile` and `crate::schema`, whose long forms are these tests' too.
//!
//! | file | subject |
//! |---|---|
//! | [`wallet`] | accounts that send, and what they were told |
//! | `crash` | killed at random moments under load |
//! | `syscalls` | each call of an append fails once, or is the last; what is answered is on disk |
//! | `disk` | a disk without room |
//! | `hostile` | clients that mean no good |
//! | `schema` | the interface against its description |
//! | `witnesses` | the checker as a witness, and those of the registry's own log |

mod crash;
mod disk;
mod hostile;
mod schema;
mod syscalls;
pub mod wallet;
mod witnesses;
