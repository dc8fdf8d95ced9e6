//! What this process uses, from /proc, and what its folders hold.

use std::path::Path;

/// Processor time in hundredths of a second, as the kernel shows it on every machine.
fn ticks(stat: &str) -> Option<u64> {
    // The name before may have spaces and brackets in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut number = || fields.next()?.parse::<u64>().ok();
    Some(number()? + number()?)
}

/// Processor time of the engine's two threads, in microseconds.
pub fn engine_us() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let engines = threads.filter(|thread| {
        let name = std::fs::read_to_string(thread.path().join("comm"));
        name.is_ok_and(|name| ["engine", "follower"].contains(&name.trim()))
    });
    engines
        .filter_map(|thread| ticks(&std::fs::read_to_string(thread.path().join("stat")).ok()?))
        .sum::<u64>()
        * 10_000
}

/// Processor time of a process, in microseconds.
pub fn process_us(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    ticks(&text).unwrap_or(0) * 10_000
}

/// Resident memory of a process, in MiB.
pub fn resident_mib(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Bytes of the files below a folder.
pub fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => size(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Bytes of the pages that a coordinator's database in a folder uses.
pub fn database(folder: &Path) -> u64 {
    let db = rusqlite::Connection::open(folder.join("coordinator.db")).expect("the database");
    let pragma = |name: &str| -> u64 {
        let value = db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        u64::try_from(value.expect("a number")).unwrap_or(0)
    };
    (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")
}
