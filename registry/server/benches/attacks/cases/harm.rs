//! What others lose by junk and by stake that hardly works. None of it gains anything: these are the
//! prices of doing harm.

use super::super::model::{Epoch, Node, Setting, TOKEN, WHOLE};
use super::{Case, diluted};

/// In a quiet network, where fees bound slices, and in a busy one, where stake does.
pub fn harm(setting: &Setting) -> Vec<Case> {
    let busy = Setting {
        demand: 3 * setting.demand,
        ..setting.clone()
    };
    let mut cases = Vec::new();
    for setting in [setting, &busy] {
        for density in [1_000_000, 500_000, 100_000] {
            cases.push(diluted(setting, density, WHOLE as u32));
        }
        cases.push(joining(setting));
    }
    cases
}

/// A stake ten times that of all miners completes one tiny task for each coordinator, and so is one of
/// those among whom what goes by stake is divided, but bound by its own fees.
fn joining(setting: &Setting) -> Case {
    let before = Epoch::new(setting);
    let stake: u128 = before.miners.iter().map(Node::stake).sum();
    let mut epoch = before.clone();
    let miner = epoch.miner(Node::own(10 * stake, 0));
    for coordinator in 0..setting.coordinators {
        epoch.junk(coordinator, miner, TOKEN / 1_000);
    }
    let how = format!(
        "a stake 10 times that of all miners, junk for 0.001 tokens at each coordinator, among {} tokens of clients of each",
        setting.demand
    );
    Case::new("stake that hardly works", how, epoch.draw(), before.draw())
}
