//! The transparency log: what an append, a proof, a tile and a checkpoint cost.

use std::convert::Infallible;
use std::hint::black_box;

use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::log::bundle;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::{KeyKind, NoteKey};
use adit_protocol::log::proof::{consistency, inclusion, verify_consistency, verify_inclusion};
use adit_protocol::log::reader::TileReader;
use adit_protocol::log::tile::{self, Level, Tile};
use adit_protocol::log::tree::{Frontier, HashReader, leaf_hash, node_hash, root};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// Entries of the log that is measured.
const SIZE: u64 = 1_000_000;
/// Bytes of an entry: a receipt with its type byte.
const ENTRY_LEN: usize = 521;
/// An index like any other.
const INDEX: u64 = 654_321;

fn entry(index: u64) -> Vec<u8> {
    let mut entry = vec![1; ENTRY_LEN];
    entry[..8].copy_from_slice(&index.to_le_bytes());
    entry
}

/// All complete subtrees of the log, by level.
struct Log(Vec<Vec<Hash>>);

impl Log {
    fn new() -> Log {
        let leaves = (0..SIZE).map(|index| leaf_hash(&index.to_le_bytes()));
        let mut levels: Vec<Vec<Hash>> = vec![leaves.collect()];
        while let Some(row) = levels.last().filter(|row| row.len() > 1) {
            let (pairs, _) = row.as_chunks::<2>();
            levels.push(pairs.iter().map(|[l, r]| node_hash(l, r)).collect());
        }
        Log(levels)
    }

    /// The bytes of a tile, as a file would have them.
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, Infallible> {
        let Level::Hashes(level) = tile.level() else {
            unreachable!("no proof needs entries");
        };
        let (start, row) = (tile.start() as usize, &self.0[usize::from(level) * 8]);
        Ok(tile::to_bytes(
            &row[start..start + usize::from(tile.width())],
        ))
    }
}

impl HashReader for &Log {
    type Error = Infallible;

    fn hash(&mut self, level: u8, index: u64) -> Result<Hash, Infallible> {
        Ok(self.0[usize::from(level)][index as usize])
    }
}

fn tree(c: &mut Criterion) {
    let mut group = c.benchmark_group("log");
    let entries: Vec<Vec<u8>> = (0..4096).map(entry).collect();
    group.throughput(Throughput::Elements(entries.len() as u64));
    group.bench_function("append", |b| {
        b.iter(|| {
            let mut frontier = Frontier::new();
            for entry in &entries {
                frontier.append(leaf_hash(entry)).expect("room");
            }
            frontier.root()
        })
    });
    group.bench_function("bundle_and_tile", |b| {
        b.iter(|| {
            for entries in entries.chunks(256) {
                let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
                black_box(bundle::encode(entries).expect("a bundle"));
                black_box(tile::full_hash(&leaves));
            }
        })
    });
    group.finish();
}

fn proofs(c: &mut Criterion) {
    let log = Log::new();
    let mut memory = &log;
    let old_root = root(&mut memory, INDEX).expect("within the log");
    let root = root(&mut memory, SIZE).expect("within the log");
    let leaf = log.0[0][INDEX as usize];
    let inclusion_proof = inclusion(&mut memory, INDEX, SIZE).expect("within the log");
    let consistency_proof = consistency(&mut memory, INDEX, SIZE).expect("within the log");

    let mut group = c.benchmark_group("log");
    group.throughput(Throughput::Elements(1));
    group.bench_function("inclusion_from_hashes", |b| {
        b.iter(|| inclusion(&mut memory, black_box(INDEX), SIZE))
    });
    // With tiles that lie in memory, and none at hand at the start.
    let reader = || TileReader::new(SIZE, |tile| log.tile(tile));
    group.bench_function("inclusion_from_tiles", |b| {
        b.iter_batched(
            reader,
            |mut reader| inclusion(&mut reader, black_box(INDEX), SIZE).expect("within the log"),
            BatchSize::SmallInput,
        )
    });
    group.bench_function("consistency_from_tiles", |b| {
        b.iter_batched(
            reader,
            |mut reader| consistency(&mut reader, black_box(INDEX), SIZE).expect("within the log"),
            BatchSize::SmallInput,
        )
    });
    group.bench_function("verify_inclusion", |b| {
        b.iter(|| verify_inclusion(&leaf, black_box(INDEX), SIZE, &root, &inclusion_proof))
    });
    group.bench_function("verify_consistency", |b| {
        b.iter(|| verify_consistency(black_box(INDEX), &old_root, SIZE, &root, &consistency_proof))
    });
    group.finish();
}

fn checkpoints(c: &mut Criterion) {
    let mut rng = ChaCha20Rng::from_seed([42; 32]);
    let pair = Keypair::from_seed([1; 32]);
    let checkpoint = Checkpoint {
        origin: "example.com/log".parse().expect("a name"),
        size: SIZE,
        root: Hash::of(b"root"),
    };
    let key = NoteKey::new(
        checkpoint.origin.clone(),
        KeyKind::Checkpoint,
        pair.public(),
    );
    let note = checkpoint.clone().sign(&pair, &mut rng).to_string();

    let mut group = c.benchmark_group("log");
    group.throughput(Throughput::Elements(1));
    group.bench_function("sign_checkpoint", |b| {
        b.iter(|| black_box(&checkpoint).clone().sign(&pair, &mut rng))
    });
    group.bench_function("parse_and_verify_checkpoint", |b| {
        b.iter(|| {
            let signed = SignedCheckpoint::parse(black_box(note.as_bytes())).expect("a checkpoint");
            signed.verify(&key).map(|checkpoint| checkpoint.size)
        })
    });
    group.finish();
}

criterion_group!(benches, tree, proofs, checkpoints);
criterion_main!(benches);
