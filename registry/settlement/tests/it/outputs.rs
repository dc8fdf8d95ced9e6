//! Outputs: what is wrong with one is found before a ledger believes it.

use adit_settlement::output::{AccountRow, OutputError, Unbalanced};
use adit_settlement::{Output, OutputError as Error};

use super::epochs::{Size, made_up};

fn good() -> Output {
    let size = Size {
        coordinators: 2,
        miners: 3,
        receipts: 60,
    };
    made_up(5, size).settle()
}

fn bytes(output: &Output) -> Vec<u8> {
    let mut bytes = Vec::new();
    output.write(&mut bytes).unwrap();
    bytes
}

fn refused(bytes: &[u8]) -> OutputError {
    Output::read(bytes).unwrap_err()
}

#[test]
fn every_amount_is_part_of_a_sum() {
    let good = good();
    assert!(good.totals.burned > 0 && good.accounts.len() > 2);
    let changed = |change: &dyn Fn(&mut Output)| {
        let mut output = good.clone();
        change(&mut output);
        match refused(&bytes(&output)) {
            Error::Unbalanced(error) => error,
            other => panic!("{other}"),
        }
    };
    let sums: [&dyn Fn(&mut Output); 12] = [
        &|o| o.accounts[0].amount += 1,
        &|o| o.miners[0].income += 1,
        &|o| o.miners[0].by_work += 1,
        &|o| o.miners[0].by_stake += 1,
        &|o| o.coordinators[0].spent += 1,
        &|o| o.coordinators[0].burned += 1,
        &|o| o.coordinators[0].earned += 1,
        &|o| o.totals.emission += 1,
        &|o| o.totals.minted += 1,
        &|o| o.totals.unminted += 1,
        &|o| o.totals.treasury += 1,
        &|o| o.totals.paid += 1,
    ];
    for (at, change) in sums.into_iter().enumerate() {
        assert!(matches!(changed(change), Unbalanced::Sums { .. }), "{at}");
    }
    // One account is given what another earned, and the totals are made to fit.
    let stolen = changed(&|o| {
        o.totals.paid += 5;
        o.totals.minted += 5;
        o.totals.unminted -= 5;
        o.accounts[1].amount += 5;
    });
    assert!(matches!(
        stolen,
        Unbalanced::Sums {
            left_name: "minted by the rows",
            ..
        }
    ));
    let counts: [&dyn Fn(&mut Output); 3] = [
        &|o| o.miners[0].counts.paid += 1,
        &|o| o.coordinators[0].counts.unpaid[2] += 1,
        &|o| o.totals.counts.unpaid[0] += 1,
    ];
    for (at, change) in counts.into_iter().enumerate() {
        assert!(matches!(changed(change), Unbalanced::Counts { .. }), "{at}");
    }
    let overflow = changed(&|o| o.coordinators[0].spent = u128::MAX);
    assert!(matches!(overflow, Unbalanced::Overflow(_)), "{overflow}");
}

#[test]
fn rows_have_one_order_and_are_all_there() {
    let good = good();
    let changed = |change: &dyn Fn(&mut Output)| {
        let mut output = good.clone();
        change(&mut output);
        refused(&bytes(&output))
    };
    assert!(matches!(
        changed(&|o| o.accounts.swap(0, 1)),
        Error::Order { tag: 1, row: 1 }
    ));
    assert!(matches!(
        changed(&|o| o.miners.reverse()),
        Error::Order { tag: 2, row: 1 }
    ));
    assert!(matches!(
        changed(&|o| o.coordinators.reverse()),
        Error::Order { tag: 3, row: 1 }
    ));
    let empty = AccountRow {
        account: [0xff; 32],
        amount: 0,
    };
    let last = good.accounts.len() as u64;
    let found = changed(&|o| o.accounts.push(empty.clone()));
    assert!(matches!(found, Error::Empty { row } if row == last));
}

#[test]
fn bytes_that_are_no_output_are_refused() {
    let good = good();
    let written = bytes(&good);
    let accounts = good.accounts.len();
    assert_eq!(Output::read(&written[..]).unwrap(), good);
    let patched = |at: usize, byte: u8| {
        let mut patched = written.clone();
        patched[at] = byte;
        refused(&patched)
    };
    assert!(matches!(patched(0, 0), Error::Magic));
    assert!(matches!(patched(8, 2), Error::Version { found: 2 }));
    assert!(matches!(patched(50, 0), Error::Tag { found: 0, after: 0 }));
    assert!(matches!(patched(50, 5), Error::Tag { found: 5, after: 0 }));
    // The second account is said to be a miner, whose row is longer, so some byte is no tag then.
    assert!(matches!(
        patched(50 + 49, 9),
        Error::Tag { found: 9, after: 1 }
    ));
    assert!(matches!(
        patched(50 + accounts * 49 + 177, 1),
        Error::Tag { found: 1, after: 2 }
    ));
    let counts = written.len() - 188;
    for (tag, at) in [(1, 0), (2, 4), (3, 8)] {
        let found = patched(counts + at, written[counts + at] + 1);
        assert!(
            matches!(found, Error::Count { tag: t, .. } if t == tag),
            "{found}"
        );
    }
    assert!(matches!(
        refused(&[&written[..], &[0]].concat()),
        Error::Trailing
    ));
    assert!(matches!(
        refused(&written[..written.len() - 1]),
        Error::Truncated
    ));
    assert!(refused(&written[..10]).to_string().contains("; hint: "));
}
