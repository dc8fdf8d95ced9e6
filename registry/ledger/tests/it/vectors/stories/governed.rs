//! A ledger whose rules are changed by votes.

use adit_ledger::state::Spend;

use super::*;

fn propose(settings: &[&str], spends: &[(&str, u64)]) -> Action {
    let spend = |(uri, amount): &(&str, u64)| Spend {
        account: key(uri),
        amount: tokens(*amount),
    };
    Action::Propose {
        title: "Something else".to_owned(),
        settings: settings.iter().map(|text| text.parse().unwrap()).collect(),
        spends: spends.iter().map(spend).collect(),
    }
}

fn ballot(proposal: Hash, yes: bool) -> Action {
    Action::Ballot { proposal, yes }
}

pub fn governed() -> Story {
    let rich = ["//Alice", "//Bob", "//Charlie", "//Dave"].map(|uri| (uri, tokens(100_000)));
    let parameters = Parameters {
        governance: GovernanceRules {
            voting_epochs: 1,
            timelock_epochs: 3,
            ..GovernanceRules::default()
        },
        ..parameters()
    };
    let about = "proposals that are accepted, rejected, without quorum, without money; stake as of \
                 the beginning of the proposal's epoch";
    let mut it = story("governed", about, parameters, &rich);
    it.block(0);
    it.done("//Alice", stake(60_000));
    it.done("//Bob", stake(30_000));
    it.done("//Charlie", stake(10_000));
    let register = registers(&mut it, Role::Miner, "//Bob", MINER, 20_000);
    it.done("//Bob", register);
    it.done("//Bob", unvote(MINER, 4_000));
    // Nothing was staked when this epoch began.
    let early = it.done("//Dave", propose(&["fee_min 0"], &[]));
    it.refused("//Alice", ballot(early, true), "rule no-weight");

    it.block(EPOCH_MS);
    it.done("//Alice", unstake(50_000, None));
    it.done("//Dave", stake(50_000));
    let cheaper = it.done(
        "//Dave",
        propose(&["fee_min 0.02", "rewards.fee_ppm 60000"], &[]),
    );
    let question = it.done("//Dave", propose(&[], &[]));
    it.refused("//Dave", ballot(cheaper, true), "rule no-weight");
    it.refused("//Alice", ballot(Hash::ZERO, true), "no-proposal");
    it.done("//Alice", ballot(cheaper, true));
    it.refused("//Alice", ballot(cheaper, false), "rule voted-already");
    it.done("//Bob", ballot(cheaper, false));
    it.done("//Bob", ballot(question, false));
    let spends = it.done(
        "//Charlie",
        propose(&[], &[("//Eve", 700), ("//Ferdie", 1)]),
    );
    let much = it.done("//Charlie", propose(&["vote_min 2"], &[("//Eve", 1_300)]));
    for id in [spends, much] {
        it.done("//Alice", ballot(id, true));
    }
    for setting in [
        "governance.timelock_epochs 2",
        "rewards.shares.miners 1",
        "engine-remove blake3:b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0",
        "slashing.reporter_ppm 1000001",
    ] {
        it.refused("//Dave", propose(&[setting], &[]), "settings");
    }
    it.refused("//Dave", propose(&[], &[("//Eve", 0)]), "nothing");
    it.refused("//Eve", propose(&[], &[]), "insufficient");

    it.block(2 * EPOCH_MS);
    let engine = format!("engine-add {}", Hash::of(b"another engine"));
    let later = it.done("//Dave", propose(&[&engine, "unbonding_epochs 1"], &[]));
    it.done("//Dave", ballot(later, true));
    it.done("//Alice", ballot(later, true));
    it.done("//Dave", unstake(1_000, None));

    // What Bob took back in the first epoch is stake again, which does not count for `later`.
    it.block(3 * EPOCH_MS);
    it.done("//Bob", ballot(later, false));
    it.refused("//Charlie", ballot(cheaper, true), "rule counted");
    it.refused("//Charlie", ballot(question, true), "no-proposal");
    it.done("//Charlie", stake(3));
    // Two epochs have no block; `much` finds too little in the treasury.
    it.block(6 * EPOCH_MS);
    let last = it.done("//Alice", propose(&[], &[("//Alice", 5)]));
    it.done("//Alice", ballot(last, true));
    it.done("//Bob", unstake(16_000, Some(MINER)));
    it.block(7 * EPOCH_MS + 5);
    it.done("//Alice", stake(1));
    it
}
