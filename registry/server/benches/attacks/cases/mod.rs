//! The attacks: what is done, and what else could be done with the same stake and money.
//!
//! | file | subject |
//! |---|---|
//! | `junk.rs` | tasks that nobody needs |
//! | `stake.rs` | stake that is divided, large, idle, barely used or late |
//! | `operators.rs` | what operators can do to voters, miners and clients |
//! | `harm.rs` | what others lose by junk, which gains nothing |

mod harm;
mod junk;
mod operators;
mod stake;

pub use self::harm::harm;
use self::junk::{collusion, dilution, elsewhere, filling, mixed, rounding};
pub use self::junk::{diluted, junk, unequal};
pub use self::operators::failures;
use self::operators::{again, commission, unpaid, withheld};
pub use self::stake::above_saturation;
use self::stake::{idle, late, riding, splits, whales};
use super::model::{Balance, Epoch, Node, ROUNDING, Setting, TOKEN};

/// What somebody does: epochs, and how many there are of each.
type Course = Vec<(Epoch, u32)>;

/// An attack.
pub struct Case {
    pub attack: &'static str,
    pub how: String,
    does: Course,
    /// What else could be done. The best of it is what the attack is compared with.
    instead: Vec<Course>,
    /// Why it pays, where it does: what the rules as they are do not prevent.
    pub pays: Option<&'static str>,
}

/// What an attack came to, against the best of what else could be done; in 10^-12 token.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// What it gets more, and need not spend.
    pub gain: i128,
    /// What it burns, pays to others and spends on running tasks more, and what it forgoes.
    pub cost: i128,
}

impl Outcome {
    pub fn pays(&self) -> bool {
        self.gain - self.cost > ROUNDING
    }
}

fn sum(course: &Course) -> Balance {
    let mut sum = Balance::default();
    for (epoch, times) in course {
        let balance = epoch.balance();
        sum.gets += balance.gets * i128::from(*times);
        sum.cost += balance.cost * i128::from(*times);
    }
    sum
}

impl Case {
    fn new(attack: &'static str, how: impl Into<String>, does: Epoch, instead: Epoch) -> Case {
        Case {
            attack,
            how: how.into(),
            does: vec![(does, 1)],
            instead: vec![vec![(instead, 1)]],
            pays: None,
        }
    }

    fn or(mut self, instead: Epoch) -> Case {
        self.instead.push(vec![(instead, 1)]);
        self
    }

    fn pays(mut self, why: &'static str) -> Case {
        self.pays = Some(why);
        self
    }

    /// What all others lose by it, against the first of what else could be done.
    pub fn harm(&self) -> i128 {
        let others = |course: &Course| -> i128 {
            let epochs = course.iter();
            epochs
                .map(|(epoch, times)| epoch.others() * i128::from(*times))
                .sum()
        };
        self.instead.first().map_or(0, others) - others(&self.does)
    }

    pub fn outcome(&self) -> Outcome {
        let does = sum(&self.does);
        let instead = self.instead.iter().map(sum).max_by_key(Balance::net);
        let instead = instead.unwrap_or_default();
        let (more, dearer) = (does.gets - instead.gets, does.cost - instead.cost);
        Outcome {
            gain: more.max(0) + (-dearer).max(0),
            cost: dearer.max(0) + (-more).max(0),
        }
    }
}

fn of(setting: &Setting, kinds: &[fn(&Setting) -> Vec<Case>]) -> Vec<Case> {
    kinds.iter().flat_map(|kind| kind(setting)).collect()
}

/// Attacks that pay at no rules that a ledger takes by default or within the ranges, and in no network.
pub fn everywhere(setting: &Setting) -> Vec<Case> {
    of(
        setting,
        &[
            junk, elsewhere, rounding, collusion, unequal, dilution, filling, splits, whales, idle,
            riding, withheld, again, failures,
        ],
    )
}

/// Those, and the ones that depend on the very numbers of a setting.
pub fn all(setting: &Setting) -> Vec<Case> {
    let mut cases = everywhere(setting);
    cases.extend(of(setting, &[mixed, late]));
    cases
}

/// A coordinator that does not pay its miners or its voters. These are no attacks on the emission, and
/// no settlement can see them.
pub fn owing(setting: &Setting) -> Vec<Case> {
    of(setting, &[unpaid, commission])
}

/// A coordinator and a miner of the attacker, with clients or without, and the two's numbers.
fn own(setting: &Setting, clients: bool) -> (Epoch, usize, usize) {
    let mut epoch = Epoch::new(setting);
    let load = u128::from(clients) * setting.demand * TOKEN;
    let (coordinators, miners) = (epoch.stake(&epoch.coordinators), epoch.stake(&epoch.miners));
    let least = setting.rules.coordinator_stake_min.units();
    let coordinator = epoch.coordinator(Node::own(coordinators.max(least), load));
    let least = setting.rules.miner_stake_min.units();
    let miner = epoch.miner(Node::own(miners.max(least), load));
    (epoch.draw(), coordinator, miner)
}
