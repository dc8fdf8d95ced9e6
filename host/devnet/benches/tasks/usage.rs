//! What a number of tasks takes of processors and disks.

use std::path::Path;
use std::time::Duration;

use crate::load::Measured;
use crate::processes::Pair;

/// What was used up to one moment.
pub struct Usage {
    /// Processor time of each process.
    processes: Vec<(String, Duration)>,
    /// Bytes of each kind of file.
    files: Vec<(&'static str, u64)>,
    /// Entries of the log by its checkpoint.
    entries: u64,
}

impl Usage {
    /// What the pair, and this process, has used so far.
    pub async fn of(pair: &Pair) -> Usage {
        let mut processes = Vec::new();
        for (name, pid) in pair.pids() {
            if let Some((_, time)) = processor_time(pid) {
                processes.push((name.to_owned(), time));
            }
            for child in children(pid) {
                if let Some((_, time)) = processor_time(child) {
                    processes.push((format!("worker of the {name}"), time));
                }
            }
        }
        if let Some((_, time)) = processor_time(std::process::id()) {
            processes.push(("load".to_owned(), time));
        }
        let log = pair.client.get("/log/checkpoint").send().await;
        let entries = log.ok().and_then(|answer| {
            let text = String::from_utf8(answer.bytes.to_vec()).ok()?;
            text.lines().nth(1)?.parse().ok()
        });
        Usage {
            processes,
            files: vec![
                ("log", size(&pair.path("coordinator/log"))),
                ("database", database(&pair.path("coordinator"))),
                ("blob files", size(&pair.path("coordinator/blobs"))),
                ("miner's files", size(&pair.path("miner-0"))),
            ],
            entries: entries.unwrap_or(0),
        }
    }

    /// What was used since another moment.
    pub fn since(self, before: &Usage) -> Usage {
        let earlier = |name: &str| {
            let found = before.processes.iter().find(|(other, _)| other == name);
            found.map_or(Duration::ZERO, |(_, time)| *time)
        };
        Usage {
            processes: self
                .processes
                .into_iter()
                .map(|(name, time)| {
                    let time = time.saturating_sub(earlier(&name));
                    (name, time)
                })
                .collect(),
            files: self
                .files
                .into_iter()
                .zip(&before.files)
                .map(|((name, bytes), (_, earlier))| (name, bytes.saturating_sub(*earlier)))
                .collect(),
            entries: self.entries.saturating_sub(before.entries),
        }
    }

    /// For people.
    pub fn per_task(&self, measured: &Measured) -> String {
        let tasks = measured.count().max(1) as f64;
        let mut parts = Vec::new();
        for (name, time) in &self.processes {
            let us = time.as_secs_f64() * 1e6 / tasks;
            parts.push(format!("{name} {us:.0} us"));
        }
        let files: Vec<String> = (self.files.iter())
            .map(|(name, bytes)| format!("{name} {:.0} B", *bytes as f64 / tasks))
            .collect();
        format!(
            "a task takes of processors: {}; of disks: {}; {:.1} log entries, {:.0} entries/s",
            parts.join(", "),
            files.join(", "),
            self.entries as f64 / tasks,
            self.entries as f64 / measured.seconds(),
        )
    }
}

/// The parent of a process, and its processor time as getrusage(2) counts it, of all its threads.
fn processor_time(pid: u32) -> Option<(u32, Duration)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may have spaces and brackets in it.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)?;
    let parent = u32::try_from(number(1)?).ok()?;
    // The kernel shows times in hundredths of a second to user space, on every machine.
    Some((parent, Duration::from_millis(ticks * 10)))
}

fn children(of: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| processor_time(*pid).is_some_and(|(parent, _)| parent == of))
        .collect()
}

/// Bytes of the files below a folder.
fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => size(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Bytes of the databases in a folder, with what is written ahead.
fn database(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().contains(".db"))
        .filter_map(|entry| entry.metadata().ok())
        .map(|about| about.len())
        .sum()
}
