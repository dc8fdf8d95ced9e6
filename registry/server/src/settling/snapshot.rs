//! The ledger's part of a settlement's input: the rules, the nodes and their votes, as the ledger has
//! them at the end of an epoch.

use std::collections::BTreeMap;

use adit_ledger::registration::Role;
use adit_ledger::state::Node;
use adit_ledger::{Key, Parameters, State};
use adit_protocol::{Amount, Hash};
use adit_settlement::input::{self, Coordinator, Miner, Shares, Snapshot, Vote};

/// The whole, in parts per million.
const WHOLE_PPM: u32 = 1_000_000;

/// The numbers of an epoch's settlement. `left` is what can be minted at most.
pub fn parameters(
    rules: &Parameters,
    genesis: Hash,
    epoch: u64,
    left: Amount,
) -> input::Parameters {
    let rewards = &rules.rewards;
    let shares = rewards.shares;
    input::Parameters {
        epoch,
        genesis: *genesis.as_bytes(),
        emission: rewards.emission.min(left).units(),
        shares: Shares {
            miners: shares.miners,
            voters: shares.voters,
            checkers: shares.checkers,
            treasury: shares.treasury,
        },
        fuel_weight: rewards.fuel_weight,
        nn_weight: rewards.nn_weight,
        work_of_price_ppm: rewards.work_of_price_ppm,
        slice_of_fees_ppm: rewards.slice_of_fees_ppm,
        fee_ppm: rewards.fee_ppm,
        work_share_ppm: rewards.work_share_ppm,
        cap_ppm: rewards.cap_ppm,
        saturation: rewards.saturation,
        miner_stake_min: rules.miner_stake_min.units(),
        coordinator_stake_min: rules.coordinator_stake_min.units(),
        quality_min_ppm: rewards.quality_min_ppm,
        attempt_fee_max_ppm: rewards.attempt_fee_max_ppm,
    }
}

/// The snapshot of a state at the end of `epoch`: all nodes that were ever registered, since what
/// they worked for is owed to them. A miner that is jailed, below the least stake, or leaving and
/// took its stake away, has the quality 0, and so no part of the emission; the quality of all others
/// is whole, as there are no checkers yet who measure it.
///
/// `escrows` says what is left of a coordinator's escrow for this epoch.
pub fn snapshot(
    epoch: u64,
    state: &State,
    left: Amount,
    escrows: impl Fn(&Key) -> Amount,
) -> Snapshot {
    let rules = state.parameters();
    let genesis = state.head().genesis;
    let of = |role: Role| {
        let nodes = state.nodes().filter(move |(_, node)| node.role == role);
        nodes.collect::<Vec<(&Key, &Node)>>()
    };
    let (coordinators, miners) = (of(Role::Coordinator), of(Role::Miner));
    let nodes = coordinators.iter().chain(&miners);
    let mut votes = Vec::new();
    for (number, (key, _)) in (0u32..).zip(nodes) {
        votes.extend(state.votes_for(**key).map(|(voter, amount)| Vote {
            node: number,
            voter: *voter.as_bytes(),
            amount: amount.units(),
        }));
    }
    Snapshot {
        parameters: parameters(rules, genesis, epoch, left),
        coordinators: (coordinators.iter())
            .map(|(key, node)| Coordinator {
                node: *key.as_bytes(),
                operator: *node.operator.as_bytes(),
                stake: node.stake.units(),
                escrow: escrows(key).units(),
                commission_ppm: node.profile.commission_ppm,
            })
            .collect(),
        miners: (miners.iter())
            .map(|(key, node)| Miner {
                node: *key.as_bytes(),
                operator: *node.operator.as_bytes(),
                stake: node.stake.units(),
                commission_ppm: node.profile.commission_ppm,
                quality_ppm: match node.stake >= rules.miner_stake_min && node.jailed.is_none() {
                    true => WHOLE_PPM,
                    false => 0,
                },
                cut_ppm: 0,
            })
            .collect(),
        votes,
    }
}

/// The index of each node of a snapshot's list by the key that names it.
pub(super) fn indexes<'a>(nodes: impl Iterator<Item = &'a [u8; 32]>) -> BTreeMap<[u8; 32], u32> {
    nodes.copied().zip(0u32..).collect()
}
