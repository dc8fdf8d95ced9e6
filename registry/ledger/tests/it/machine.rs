//! Long because one machine makes every kind of transaction, and what each does is checked there.
//!
//! Random transactions, many of them against the rules: whatever happens, no token comes or goes.

use std::collections::BTreeMap;
use std::ops::Bound;

use adit_ledger::entry::{EpochRoot, LogEntry, Replay};
use adit_ledger::registration::{NodeKeys, Role};
use adit_ledger::rewards::RewardTree;
use adit_ledger::root::StateTree;
use adit_ledger::slashing::Misdeed;
use adit_ledger::state::{Entry, Spend};
use adit_ledger::tree::Tree;
use adit_ledger::{Action, Event, Key, State};
use adit_protocol::{Amount, Document as _, Hash, Status};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::leases::{Lease, log as log_of, terms};
use crate::support::*;

/// What is tried.
#[derive(Clone, Debug)]
enum Step {
    /// A block so many thousandths of an epoch later.
    Block(u64),
    /// A transaction.
    Do(Try),
}

/// A transaction as numbers.
#[derive(Clone, Debug)]
struct Try {
    from: usize,
    what: u8,
    whom: usize,
    /// Thousandths of what there is; or any amount.
    amount: Result<u64, u128>,
    /// Whether an account and a node are taken that fit, where there are some.
    fits: bool,
    /// Added to the number; mostly nothing.
    number: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = prop_oneof![
        8 => (0u64..=1000).prop_map(Ok),
        1 => any::<u128>().prop_map(Err),
        1 => (0u128..2).prop_map(Err),
    ];
    let number = prop_oneof![12 => Just(0u64), 1 => 1u64..3];
    let fits = prop::bool::weighted(0.8);
    let act = (0..6usize, 0..56u8, 0..8usize, amount, fits, number).prop_map(
        |(from, what, whom, amount, fits, number)| {
            Step::Do(Try {
                from,
                what,
                whom,
                amount,
                fits,
                number,
            })
        },
    );
    let step = prop_oneof![1 => (0u64..2500).prop_map(Step::Block), 9 => act];
    proptest::collection::vec(step, 100..300)
}

/// What accounts had earned by the settlement of each epoch.
type Trees = BTreeMap<u64, RewardTree>;

/// Numbers of the nodes of a role.
fn numbers(state: &State, role: Role) -> Vec<usize> {
    let of_role = |number: &usize| state.node(&node(*number)).is_some_and(|n| n.role == role);
    (0..NODES.len()).filter(of_role).collect()
}

/// Closes or settles an epoch, or claims; by anyone, as for the first two it does not matter.
fn settling(state: &State, trees: &Trees, step: &Try) -> (usize, Action, Option<RewardTree>) {
    let Try { from, whom, .. } = *step;
    let mut checkers = numbers(state, Role::Checker);
    if step.fits {
        let counts = |node: &adit_ledger::state::Node| state.takes_part(node);
        checkers.retain(|number| state.node(&node(*number)).is_some_and(counts));
    } else {
        checkers.truncate(whom % 3);
    }
    let last = state.head().epoch.saturating_sub(1);
    let coordinators = numbers(state, Role::Coordinator);
    match step.what {
        36..=38 => {
            let fitting = coordinators.get(whom % coordinators.len().max(1));
            let number = fitting.copied().filter(|_| step.fits).unwrap_or(whom);
            let epoch = if step.fits { last } else { whom as u64 };
            let before = state.last_closing(&node(number)).map_or(0, |one| one.size);
            let size = match step.amount {
                Ok(more) => before + more,
                Err(size) => size as u64,
            };
            let mut closes = Closes::new(state, number, epoch, size, &checkers);
            // Mostly a log in which some leases ended, so that claims can be answered.
            let log = expiries(closes.origin, epoch).root();
            if before <= log.size && whom != 7 {
                (closes.size, closes.root) = (log.size, Some(log.root));
            }
            (from, closes.action(), None)
        }
        39..=41 => {
            let open = state.first_unsettled();
            let again = state.last_settled().filter(|_| whom.is_multiple_of(3));
            let epoch = match again {
                _ if !step.fits => whom as u64,
                Some((epoch, _)) => epoch,
                None => open.unwrap_or(last),
            };
            let replaced = state.settled(epoch).filter(|_| step.fits);
            let charges: Vec<_> = coordinators
                .iter()
                .map(|number| {
                    let given_back = replaced.and_then(|before| before.charge_of(&node(*number)));
                    let there = [
                        given_back.map_or(Amount::ZERO, |charge| charge.spent),
                        state.escrow_of(&node(*number)),
                    ];
                    let there: Amount = there.into_iter().sum();
                    let spent = match step.amount {
                        Ok(share) => there.units() / 1000 * u128::from(share),
                        // Not so much that the test's own arithmetic ends.
                        Err(units) => units >> 40,
                    };
                    (*number, Amount::from_units(spent))
                })
                .filter(|(_, spent)| !spent.is_zero())
                .collect();
            let before = trees.range(..epoch).next_back();
            let before = before.map_or(&[][..], |(_, tree)| tree.earned());
            let (mut settlement, tree) = settlement(state, epoch, &charges, before, &[whom, from]);
            settlement.replaces = replaced.map(|before| before.hash);
            (from, settles(state, &settlement, &checkers), Some(tree))
        }
        _ => {
            let tree = state.rewards().and_then(|(epoch, _)| trees.get(&epoch));
            let earned = tree.map_or(&[][..], RewardTree::earned);
            let whose = earned.get(whom % earned.len().max(1));
            let number = whose.and_then(|one| (0..6).find(|n| account(*n) == one.account));
            match (tree, number) {
                (Some(tree), Some(number)) if step.amount.is_ok() => {
                    let signer = if step.fits { number } else { from };
                    (signer, claims(tree, number), None)
                }
                _ => {
                    let action = Action::Claim {
                        total: Amount::from_units(
                            step.amount.unwrap_or_else(|units| units as u64).into(),
                        ),
                        index: whom as u64,
                        proof: Vec::new(),
                    };
                    (from, action, None)
                }
            }
        }
    }
}

/// What a network must have before its epochs can be closed and settled.
fn founding(state: &State) -> [(usize, Action); 3] {
    let stake = Action::Stake {
        amount: tokens(400_000),
    };
    let least = state.parameters().coordinator_stake_min;
    let coordinator = registration(Role::Coordinator, 1, 1, least);
    let escrow = Action::Deposit {
        node: node(1),
        amount: tokens(30_000),
    };
    [(1, stake), (1, coordinator), (3, escrow)]
}

const SCOPES: [&str; 3] = ["acme", "acme-2", "solo"];
const RELEASES: [(&str, &str); 8] = [
    ("acme/one", "1.0.0"),
    ("acme/one", "1.0.0-rc.1"),
    ("acme/one", "0.9.0"),
    ("acme/two", "10.0.0"),
    ("acme-2", "2.0.0"),
    ("acme-2", "10.0.0"),
    ("solo", "0.1.0-a"),
    ("solo", "0.1.0"),
];

fn release(number: usize) -> (&'static str, &'static str) {
    RELEASES[number % RELEASES.len()]
}

/// The account that asks for something, what it is, and for a settlement what accounts have earned by
/// then.
fn action(state: &State, trees: &Trees, step: &Try) -> (usize, Action, Option<RewardTree>) {
    match step.what {
        49.. => {
            let (from, action) = lates(state, step);
            return (from, action, None);
        }
        44.. => return (step.from, indexing(step), None),
        36.. => return settling(state, trees, step),
        _ => {}
    }
    let Try {
        mut from,
        what,
        mut whom,
        ..
    } = *step;
    if step.fits && !matches!(what, 0..=4 | 8..=10 | 16..) {
        // Not the checkers, who are needed for verdicts.
        let known: Vec<_> = (0..8)
            .filter(|number| match what {
                6 => state.votes_for(node(*number)).count() > 0,
                14 | 15 => state
                    .node(&node(*number))
                    .is_some_and(|n| n.role == Role::Coordinator),
                _ => state.node(&node(*number)).is_some(),
            })
            .collect();
        if let Some(number) = known.get(whom % known.len().max(1)) {
            whom = *number;
        }
        let found = state.node(&node(whom));
        let whose = match what {
            // Who votes.
            5 | 6 => state.votes_for(node(whom)).next().map(|(voter, _)| voter),
            7 | 14 => None,
            _ => found.map(|found| found.operator),
        };
        if let Some(number) = whose.and_then(|key| (0..6).find(|n| account(*n) == key)) {
            from = number;
        }
    }
    if step.fits && what >= 16 {
        let scope = match what {
            20 => SCOPES[whom % SCOPES.len()],
            _ => release(whom).0.split('/').next().unwrap(),
        };
        let owner = state.scope_owner(&scope.parse().unwrap());
        if let Some(number) = owner.and_then(|key| (0..6).find(|n| account(*n) == key)) {
            from = number;
        }
    }
    let role = match (state.node(&node(whom)), step.fits) {
        (Some(found), true) => found.role,
        _ => Role::ALL[whom % 3],
    };
    let (key, who) = (node(whom), state.account(&account(from)));
    let votes = || {
        state
            .votes_for(key)
            .find(|(voter, _)| *voter == account(from))
    };
    let there = match what {
        1 => state.parameters().faucet_account,
        4 | 7 => who.stake,
        5 | 6 => votes().map_or(Amount::ZERO, |(_, amount)| amount),
        8..=10 => state.parameters().stake_min(role),
        15 => state.node(&key).map_or(Amount::ZERO, |node| node.escrow),
        _ => who.free,
    };
    let amount = match step.amount {
        // Some have enough left when they were punished.
        Ok(_) if matches!(what, 8..=10) && role == Role::Miner => {
            Amount::from_units(there.units() * (1 + 2 * (whom as u128 % 2)))
        }
        Ok(_) if matches!(what, 8..=10) => there,
        Ok(share) => Amount::from_units(there.units() / 1000 * u128::from(share)),
        Err(units) => Amount::from_units(units),
    };
    let node = key;
    let action = match what {
        0 => Action::Transfer {
            to: account(whom),
            amount,
        },
        1 => Action::Faucet { amount },
        2 | 3 => Action::Stake { amount },
        4 => Action::Unstake { amount, from: None },
        5 => Action::Unstake {
            amount,
            from: Some(node),
        },
        6 => Action::Unvote { node, amount },
        7 => Action::Vote { node, amount },
        8..=10 => registration(role, from, whom, amount),
        11 => Action::Update {
            node,
            profile: profile(role, 50_000),
        },
        12 => {
            let next = whom + 3;
            let keys = NodeKeys {
                node: crate::support::node(next),
                log: (role != Role::Miner).then(log),
            };
            let proof = proof(from, next, keys);
            Action::RotateKey { node, keys, proof }
        }
        13 => Action::Deregister { node },
        14 => Action::Deposit { node, amount },
        15 => Action::Withdraw { node, amount },
        16..20 => governing(state, step, amount),
        _ => {
            let (from, action) = punishing(state, step);
            return (from, action, None);
        }
    };
    (from, action, None)
}

/// Publishes, marks or hands over.
fn indexing(step: &Try) -> Action {
    let whom = step.whom;
    match step.what {
        44..=46 => {
            let (name, version) = release(whom);
            let mut publication = publication(name, version);
            // Whoever tries again has something else.
            publication.component = Hash::of(format!("{:?}", step.amount).as_bytes());
            Action::Publish(publication)
        }
        47 => {
            let (name, version) = release(whom);
            yank(
                name,
                version,
                !matches!(step.amount, Ok(share) if share > 700),
            )
        }
        _ => Action::TransferName {
            scope: SCOPES[whom % SCOPES.len()].parse().unwrap(),
            to: account(whom / 2),
        },
    }
}

/// The number of a node key.
fn number_of(key: &Key) -> Option<usize> {
    (0..NODES.len()).find(|number| node(*number) == *key)
}

fn lease(coordinator: usize, miner: usize, epoch: u64, task: usize) -> Lease {
    Lease {
        genesis: genesis().0.hash(),
        coordinator: NODES[coordinator].clone(),
        miner: NODES[miner].clone(),
        task: Hash::of(&[task as u8]),
        epoch,
        deadline_ms: BEGIN_MS + (epoch + 1) * EPOCH_MS - 1,
        terms: terms(),
        status: Status::Ok,
        fuel: 7,
    }
}

/// The log of a coordinator's key as it is closed with an epoch: expired leases of the last epochs, of
/// every other task.
fn expiries(coordinator: Key, epoch: u64) -> Tree {
    let coordinator = number_of(&coordinator).unwrap_or(0);
    let epochs = epoch.saturating_sub(4)..=epoch;
    let leases = epochs.flat_map(|epoch| (0..NODES.len()).map(move |miner| (epoch, miner)));
    let entry = |(epoch, miner)| lease(coordinator, miner, epoch, 0).expiry();
    log_of(&leases.map(entry).collect::<Vec<_>>())
}

/// A claim of a late receipt, or an answer to one.
fn lates(state: &State, step: &Try) -> (usize, Action) {
    let Try { from, whom, .. } = *step;
    let of = |role| {
        let all = numbers(state, role);
        let fitting = all.get(whom % all.len().max(1)).copied();
        fitting.filter(|_| step.fits).unwrap_or(whom)
    };
    let (coordinator, miner) = (of(Role::Coordinator), of(Role::Miner));
    let now = state.node(&node(coordinator)).map(|node| node.keys.node);
    let signer = now.and_then(|key| number_of(&key)).unwrap_or(coordinator);
    // Of an epoch that was closed, where there is one: else nothing could be answered.
    let epoch = state.head().epoch;
    let mut closed = epoch.saturating_sub(8)..epoch;
    let closed = closed.find(|epoch| state.closing(&node(coordinator), *epoch).is_some());
    let drawn = closed.unwrap_or(epoch).saturating_sub(whom as u64 % 3);
    let lease = lease(signer, miner, drawn, whom / 6);
    if step.what <= 50 {
        return (from, lease.claim(node(coordinator), &mut rng()));
    }
    let open: Vec<_> = state.claims().collect();
    let found = open.get(whom % open.len().max(1)).and_then(|(id, claim)| {
        let body = claim.receipt()?.body;
        let log = (body.epoch..body.epoch + 4)
            .map(|epoch| expiries(Key::from_bytes(body.coordinator), epoch))
            .find(|log| Some(log.root()) == claim.log)?;
        let expires = |leaf: &Vec<u8>| adit_ledger::late::answers(leaf, &body);
        let included = log.included(log.leaves().iter().position(expires)?)?;
        Some(Action::Answer {
            assignment: **id,
            leaf: included.index,
            entry: included.leaf,
            proof: included.proof,
        })
    });
    let wrong = || Action::Answer {
        assignment: open.first().map_or(lease.hash(), |(id, _)| **id),
        leaf: whom as u64,
        entry: lease.expiry().encode(),
        proof: Vec::new(),
    };
    (from, found.filter(|_| step.fits).unwrap_or_else(wrong))
}

/// A proposal, or a ballot on one of those that there are.
fn governing(state: &State, step: &Try, amount: Amount) -> Action {
    let known: Vec<_> = state.proposals().map(|(id, _)| *id).collect();
    match known.get(step.whom % known.len().max(1)) {
        Some(id) if step.what != 16 => Action::Ballot {
            proposal: *id,
            yes: step.whom != 2,
        },
        _ => {
            let settings = [
                "vote_min 2",
                "rewards.saturation 0",
                "unbonding_epochs 1",
                "rewards.emission 700",
            ];
            let setting = settings[step.whom % 4].parse().unwrap();
            let spend = Spend {
                account: account(step.whom),
                amount: Amount::from_units(amount.units() / 1_000),
            };
            Action::Propose {
                title: format!("Proposal {}", step.number),
                settings: Vec::from_iter((step.whom < 4).then_some(setting)),
                spends: Vec::from_iter((step.whom > 2).then_some(spend)),
            }
        }
    }
}

/// A report, or what becomes of one; of a node that fits if there is one, or else of any.
fn punishing(state: &State, step: &Try) -> (usize, Action) {
    let Try {
        from, what, whom, ..
    } = *step;
    let open: Vec<_> = state.reports().collect();
    let open = open.get(whom % open.len().max(1));
    let operator = |node: &Key| {
        let operator = state.node(node).map(|node| node.operator);
        operator.and_then(|key| (0..6).find(|number| account(*number) == key))
    };
    let fitting = (0..11).cycle().skip(whom).take(11).find(|number| {
        let found = state.node(&node(*number));
        found.is_some_and(|node| match what {
            20 | 21 => node.role == Role::Miner,
            22 => node.role == Role::Coordinator,
            30.. => node.jailed.is_some_and(|jailed| {
                let min = state.parameters().stake_min(node.role);
                jailed.until_epoch <= state.head().epoch && node.stake >= min
            }),
            _ => true,
        })
    });
    let number = fitting.filter(|_| step.fits).unwrap_or(whom);
    let node = node(number);
    // Its key of now, if that is one of ours.
    let now = state.node(&node).map_or(node, |node| node.keys.node);
    let now = (0..11).find(|number| crate::support::node(*number) == now);
    let now = now.unwrap_or(number);
    let evidence = format!("{}", whom % 3);
    let action = match what {
        20 | 21 => Action::Report {
            node,
            evidence: equivocation(now, evidence.as_bytes()),
        },
        22 => Action::Report {
            node,
            evidence: fork(now, &LOG, 9),
        },
        23..26 => {
            let role = state.node(&node).map(|node| node.role);
            let misdeed = match role {
                _ if !step.fits => Misdeed::ALL[2 + whom % 4],
                Some(Role::Miner) => Misdeed::WrongExecution,
                Some(Role::Coordinator) => Misdeed::MissingReceipt,
                _ => Misdeed::Judgement,
            };
            let evidence = Hash::of(evidence.as_bytes());
            Action::Accuse {
                node,
                misdeed,
                evidence,
            }
        }
        26..29 => {
            let report = open.map_or(Hash::ZERO, |(id, _)| **id);
            let guilty = (whom < 6).then_some([100_000, 333_333, 7][whom % 3]);
            let checkers = [8, 9, 10];
            let checkers = match open {
                Some((_, report)) if step.fits => checkers
                    .into_iter()
                    .filter(|number| {
                        let key = crate::support::node(*number);
                        let found = state.node(&key).is_some_and(|node| state.takes_part(node));
                        found && key != report.node
                    })
                    .collect(),
                _ => checkers[..1 + whom % 3].to_vec(),
            };
            verdict(state, report, guilty, &checkers)
        }
        29 => {
            let Some((id, report)) = open else {
                return (from, Action::Appeal { report: Hash::ZERO });
            };
            let from = operator(&report.node).filter(|_| step.fits);
            return (from.unwrap_or(step.from), Action::Appeal { report: **id });
        }
        _ => {
            let from = operator(&node).filter(|_| step.fits);
            return (from.unwrap_or(step.from), Action::Unjail { node });
        }
    };
    (from, action)
}

/// Tokens that unbond, by what they are, as a second account of it: taken from the events alone.
#[derive(Default)]
struct Watch {
    /// Epoch of the release, account -> amount.
    unbonding: BTreeMap<(u64, Key), u128>,
    /// What was claimed by each account.
    claimed: BTreeMap<Key, u128>,
    /// Penalties, and what they took.
    slashed: (u64, u128),
    /// Name and version -> component.
    releases: BTreeMap<(String, String), Hash>,
}

impl Watch {
    fn see(&mut self, state: &State, event: &Event) {
        let epoch = state.head().epoch;
        match event {
            Event::Unbonding {
                account,
                amount,
                until_epoch,
                ..
            } => {
                assert!(*until_epoch > epoch + state.parameters().unbonding_epochs);
                *self.unbonding.entry((*until_epoch, *account)).or_default() += amount.units();
            }
            Event::Released {
                account, amount, ..
            } => {
                // Nothing is released that did not unbond up to an epoch that has come.
                let mut left = amount.units();
                for ((until, whose), waiting) in &mut self.unbonding {
                    if whose == account && *until <= epoch {
                        let taken = left.min(*waiting);
                        *waiting -= taken;
                        left -= taken;
                    }
                }
                assert_eq!(left, 0, "{amount} too early for {account} in epoch {epoch}");
            }
            Event::Claimed { account, amount } => {
                let claimed = self.claimed.entry(*account).or_default();
                *claimed += amount.units();
                assert_eq!(*claimed, state.account(account).claimed.units());
            }
            Event::Slashed { amount, reward, .. } => {
                assert!(reward.units() <= amount.units() / 10);
                self.slashed.0 += 1;
                self.slashed.1 += amount.units();
            }
            Event::Published {
                name,
                version,
                component,
            } => {
                let place = (name.to_string(), version.to_string());
                let before = self.releases.insert(place, *component);
                assert_eq!(before, None, "{name} {version} is replaced");
            }
            _ => {}
        }
    }

    /// No account has more than it earned, however it was paid.
    fn check(&self, state: &State, trees: &Trees) {
        let tree = state.rewards().and_then(|(epoch, _)| trees.get(&epoch));
        for (account, claimed) in &self.claimed {
            let earned = tree.and_then(|tree| tree.prove(account));
            assert!(earned.is_some_and(|(one, _)| *claimed <= one.total.units()));
        }
    }

    /// What was published is there as it was, and nothing else.
    fn check_index(&self, state: &State) {
        let mut found = BTreeMap::new();
        for (name, releases) in state.names_from(Bound::Unbounded) {
            assert!(state.scope_owner(&name.scope()).is_some());
            for (version, release) in releases {
                found.insert((name.to_string(), version.to_string()), release.component);
            }
        }
        assert_eq!(found, self.releases);
    }
}

fn check(state: &State) {
    for (id, proposal) in state.proposals() {
        let ballots = state.ballots(*id).count();
        let voted: Amount = [proposal.yes, proposal.no].into_iter().sum();
        assert!(voted <= proposal.staked, "{ballots} voted with {voted}");
    }
    let head = state.head();
    let expected = head.issued.minus(head.burned).unwrap();
    assert_eq!(state.supply().total(), expected);
    for (key, node) in state.nodes() {
        let votes: Amount = state.votes_for(*key).map(|(_, amount)| amount).sum();
        assert_eq!(votes, node.stake);
    }
    for number in 0..ACCOUNTS.len() {
        let votes = state.votes_of(account(number)).count();
        assert_eq!(votes as u32, state.account(&account(number)).votes);
    }
}

#[test]
fn tokens_are_conserved_and_nothing_unbonds_early() {
    let mut runner = TestRunner::new(Config {
        cases: 128,
        failure_persistence: None,
        ..Config::default()
    });
    let (mut all, mut refused) = (0u64, 0u64);
    let mut kinds = BTreeMap::<String, u64>::new();
    let mut slashed = 0u64;
    let counts = std::cell::RefCell::new((&mut all, &mut refused, &mut kinds, &mut slashed));
    runner
        .run(&(steps(), any::<bool>()), |(steps, founded)| {
            let mut counts = counts.borrow_mut();
            let (genesis, ledger) = genesis();
            let mut state = State::new(&genesis, &ledger).unwrap();
            let mut log = Vec::new();
            let (mut watch, mut trees) = (Watch::default(), Trees::new());
            let block = |state: &mut State, log: &mut Vec<LogEntry>, watch: &mut Watch, ms: u64| {
                let head = state.head();
                if state.epoch_at(ms) > head.epoch {
                    let (epoch, root) = (head.epoch, StateTree::of(state).root());
                    log.push(LogEntry::Epoch(EpochRoot { epoch, state: root }));
                }
                let height = head.height + 1;
                log.push(LogEntry::Block {
                    height,
                    time_ms: ms,
                });
                let events = state.begin_block(ms).unwrap();
                events.iter().for_each(|event| watch.see(state, event));
            };
            block(&mut state, &mut log, &mut watch, BEGIN_MS);
            let mut first = Vec::new();
            for from in 0..3 {
                let stake = Action::Stake {
                    amount: Amount::tokens(50_000),
                };
                let bond = Amount::tokens(50_000);
                let checker = registration(Role::Checker, from, 8 + from, bond);
                first.extend([(from, stake), (from, checker)]);
            }
            first.extend(founding(&state).into_iter().filter(|_| founded));
            for (from, action) in first {
                let transaction = signed(&state, from, action);
                state.apply(&transaction).unwrap();
                let done = LogEntry::Transaction(Box::new(transaction.signed().clone()));
                log.push(done);
            }
            for step in steps {
                match step {
                    Step::Block(later) => {
                        let ms = state.head().time_ms + later * EPOCH_MS / 1000;
                        block(&mut state, &mut log, &mut watch, ms);
                    }
                    Step::Do(step) => {
                        let (from, action, tree) = action(&state, &trees, &step);
                        let mut name = action.name().to_owned();
                        let mut transaction = signed(&state, from, action).transaction().clone();
                        transaction.number += step.number;
                        let transaction = verified(from, &transaction);
                        let before = state.clone();
                        *counts.0 += 1;
                        match state.apply(&transaction) {
                            Ok(events) => {
                                events.iter().for_each(|event| watch.see(&state, event));
                                let epoch = state.last_settled().map(|(epoch, _)| epoch);
                                if let Some((epoch, tree)) = epoch.zip(tree)
                                    && trees.insert(epoch, tree).is_some()
                                {
                                    name += " again";
                                }
                                log.push(LogEntry::Transaction(Box::new(
                                    transaction.signed().clone(),
                                )));
                                *counts.2.entry(name).or_default() += 1;
                                prop_assert!(state.apply(&transaction).is_err());
                            }
                            Err(_) => {
                                *counts.1 += 1;
                                prop_assert_eq!(&state, &before);
                            }
                        }
                    }
                }
                check(&state);
                watch.check(&state, &trees);
            }
            watch.check_index(&state);
            *counts.3 += watch.slashed.0;
            // Both ways back: from its entries, and from the log.
            let mut entries = Vec::new();
            state.entries(|entry| entries.push(entry));
            let again = State::from_entries(&genesis, entries);
            prop_assert_eq!(again.as_ref(), Ok(&state));
            let mut replay = Replay::new(State::new(&genesis, &ledger).unwrap());
            for entry in &log {
                replay.entry(&entry.to_bytes()).unwrap();
            }
            prop_assert_eq!(replay.state(), &state);
            Ok(())
        })
        .unwrap();
    let share = refused as f64 / all as f64;
    println!(
        "{all} transactions, {:.0} % of them refused; {slashed} penalties; done: {kinds:?}",
        share * 100.0
    );
    assert!((0.3..0.9).contains(&share), "{share}");
    assert!(slashed > 50, "{slashed} penalties");
    assert_eq!(kinds.len(), 28, "some actions were never done: {kinds:?}");
}

#[test]
fn a_log_that_was_tampered_with_is_found() {
    let (genesis, ledger) = genesis();
    let mut state = State::new(&genesis, &ledger).unwrap();
    let mut log = vec![
        LogEntry::Block {
            height: 1,
            time_ms: BEGIN_MS,
        }
        .to_bytes(),
    ];
    state.begin_block(BEGIN_MS).unwrap();
    for from in 0..3 {
        let transaction = signed(
            &state,
            from,
            Action::Stake {
                amount: Amount::tokens(7),
            },
        );
        state.apply(&transaction).unwrap();
        log.push(LogEntry::Transaction(Box::new(transaction.signed().clone())).to_bytes());
    }
    let root = EpochRoot {
        epoch: 0,
        state: StateTree::of(&state).root(),
    };
    log.push(LogEntry::Epoch(root).to_bytes());
    log.push(
        LogEntry::Block {
            height: 2,
            time_ms: BEGIN_MS + EPOCH_MS,
        }
        .to_bytes(),
    );
    let replay = |log: &[Vec<u8>]| {
        let mut replay = Replay::new(State::new(&genesis, &ledger).unwrap());
        log.iter()
            .try_for_each(|entry| replay.entry(entry).map(drop))
    };
    assert_eq!(replay(&log), Ok(()));
    // Left out, done twice, exchanged.
    for at in 0..log.len() {
        let mut other = log.clone();
        other.remove(at);
        // Without its end, a log is only shorter.
        assert_eq!(replay(&other).is_ok(), at + 1 == log.len(), "without {at}");
        let mut other = log.clone();
        other.insert(at, log[at].clone());
        assert!(replay(&other).is_err(), "{at} twice");
        for bit in 0..log[at].len() * 8 {
            let mut other = log.clone();
            other[at][bit / 8] ^= 1 << (bit % 8);
            // A later time of the last block is another block, which is as good.
            let last_time = at + 1 == log.len() && bit / 8 >= 9;
            assert!(replay(&other).is_err() || last_time, "bit {bit} of {at}");
        }
    }
    let mut snapshot = Vec::new();
    state.entries(|entry| snapshot.push(entry));
    let broken = |change: fn(&mut Vec<Entry>)| {
        let mut entries = snapshot.clone();
        change(&mut entries);
        State::from_entries(&genesis, entries).is_err()
    };
    assert!(broken(|entries| entries.swap(1, 2)));
    assert!(broken(|entries| entries[1].key[0] = 9));
    assert!(broken(|entries| entries[0].value.push(0)));
    assert!(broken(|entries| drop(entries.remove(0))));
}
