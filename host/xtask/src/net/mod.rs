//! `cargo xtask bench net`: the same trivial task, upper-casing a short string, through a network of
//! ours and through what others use to spread work over processes.
//!
//! | part | subject |
//! |---|---|
//! | this file | the rounds: all systems in turns, so that a slow minute meets each of them |
//! | `systems` | what is fetched, and how each system is started |
//! | `watch` | one run: what its load says, and what its processes use meanwhile |
//! | `processes` | processor time and memory of processes, from /proc |
//! | `table` | medians, ranges, ratios |
//!
//! Every system is started anew for each round and has this machine for itself. Its load is a
//! process of its own: for ours the benchmark `tasks`, for the others a program in
//! `host/xtask/peers`, which uses the system as its own guide says. All run the same phases with the
//! same number of tasks in flight.

mod processes;
mod systems;
mod table;
mod watch;

use std::time::Duration;

use crate::error::Result;
use crate::fetch::Scratch;
use crate::project::{Project, step};
use systems::Systems;
use table::Table;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// How often each system is measured.
    pub rounds: u64,
    /// How long each measurement lasts, in seconds.
    pub seconds: u64,
    /// Tasks in flight at saturation.
    pub flight: u64,
    /// Tasks a second in the phase in which all systems get the same; each has to be able to do them.
    pub rate: u64,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked {
            rounds: 3,
            seconds: 8,
            flight: 128,
            rate: 200,
        }
    }
}

impl Asked {
    /// Sets one of them by its name; at least 1.
    pub fn set(&mut self, name: &str, number: u64) {
        let number = number.max(1);
        match name {
            "rounds" => self.rounds = number,
            "seconds" => self.seconds = number,
            "rate" => self.rate = number,
            _ => self.flight = number,
        }
    }
}

/// `cargo xtask bench net`. The table goes to stdout, all else to stderr.
pub fn command(asked: &Asked) -> Result<()> {
    let project = Project::load()?;
    let systems = step("what is compared", || Systems::prepare(&project))?;
    let mut table = Table::new(systems::all());
    // For five phases, beginning and end.
    let patience = Duration::from_secs(180 + 8 * asked.seconds);
    for round in 1..=asked.rounds {
        for (at, system) in systems::all().iter().enumerate() {
            let title = format!("round {round} of {}: {}", asked.rounds, system.name);
            let run = step(&title, || {
                // On the disk of temporary files, since sockets cannot have long names.
                let scratch = Scratch::new(&std::env::temp_dir())?;
                let mut command = systems.command(system, asked, &scratch.0);
                let run = watch::run(system.name, &mut command, patience)?;
                eprintln!("    {}", run.shown());
                Ok(run)
            })?;
            table.add(at, run);
        }
    }
    print!("{}", table.shown(asked, &machine()));
    Ok(())
}

/// What this machine is, in a few words.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processes::field(&about, "model name").unwrap_or("unknown processor");
    format!("{processors} cores of {model}")
}
