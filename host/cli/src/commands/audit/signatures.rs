//! Checks the signatures of many receipts, on all processors.

use std::num::NonZero;
use std::thread;

use adit_protocol::receipt::{Receipt, ReceiptError, verify_batch};
use rand_core::OsRng;

/// So few receipts are not worth another thread.
const PART_MIN: usize = 256;

/// The receipts whose signatures do not hold: their index and why, ascending.
pub fn bad(receipts: &[Receipt]) -> Vec<(usize, ReceiptError)> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let part = receipts.len().div_ceil(threads).max(PART_MIN);
    let check = |part: &[Receipt]| verify_batch(part, &mut OsRng).err().unwrap_or_default();
    let culprits: Vec<Vec<usize>> = match receipts.len() <= part {
        true => vec![check(receipts)],
        false => thread::scope(|scope| {
            let parts: Vec<_> = receipts
                .chunks(part)
                .map(|part| (part, scope.spawn(move || check(part))))
                .collect();
            // A thread that panicked has checked nothing: its part is checked here.
            let join = |(part, thread): (_, thread::ScopedJoinHandle<'_, _>)| {
                thread.join().unwrap_or_else(|_| check(part))
            };
            parts.into_iter().map(join).collect()
        }),
    };
    let at = |(number, part_culprits): (usize, Vec<usize>)| {
        let begin = number.saturating_mul(part);
        part_culprits
            .into_iter()
            .map(move |index| begin.saturating_add(index))
    };
    let all = culprits.into_iter().enumerate().flat_map(at);
    // The batch does not say why, and one by one they are few.
    all.filter_map(|index| Some((index, receipts.get(index)?.verify().err()?)))
        .collect()
}
