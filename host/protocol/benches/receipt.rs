//! Receipts: what signing costs a miner, and checking one or a batch costs a coordinator.

use std::hint::black_box;

use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::receipt::{Receipt, ReceiptBody, verify_batch};
use adit_protocol::status::Status;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// Miners whose receipts are mixed in a batch.
const MINERS: u8 = 16;

fn body(miner: &Keypair, coordinator: &Keypair, seq: u64) -> ReceiptBody {
    ReceiptBody {
        network: [1, 2, 3, 4],
        status: Status::Ok,
        gpu: false,
        nn: true,
        epoch: 1,
        seq,
        start_ms: 1,
        duration_us: 1,
        fuel: 1,
        nn_units: 1,
        peak_memory: 1,
        miner: miner.public().to_bytes(),
        coordinator: coordinator.public().to_bytes(),
        task: Hash::of(b"task"),
        assignment: Hash::of(b"assignment"),
        component: Hash::of(b"component"),
        input: Hash::of(b"input"),
        output: Hash::of(b"output"),
        transcript: Hash::of(b"transcript"),
        environment: Hash::of(b"environment"),
        prev: Hash::ZERO,
    }
}

fn receipts(count: usize, rng: &mut ChaCha20Rng) -> Vec<Receipt> {
    let coordinator = Keypair::from_seed([200; 32]);
    (0..count)
        .map(|i| {
            let miner = Keypair::from_seed([(i % usize::from(MINERS)) as u8; 32]);
            let mut receipt = body(&miner, &coordinator, i as u64).sign(&miner, rng);
            receipt.countersign(&coordinator, rng);
            receipt
        })
        .collect()
}

fn bench(c: &mut Criterion) {
    let mut rng = ChaCha20Rng::from_seed([42; 32]);
    let (miner, coordinator) = (Keypair::from_seed([1; 32]), Keypair::from_seed([200; 32]));
    let unsigned = body(&miner, &coordinator, 0);
    let one = receipts(1, &mut rng).remove(0);

    let mut group = c.benchmark_group("receipt");
    group.throughput(Throughput::Elements(1));
    group.bench_function("sign", |b| {
        b.iter(|| black_box(&unsigned).sign(&miner, &mut rng))
    });
    group.bench_function("verify", |b| b.iter(|| black_box(&one).verify()));
    group.bench_function("decode", |b| {
        let bytes = one.to_bytes();
        b.iter(|| Receipt::from_bytes(black_box(&bytes)))
    });
    for count in [64, 1024] {
        let batch = receipts(count, &mut rng);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(
            BenchmarkId::new("verify_batch", count),
            &batch,
            |b, batch| b.iter(|| verify_batch(black_box(batch), &mut rng)),
        );
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
