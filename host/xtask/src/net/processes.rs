//! Processor time and memory of all processes below one, from /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Processor time of processes up to one moment, in hundredths of a second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times(BTreeMap<u32, u64>);

/// What one process says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system, of all threads. The kernel shows hundredths of a second on every machine.
    ticks: u64,
}

fn stat(text: &str) -> Option<Stat> {
    // The name before may have spaces and brackets in it.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)?.saturating_add(number(12)?),
    })
}

fn all() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, stat(&text)?))
        })
        .collect()
}

/// The processes below `root`, without it.
fn below(all: &BTreeMap<u32, Stat>, root: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        for (pid, stat) in all {
            if stat.parent == parent && found.insert(*pid) {
                next.push(*pid);
            }
        }
    }
    found
}

/// The processes below `root`, without it, that run now.
pub fn family(root: u32) -> BTreeSet<u32> {
    below(&all(), root)
}

/// Processor time of `root`, and of those below it.
pub fn times(root: u32) -> (Times, Times) {
    let all = all();
    let of = |pids: &BTreeSet<u32>| {
        let known = pids
            .iter()
            .filter_map(|pid| Some((*pid, all.get(pid)?.ticks)));
        Times(known.collect())
    };
    (of(&BTreeSet::from([root])), of(&below(&all, root)))
}

impl Times {
    /// Seconds since another moment; what ended in between is not counted.
    pub fn since(&self, before: &Times) -> f64 {
        let ticks: u64 = (self.0.iter())
            .map(|(pid, ticks)| ticks.saturating_sub(before.0.get(pid).copied().unwrap_or(0)))
            .sum();
        ticks as f64 / 100.0
    }
}

/// Sums over processes, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident pages; one that two processes share counts twice.
    pub resident_kib: u64,
    /// The same, each page once.
    pub proportional_kib: u64,
}

/// Memory of the processes below `root`. The proportional sum takes time and is left out on demand.
pub fn memory(root: u32, proportional: bool) -> Memory {
    let mut sum = Memory::default();
    for pid in family(root) {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        sum.resident_kib += kib(&read("status"), "VmRSS");
        if proportional {
            sum.proportional_kib += kib(&read("smaps_rollup"), "Pss");
        }
    }
    sum
}

fn kib(text: &str, name: &str) -> u64 {
    let value = field(text, name).and_then(|value| value.split_whitespace().next());
    value.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The value of a field in a text of lines `name: value`.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = "4242 (ray::IDLE (1) x) S 17 4242 4242 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 1";
        let expected = Stat {
            parent: 17,
            ticks: 300,
        };
        assert_eq!(stat(text), Some(expected));
        assert_eq!(stat("4242 (half"), None);
        assert_eq!(stat("1 (a) S x"), None);
    }

    #[test]
    fn a_family_is_found_at_any_depth_and_nobody_else() {
        let process = |pid, parent| (pid, Stat { parent, ticks: 0 });
        let all = BTreeMap::from([
            process(1, 0),
            process(7, 1),
            process(5, 7),
            process(9, 5),
            process(8, 1),
        ]);
        assert_eq!(below(&all, 7), BTreeSet::from([5, 9]));
        assert_eq!(below(&all, 9), BTreeSet::new());
    }

    #[test]
    fn time_is_that_of_each_process_since_then() {
        let before = Times(BTreeMap::from([(1, 100), (2, 50)]));
        let after = Times(BTreeMap::from([(1, 150), (3, 25)]));
        assert_eq!(after.since(&before), 0.75);
    }

    #[test]
    fn fields_are_read_by_their_whole_name() {
        let text = "Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t  1234 kB\nPss_Dirty: 3 kB\nPss:  77 kB\n";
        assert_eq!(kib(text, "VmRSS"), 1234);
        assert_eq!(kib(text, "Pss"), 77);
        assert_eq!(kib(text, "Swap"), 0);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let own = std::process::id();
        let parent = all().get(&own).unwrap().parent;
        assert!(family(parent).contains(&own));
        assert!(memory(parent, true).resident_kib > 0);
    }
}
