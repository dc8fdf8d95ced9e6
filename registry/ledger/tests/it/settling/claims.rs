//! What was earned is claimed, once and no more than there is.

use adit_ledger::refusal::Rule;
use adit_ledger::rewards::{Earned, RewardTree};
use adit_ledger::{Action, Event, Refusal};
use adit_protocol::{Amount, Document as _, Hash};

use super::*;
use crate::support::*;

#[test]
fn claims_take_what_was_earned_and_not_taken() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (first, tree) = plain(&state, 0, 1_000, &[]);
    let claim = claims(&tree, 4);
    assert_eq!(
        refused(&mut state, 4, claim.clone()),
        Refusal::Rule(Rule::NoRewards)
    );
    settle(&mut state, &first);
    for now in 1..3 {
        epoch(&mut state, now);
        assert_eq!(
            refused(&mut state, 4, claim.clone()),
            Refusal::Rule(Rule::NoRewards)
        );
    }
    epoch(&mut state, 3);
    // The proof is of the account that signs.
    let stolen = claims(&tree, 5);
    let not_in = Refusal::Rule(Rule::ClaimProof);
    assert_eq!(refused(&mut state, 4, stolen), not_in);
    let mut broken = |change: &dyn Fn(&mut Amount, &mut u64, &mut Vec<Hash>)| {
        let Action::Claim {
            mut total,
            mut index,
            mut proof,
        } = claim.clone()
        else {
            unreachable!()
        };
        change(&mut total, &mut index, &mut proof);
        let claim = Action::Claim {
            total,
            index,
            proof,
        };
        assert_eq!(refused(&mut state, 4, claim), not_in);
    };
    broken(&|total, _, _| *total = total.plus(Amount::from_units(1)).unwrap());
    broken(&|total, _, _| *total = Amount::from_units(u128::MAX));
    broken(&|total, _, _| *total = Amount::ZERO);
    broken(&|_, index, _| *index ^= 1);
    broken(&|_, index, _| *index = u64::MAX);
    broken(&|_, _, proof| proof.clear());
    broken(&|_, _, proof| proof.push(Hash::ZERO));
    broken(&|_, _, proof| proof[0] = Hash::ZERO);
    // The account never had a token: the fee is of what it claims.
    let (earned, _) = tree.prove(&account(4)).unwrap();
    assert_eq!(state.account(&account(4)), Default::default());
    let events = ok(&mut state, 4, claim.clone());
    let claimed = Event::Claimed {
        account: account(4),
        amount: earned.total,
    };
    assert!(events.contains(&claimed), "{events:?}");
    let found = state.account(&account(4));
    let fee = state.parameters().fee_min;
    assert_eq!(Some(found.free), earned.total.minus(fee));
    assert_eq!((found.claimed, found.number), (earned.total, 1));
    assert_eq!(
        state.head().rewards.units(),
        first.paid.units() - earned.total.units()
    );
    check_supply(&state);
    assert_eq!(refused(&mut state, 4, claim), Refusal::Nothing);

    // The next root has more for both; one has taken a part of it.
    close(&mut state, 2, 9);
    let (second, tree_2) = plain(&state, 2, 400, tree.earned());
    settle(&mut state, &second);
    epoch(&mut state, 5);
    assert_eq!(refused(&mut state, 5, claims(&tree, 5)), not_in);
    for from in [4, 5] {
        ok(&mut state, from, claims(&tree_2, from));
        let (earned, _) = tree_2.prove(&account(from)).unwrap();
        assert_eq!(state.account(&account(from)).claimed, earned.total);
        check_supply(&state);
    }
    assert_eq!(state.head().rewards, Amount::ZERO);
}

#[test]
fn a_claim_pays_its_fee_or_is_none() {
    let mut state = network();
    close(&mut state, 0, 7);
    // Less than a fee for each of two.
    let small = Amount::from_units(15_000_000_000);
    let (settlement, tree) = settlement(&state, 0, &[(COORDINATOR, small)], &[], &[4, 5]);
    settle(&mut state, &settlement);
    epoch(&mut state, 3);
    let refusal = refused(&mut state, 4, claims(&tree, 4));
    assert!(
        matches!(refusal, Refusal::Insufficient { place: "free", .. }),
        "{refusal:?}"
    );
}

/// A quorum that lies can promise more than it sets aside; nobody gets what is not there.
#[test]
fn no_claim_takes_more_than_was_set_aside() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (mut lie, _) = plain(&state, 0, 1_000, &[]);
    let promise = |number, total| Earned {
        account: account(number),
        total,
    };
    let mut promised = [promise(4, tokens(700)), promise(5, tokens(700))];
    promised.sort_by_key(|one| one.account);
    let tree = RewardTree::new(promised.to_vec());
    lie.earned = tree.root();
    settle(&mut state, &lie);
    epoch(&mut state, 3);
    ok(&mut state, 5, claims(&tree, 5));
    let refusal = Refusal::Insufficient {
        place: "set aside",
        found: state.head().rewards,
        needed: tokens(700),
    };
    assert_eq!(refused(&mut state, 4, claims(&tree, 4)), refusal);
    check_supply(&state);
}

/// What was set aside for a settlement and is gone by another lie cannot be taken back.
#[test]
fn what_is_gone_is_not_taken_back() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (mut lie, _) = plain(&state, 0, 100, &[]);
    let tree = RewardTree::new(vec![Earned {
        account: account(4),
        total: tokens(900),
    }]);
    lie.earned = tree.root();
    settle(&mut state, &lie);
    epoch(&mut state, 3);
    close(&mut state, 2, 8);
    let (next, _) = plain(&state, 2, 1_000, &[]);
    settle(&mut state, &next);
    ok(&mut state, 4, claims(&tree, 4));
    let (mut other, _) = plain(&state, 2, 10, &[]);
    other.replaces = Some(next.hash());
    let refusal = refusal(&mut state, &other);
    assert!(
        matches!(
            refusal,
            Refusal::Insufficient {
                place: "set aside",
                ..
            }
        ),
        "{refusal:?}"
    );
    check_supply(&state);
}
