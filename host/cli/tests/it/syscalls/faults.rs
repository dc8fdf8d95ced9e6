//! Each system call by which a coordinator changes what is on disk, in one append, fails once with
//! EIO, and once the process is killed in place of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::strace::{Call, Tracer, is_here};
use super::{Appends, explained};
use crate::cluster::{Role, asked};

/// A system call, and the file on which alone it is made to fail; without one, it is a call that
/// nothing else of the process makes than its storage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    pub call: &'static str,
    pub file: Option<&'static str>,
}

/// All of them. Others than these are found, see [`unknown`].
const KINDS: &[Kind] = &[
    on("pwrite64", "journal.wal"),
    on("pwrite64", "coordinator.db-wal"),
    on("pwrite64", "coordinator.db-shm"),
    on("openat", "log/tmp/new"),
    on("write", "log/tmp/new"),
    on("write", "requests"),
    any("fdatasync"),
    any("fsync"),
    any("ftruncate"),
    any("mkdir"),
    any("rename"),
    any("rmdir"),
    any("unlink"),
    any("unlinkat"),
];

/// What changes files.
pub const CALLS: &str = "openat,pwrite64,pwritev,write,fdatasync,fsync,ftruncate,fallocate,mkdir,mkdirat,\
                     rename,renameat,renameat2,rmdir,unlink,unlinkat,link,linkat,sync_file_range";

pub const fn on(call: &'static str, file: &'static str) -> Kind {
    let file = Some(file);
    Kind { call, file }
}

pub const fn any(call: &'static str) -> Kind {
    Kind { call, file: None }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails, and nothing is done.
    Error,
    /// The process is killed before the call.
    Kill,
}

impl Kind {
    fn path(&self, data: &Path) -> Option<PathBuf> {
        self.file.map(|file| data.join(file))
    }

    /// A tracer that lets the call of this number fail, or be the last.
    pub fn tracer(&self, output: &Path, data: &Path, number: usize, fault: Fault) -> Tracer {
        let mut tracer = Tracer::new(output, self.call);
        if let Some(path) = self.path(data) {
            tracer = tracer.only(&[path]);
        }
        let how = match fault {
            Fault::Error => "error=EIO",
            Fault::Kill => "signal=KILL",
        };
        tracer.inject(&format!("{}:{how}:when={number}", self.call))
    }

    /// The numbers of the calls of this kind in a trace that are on files of a folder: the n-th of a
    /// thread, as strace counts them.
    fn numbers(&self, data: &Path, calls: &[Call]) -> BTreeSet<usize> {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        for call in calls.iter().filter(|call| call.name == self.call) {
            let path = self.path(data);
            if path.is_some_and(|path| !call.is_on(path.to_str().unwrap())) {
                continue;
            }
            let count = counts.entry(call.thread).or_default();
            *count += 1;
            if call.is_below(data) {
                numbers.insert(*count);
            }
        }
        numbers
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.call, self.file.unwrap_or("*"))
    }
}

/// Calls that change the files in a folder and are of no kind that is known: they would be left out.
pub fn unknown(kinds: &[Kind], data: &Path, calls: &[Call]) -> BTreeSet<String> {
    let known = |call: &Call| {
        kinds.iter().any(|kind| {
            let path = kind.path(data);
            let there = path.is_none_or(|path| call.is_on(path.to_str().unwrap()));
            kind.call == call.name && there
        })
    };
    let changes = |call: &Call| call.name != "openat" || call.args.contains("O_CREAT");
    let lock = |call: &Call| call.args.contains("lock\"");
    let at_start = |call: &Call| call.args.contains(".db") || call.args.contains(".wal\"");
    (calls.iter())
        .filter(|call| call.is_below(data) && changes(call) && !known(call))
        // Files that are there, and opened as they are.
        .filter(|call| !(call.name == "openat" && (lock(call) || at_start(call))))
        .filter(|call| !(call.name == "openat" && call.args.contains("requests")))
        .map(|call| format!("{}({})", call.name, call.args))
        .collect()
}

/// Which calls are made to fail, by a trace: all of them in both ways, or one of each kind.
pub fn plan<'a>(
    kinds: &'a [Kind],
    data: &Path,
    calls: &[Call],
    all: bool,
) -> Vec<(&'a Kind, usize, Fault)> {
    let mut occurrences = Vec::new();
    for kind in kinds {
        let numbers = kind.numbers(data, calls);
        eprintln!("{kind}: {} times", numbers.len());
        occurrences.push((kind, numbers.into_iter().collect::<Vec<_>>()));
    }
    for call in ["pwrite64", "write", "fsync", "fdatasync", "rename"] {
        let made = occurrences
            .iter()
            .any(|(kind, n)| kind.call == call && !n.is_empty());
        assert!(made, "no {call} in the trace");
    }

    let mut plan = Vec::new();
    for (at, (kind, numbers)) in occurrences.iter().enumerate() {
        let chosen: Vec<usize> = match all {
            true => numbers.clone(),
            // Another place of each kind, and one that is surely reached.
            false => numbers
                .get(numbers.len() * (1 + at % 3) / 4)
                .copied()
                .into_iter()
                .collect(),
        };
        for number in chosen {
            match (all, at % 2) {
                (true, _) => {
                    plan.extend([(*kind, number, Fault::Error), (*kind, number, Fault::Kill)])
                }
                (false, 0) => plan.push((*kind, number, Fault::Error)),
                (false, _) => plan.push((*kind, number, Fault::Kill)),
            }
        }
    }
    plan
}

#[test]
fn each_call_of_an_append_may_fail_or_be_the_last() {
    if !is_here() {
        return;
    }
    let all = asked("ADIT_SYSCALLS_ALL").is_some();
    let mut appends = Appends::new();
    let output = appends.cluster.folder().join("trace");

    let recorded = Tracer::new(&output, CALLS);
    let coordinator = appends
        .cluster
        .start_below(recorded.command(), Role::Coordinator);
    let key = appends.key();
    let ended = appends.append(coordinator, &key);
    assert!(ended.in_order && ended.code == Some(0), "{ended:?}");
    let calls = recorded.calls();
    let data = appends.cluster.data();
    let unknown = unknown(KINDS, &data, &calls);
    assert!(
        unknown.is_empty(),
        "calls that are not made to fail: {unknown:#?}"
    );
    let plan = plan(KINDS, &data, &calls, all);
    let total = plan.len();
    let mut reached = 0;
    let mut kinds = BTreeSet::new();
    for (done, (kind, number, fault)) in plan.into_iter().enumerate() {
        let mut hit = one(&mut appends, kind, number, fault);
        // How often some calls are made depends on the times of things; the first is made always.
        if !hit && !all && number > 1 {
            hit = one(&mut appends, kind, 1, fault);
        }
        reached += usize::from(hit);
        if hit {
            kinds.insert(kind.call);
        }
        if all && done % 20 == 19 {
            eprintln!("{} of {total}", done + 1);
        }
    }
    let compared = appends.finish();
    eprintln!("{reached} of {total} faults were reached, of {kinds:?}: {compared}");
    assert!(
        reached * 10 >= total * 8,
        "{reached} of {total} were reached"
    );
    for call in ["pwrite64", "write", "fsync", "fdatasync", "rename"] {
        assert!(kinds.contains(call), "no {call} was reached");
    }
}

/// One append with a fault, and what follows. Whether the fault was reached.
fn one(appends: &mut Appends, kind: &Kind, number: usize, fault: Fault) -> bool {
    let output = appends.cluster.folder().join("trace");
    let tracer = kind.tracer(&output, &appends.cluster.data(), number, fault);
    let coordinator = appends
        .cluster
        .start_below(tracer.command(), Role::Coordinator);
    let key = appends.key();
    let ended = appends.append(coordinator, &key);
    let reached = match fault {
        Fault::Error => tracer.text().contains("(INJECTED)"),
        Fault::Kill => ended.code.is_none() && !ended.in_order,
    };
    let name = format!("{kind} {number} {fault:?}");
    let outcome = match (reached, ended.code) {
        (false, _) => "not reached".to_owned(),
        (true, Some(0)) => "it went on".to_owned(),
        (true, code) => {
            if fault == Fault::Error {
                explained(&ended.stderr, &[]);
            }
            let known = appends.ledger.tasks().contains_key(&key);
            let when = if known { "after" } else { "before" };
            format!("it ended ({code:?}) {when} the acknowledgement")
        }
    };
    eprintln!("{name}: {outcome}");
    assert!(
        !ended.stderr.contains("panicked"),
        "{name}: {}",
        ended.stderr
    );
    if fault == Fault::Kill && reached {
        assert!(ended.code.is_none(), "{name}: {ended:?}");
    }
    // As it lies on disk now, it is in order; and the work goes on from there.
    appends.cluster.fsck();
    appends.go_on(&key);
    reached
}
