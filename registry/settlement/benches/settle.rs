//! Receipts per second of a settlement, with 10 coordinators, 10,000 miners and 100,000 voters.
//!
//! `ADIT_SETTLE_RECEIPTS=10000000` adds a size.

mod epoch;

use std::hint::black_box;
use std::io;

use adit_settlement::settle;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use epoch::COORDINATORS;

fn settling(c: &mut Criterion) {
    let more = std::env::var("ADIT_SETTLE_RECEIPTS").ok();
    let more = more.and_then(|count| count.parse().ok());
    let mut group = c.benchmark_group("settle");
    group.sample_size(10);
    for receipts in [10_000, 100_000, 1_000_000].into_iter().chain(more) {
        let mut input = Vec::new();
        epoch::write(&mut input, receipts, COORDINATORS);
        // What is measured is payment, not refusal.
        let totals = settle(&input[..], io::sink()).expect("it is in order");
        assert_eq!(totals.counts.paid, receipts);
        group.throughput(Throughput::Elements(receipts));
        group.bench_function(BenchmarkId::from_parameter(receipts), |b| {
            b.iter(|| settle(black_box(&input[..]), io::sink()).map(|totals| totals.paid));
        });
    }
    group.finish();
}

criterion_group!(benches, settling);
criterion_main!(benches);
