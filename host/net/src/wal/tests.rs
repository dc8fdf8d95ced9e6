use std::os::fd::AsRawFd as _;

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::*;

const OWNER: Hash = Hash::from_bytes([7; 32]);

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a.wal")
    }

    fn open(&self, applied: u64) -> Result<(Wal, Vec<Record>), WalError> {
        let opened = Wal::open(&self.path(), &OWNER, applied);
        // Whoever only looks sees the same.
        let seen = waiting(&self.path(), &OWNER, applied);
        match (&opened, &seen) {
            (Ok((_, records)), Ok(seen)) => assert_eq!(records, seen),
            (Err(_), Err(_)) => {}
            other => panic!("{other:?}"),
        }
        opened
    }

    /// With records 1 to `last`, and where each lies.
    fn with(last: u64) -> (Folder, Vec<Live>) {
        let folder = Folder::new();
        let (mut wal, none) = folder.open(0).unwrap();
        assert!(none.is_empty());
        for number in 1..=last {
            append(&mut wal, 0, &text(number)).unwrap();
        }
        let places = wal.live.iter().copied().collect();
        (folder, places)
    }

    fn flip(&self, at: u64) {
        let mut bytes = std::fs::read(self.path()).unwrap();
        bytes[at as usize] ^= 1;
        std::fs::write(self.path(), bytes).unwrap();
    }

    fn why(&self, applied: u64) -> String {
        match self.open(applied) {
            Ok((_, records)) => panic!("{:?} were taken", numbers(&records)),
            Err(error) => {
                assert_eq!(error.code(), Code::StateCorrupt);
                error.to_string()
            }
        }
    }
}

fn append(wal: &mut Wal, applied: u64, bytes: &[u8]) -> Result<usize, WalError> {
    wal.append(applied, |buffer| {
        buffer.extend(bytes);
        Ok(())
    })
}

fn text(number: u64) -> Vec<u8> {
    format!("this is record {number}").into_bytes()
}

fn numbers(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.number).collect()
}

#[test]
fn what_the_tables_lack_comes_back_and_the_numbers_go_on() {
    let (folder, _) = Folder::with(5);
    let (mut wal, records) = folder.open(2).unwrap();
    assert_eq!(numbers(&records), [3, 4, 5]);
    assert_eq!(records[0].bytes, text(3));
    assert_eq!(wal.next(), 6);
    assert_eq!(append(&mut wal, 5, b"six").unwrap(), 3);
    drop(wal);
    // Tables that have more, as after the end of the file was lost.
    let (mut wal, records) = folder.open(9).unwrap();
    assert!(records.is_empty());
    append(&mut wal, 9, b"ten").unwrap();
    assert_eq!(numbers(&folder.open(9).unwrap().1), [10]);
}

#[test]
fn a_record_that_cannot_be_made_is_not_there() {
    let folder = Folder::new();
    let (mut wal, _) = folder.open(0).unwrap();
    let refused = wal.append(0, |_| Err(WalError::TooLong(0, PathBuf::new())));
    assert!(matches!(refused, Err(WalError::TooLong(..))));
    append(&mut wal, 0, b"one").unwrap();
    let (_, records) = folder.open(0).unwrap();
    assert_eq!(
        (numbers(&records), &records[0].bytes[..]),
        (vec![1], &b"one"[..])
    );
}

#[test]
fn a_record_that_was_not_finished_is_not_there_and_its_number_is_free() {
    for byte in 0..(HEAD + text(3).len()) as u64 {
        let (folder, places) = Folder::with(3);
        folder.flip(places[2].from + byte);
        let (mut wal, records) = folder.open(0).unwrap();
        assert_eq!(numbers(&records), [1, 2]);
        append(&mut wal, 0, b"three").unwrap();
        let (_, records) = folder.open(0).unwrap();
        assert_eq!(records[2].bytes, b"three");
    }
}

#[test]
fn gaps_and_flipped_bits_are_refused() {
    for byte in 0..(HEAD + text(2).len()) as u64 {
        let (folder, places) = Folder::with(3);
        folder.flip(places[1].from + byte);
        let before = std::fs::read(folder.path()).unwrap();
        assert!(folder.why(0).contains("record 2 is missing"), "{byte}");
        assert_eq!(std::fs::read(folder.path()).unwrap(), before);
        // It does not matter where the tables have it.
        assert_eq!(numbers(&folder.open(2).unwrap().1), [3]);
    }
    let (folder, _) = Folder::with(3);
    for at in 0..104 {
        folder.flip(at);
        assert!(folder.why(0).contains("its head is not"), "{at}");
        folder.flip(at);
    }
    assert_eq!(folder.open(0).unwrap().1.len(), 3);
}

#[test]
fn what_is_no_such_file_is_refused_and_kept() {
    let (folder, _) = Folder::with(1);
    let other = Wal::open(&folder.path(), &Hash::ZERO, 0);
    assert!(matches!(other, Err(WalError::Foreign { .. })));
    assert!(waiting(&folder.path(), &Hash::ZERO, 0).is_err());
    for garbage in [
        vec![7; 5000],
        vec![0xff; 8192],
        b"SQLite format 3".repeat(999),
    ] {
        std::fs::write(folder.path(), &garbage).unwrap();
        assert!(folder.why(0).contains("damaged"));
        assert_eq!(std::fs::read(folder.path()).unwrap(), garbage);
    }
    // A head that was being written when the machine stopped.
    let begun: [&[u8]; 4] = [b"", b"adit", &[0; 4096], &[0; 9000]];
    for begun in begun {
        std::fs::write(folder.path(), begun).unwrap();
        let (mut wal, records) = folder.open(0).unwrap();
        assert!(records.is_empty());
        append(&mut wal, 0, b"one").unwrap();
        assert_eq!(numbers(&folder.open(0).unwrap().1), [1]);
    }
    std::fs::remove_file(folder.path()).unwrap();
    assert_eq!(waiting(&folder.path(), &OWNER, 0).unwrap(), []);
}

#[test]
fn bytes_within_a_record_are_no_records() {
    // Those of another file, with the numbers that come next here.
    let (other, places) = Folder::with(9);
    let bytes = std::fs::read(other.path()).unwrap();
    let copied: Vec<u8> = places[1..]
        .iter()
        .flat_map(|live| {
            bytes[live.from as usize..live.to.next_multiple_of(ALIGN) as usize].to_vec()
        })
        .collect();
    let folder = Folder::new();
    let (mut wal, _) = folder.open(0).unwrap();
    append(&mut wal, 0, &copied).unwrap();
    let first = *wal.live.front().unwrap();
    // The record around them is not whole any more.
    append(&mut wal, 1, b"short").unwrap();
    assert_eq!(wal.live.back().unwrap().from, first.from);
    assert_eq!(numbers(&folder.open(1).unwrap().1), [2]);
}

#[test]
fn the_file_is_used_again_and_again() {
    let folder = Folder::new();
    let (mut wal, _) = folder.open(0).unwrap();
    // The tables are never level with it.
    for number in 1..=3000u64 {
        let applied = number.saturating_sub(20);
        append(&mut wal, applied, &vec![number as u8; 10_000]).unwrap();
        if number.is_multiple_of(500) {
            let (_, records) = folder.open(applied).unwrap();
            let expected: Vec<u64> = (applied + 1..=number).collect();
            assert_eq!(numbers(&records), expected);
            assert!(
                records
                    .iter()
                    .all(|r| r.bytes == vec![r.number as u8; 10_000])
            );
        }
    }
    let len = std::fs::metadata(folder.path()).unwrap().len();
    assert!(len <= SIZE + GROWTH, "{len}");
    // As long as nothing is applied, nothing is overwritten.
    for number in 3001..=4000u64 {
        append(&mut wal, 2980, &vec![number as u8; 10_000]).unwrap();
    }
    assert_eq!(folder.open(2980).unwrap().1.len(), 1020);
}

/// A disk that takes nothing any more.
#[test]
fn a_write_that_fails_is_told_and_can_be_repeated() {
    let (folder, _) = Folder::with(2);
    let bytes = std::fs::read(folder.path()).unwrap();
    let memory = memfd_create("wal", MemfdFlags::ALLOW_SEALING).unwrap();
    let memory = File::from(memory);
    memory.write_all_at(&bytes, 0).unwrap();
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
    let (mut wal, records) = Wal::open(&path, &OWNER, 0).unwrap();
    assert_eq!(records.len(), 2);
    for _ in 0..2 {
        let error = append(&mut wal, 0, b"three").unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied);
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }
    assert_eq!(wal.next(), 3);
    wal.file = OpenOptions::new().write(true).open(folder.path()).unwrap();
    append(&mut wal, 0, b"three").unwrap();
    assert_eq!(numbers(&folder.open(0).unwrap().1), [1, 2, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever the machine stops in: what was appended and not applied is there.
    #[test]
    fn nothing_that_was_appended_is_lost(
        lives in proptest::collection::vec(
            (
                proptest::collection::vec((0usize..100_000, 0u64..60), 1..60),
                proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
            ),
            1..6,
        ),
    ) {
        let folder = Folder::new();
        let mut applied = 0;
        let mut next = 1;
        for (appends, torn) in lives {
            let (mut wal, records) = folder.open(applied).unwrap();
            prop_assert_eq!(numbers(&records), (applied + 1..next).collect::<Vec<_>>());
            for record in records {
                prop_assert!(record.bytes.iter().all(|byte| *byte == record.number as u8));
            }
            prop_assert_eq!(wal.next(), next);
            for (len, behind) in appends {
                applied = applied.max((next - 1).saturating_sub(behind));
                append(&mut wal, applied, &vec![next as u8; len]).unwrap();
                next += 1;
            }
            // One more, of which not all has reached the disk.
            if let Some((at, byte)) = torn {
                append(&mut wal, applied, &vec![next as u8; 5000]).unwrap();
                let live = *wal.live.back().unwrap();
                drop(wal);
                let size = (live.to - live.from) as usize;
                let mut bytes = std::fs::read(folder.path()).unwrap();
                let at = live.from as usize + at.index(size);
                bytes[at..live.to as usize].fill(byte.wrapping_mul(2).wrapping_add(1));
                if next as u8 == byte.wrapping_mul(2).wrapping_add(1) {
                    bytes[at] ^= 1;
                }
                std::fs::write(folder.path(), bytes).unwrap();
            }
        }
    }
}
