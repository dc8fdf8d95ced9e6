//! Disks that are full or cannot be written. A small one is mounted in a namespace of its own, as in
//! `crate::disk`; errors while it is in use are injected.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::strace::{Tracer, is_here};
use super::{Appends, MINER, explained};
use crate::cluster::Role;
use crate::disk::can_mount;
use crate::network_support::Node;

/// A namespace in which a small file system covers the coordinator's data, with a copy of it.
pub struct SmallDisk {
    holder: Node,
    data: PathBuf,
}

impl SmallDisk {
    /// `None` where that is not allowed.
    pub fn mount(data: &Path, mib: u32) -> Option<SmallDisk> {
        let script = format!(
            "cp -r \"$1\" \"$1.saved\" && mount -t tmpfs -o size={mib}M,mode=700 none \"$1\" \
             && cp -r \"$1.saved/.\" \"$1\" && echo ready && exec sleep 100000"
        );
        let mut holder = Command::new("unshare");
        holder.args(["-rm", "sh", "-c", &script, "sh"]).arg(data);
        if !can_mount() {
            return None;
        }
        let mut holder = Node::start(holder);
        assert_eq!(holder.line(), "ready");
        let data = data.to_owned();
        Some(SmallDisk { holder, data })
    }

    /// Before a program, to start it inside.
    pub fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--preserve-credentials",
            "-U",
            "-m",
            "-t",
            &self.holder.id().to_string(),
        ]);
        command
    }

    pub fn run(&self, program: &[&str]) {
        let mut command = self.inside();
        command.args(program).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{program:?}: {output:?}");
    }

    /// Leaves so many KiB.
    pub fn fill(&self, left_kib: u64) {
        let filler = self.data.join("filler");
        let script = format!(
            "free=$(df -k --output=avail \"$1\" | tail -n 1); \
             head -c $(( (free - {left_kib}) * 1024 )) /dev/zero > \"$2\""
        );
        let (data, filler) = (self.data.to_str().unwrap(), filler.to_str().unwrap());
        self.run(&["sh", "-ec", &script, "sh", data, filler]);
    }

    /// Makes room. What was signed last could not be noted before, see [`Appends::go_on`].
    fn free(&self) {
        let script = "rm \"$1/filler\"; date +%s > \"$1/requests\"";
        self.run(&["sh", "-ec", script, "sh", self.data.to_str().unwrap()]);
    }

    fn remount(&self, how: &str) {
        let data = self.data.to_str().unwrap();
        self.run(&["mount", "-o", &format!("remount,{how}"), data]);
    }

    /// Brings the data back to where it was from.
    pub fn leave(self) {
        let script = "rm -rf \"$1.saved\" && cp -r \"$1\" \"$1.saved\" && umount \"$1\" \
                      && rm -rf \"$1\" && mv \"$1.saved\" \"$1\"";
        self.run(&["sh", "-ec", script, "sh", self.data.to_str().unwrap()]);
        self.holder.kill();
    }
}

#[test]
fn a_coordinator_whose_disk_is_full_or_read_only_says_so_and_goes_on_later() {
    let mut appends = Appends::new();
    let Some(disk) = SmallDisk::mount(&appends.cluster.data(), 16) else {
        appends.finish();
        return;
    };
    for left_kib in [0, 40] {
        disk.fill(left_kib);
        let coordinator = appends
            .cluster
            .start_below(disk.inside(), Role::Coordinator);
        let key = appends.key();
        let ended = appends.append_for(coordinator, &key, std::time::Duration::from_secs(5));
        eprintln!("{left_kib} KiB left, {:?}: {}", ended.code, ended.stderr);
        if !ended.in_order {
            explained(&ended.stderr, &["full"]);
            assert_ne!(ended.code, Some(0));
        }
        disk.free();
        let coordinator = appends
            .cluster
            .start_below(disk.inside(), Role::Coordinator);
        let ended = appends.append(coordinator, &key);
        assert!(ended.in_order && ended.code == Some(0), "{ended:?}");
    }
    disk.remount("ro");
    let coordinator = appends
        .cluster
        .start_below(disk.inside(), Role::Coordinator);
    let key = appends.key();
    let ended = appends.append(coordinator, &key);
    eprintln!("read only, {:?}: {}", ended.code, ended.stderr);
    explained(&ended.stderr, &["ead"]);
    disk.remount("rw");
    let coordinator = appends
        .cluster
        .start_below(disk.inside(), Role::Coordinator);
    let ended = appends.append(coordinator, &key);
    assert!(ended.in_order && ended.code == Some(0), "{ended:?}");
    disk.leave();
    appends.finish();
}

/// As a file system that turns itself to reading only, or fills, under a process that works.
#[test]
fn a_disk_that_fails_at_work_stops_the_acknowledgements() {
    if !is_here() {
        return;
    }
    let mut appends = Appends::new();
    let output = appends.cluster.folder().join("trace");
    let data = appends.cluster.data();
    let file = |name: &str| data.join(name);
    let tiles = file("log/tmp/new");
    // What is acknowledged stops with the journal, and soon after the tables do.
    for (error, database) in [
        ("EROFS", "journal.wal"),
        ("ENOSPC", "journal.wal"),
        ("ENOSPC", "coordinator.db-wal"),
    ] {
        let files = [file(database), tiles.clone()];
        let tracer = Tracer::new(&output, "pwrite64,write").only(&files);
        // In the midst of the append, and from then on; each thread counts its own calls.
        let tracer = tracer.inject(&format!("pwrite64,write:error={error}:when=4+"));
        let coordinator = appends
            .cluster
            .start_below(tracer.command(), Role::Coordinator);
        let key = appends.key();
        let ended = appends.append(coordinator, &key);
        eprintln!("{error}, {database}, {:?}: {}", ended.code, ended.stderr);
        assert!(ended.stderr.contains("disk"), "{ended:?}");
        // An append that is quicker than the tables is in the journal by then.
        if !ended.in_order || database == "journal.wal" {
            assert!(!ended.in_order, "{ended:?}");
            explained(&ended.stderr, &["disk"]);
            // Its operator's to mend.
            assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        }
        appends.cluster.fsck();
        appends.go_on(&key);
    }
    // Tiles and checkpoints can wait in the database, and the work goes on.
    let tracer = Tracer::new(&output, "write").only(&[tiles]);
    let tracer = tracer.inject("write:error=ENOSPC:when=1..3");
    let coordinator = appends
        .cluster
        .start_below(tracer.command(), Role::Coordinator);
    let key = appends.key();
    let ended = appends.append(coordinator, &key);
    assert!(ended.in_order && ended.code == Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("cannot be written now"),
        "{}",
        ended.stderr
    );
    assert!(tracer.text().contains("(INJECTED)"));

    // The miner's journal: nothing is handed in until it can be written.
    assert_eq!(appends.miner.take().unwrap().end(), Some(0));
    let journal = appends.cluster.journal(0).with_extension("db-wal");
    let tracer = Tracer::new(&output, "pwrite64").only(&[journal]);
    let tracer = tracer.inject("pwrite64:error=ENOSPC:when=1..2");
    let mut miner = appends.cluster.start_below(tracer.command(), MINER);
    let key = appends.key();
    appends.go_on(&key);
    super::end_below(&mut miner);
    assert_eq!(miner.wait().code(), Some(0));
    assert!(tracer.text().contains("(INJECTED)"));
    let said = miner.said();
    assert!(said.contains("the journal could not be written"), "{said}");
    appends.miner = Some(appends.cluster.start(MINER));
    let key = appends.key();
    appends.go_on(&key);
    appends.finish();
}
