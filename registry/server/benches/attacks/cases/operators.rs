//! What a node's operator can do to its voters, and to miners and clients.
//!
//! A coordinator need not pay its miners and voters. Where it does not, that shows to them, and to no
//! settlement: rejecting an output, not countersigning its receipt and an empty escrow come to the same.

use super::super::model::{Epoch, Node, Owner, Setting, TOKEN, Task, Verdict};
use super::{Case, own};

/// A coordinator's operator and its voters.
pub fn commission(setting: &Setting) -> Vec<Case> {
    const NAME: &str = "commission";
    let least = setting.rules.coordinator_stake_min.units();
    let with = |commission_ppm: u32, others: u128| {
        let mut epoch = Epoch::new(setting);
        let mut node = Node::own(least, setting.demand * TOKEN);
        node.commission_ppm = commission_ppm;
        if others > 0 {
            node.votes.push((Owner::Honest, others));
        }
        epoch.coordinator(node);
        epoch.draw()
    };
    let usual = || with(100_000, 2 * least);
    let case = |how, epoch| Case::new(NAME, how, epoch, usual());
    const PAYS: &str = "what voters of a coordinator get is for its operator to say";
    vec![
        case(
            "0% of a coordinator's earnings and not 10%",
            with(0, 2 * least),
        ),
        case("0%, which brings twice the votes", with(0, 4 * least)),
        case("100%, and voters stay", with(1_000_000, 2 * least)).pays(PAYS),
        case("100%, and voters leave", with(1_000_000, 0)).pays(PAYS),
    ]
}

/// An own coordinator with clients, and the same where it is the attacker who ordered its tasks.
fn ordering(setting: &Setting) -> (usize, Epoch, Epoch) {
    let mut epoch = Epoch::new(setting);
    let least = setting.rules.coordinator_stake_min.units();
    let own = epoch.coordinator(Node::own(least, setting.demand * TOKEN));
    let of_clients = epoch.draw();
    let of_own = changed(&of_clients, own, |task| task.own = true);
    (own, of_clients, of_own)
}

/// With the tasks of one coordinator changed.
fn changed(epoch: &Epoch, coordinator: usize, change: impl Fn(&mut Task)) -> Epoch {
    let mut epoch = epoch.clone();
    let tasks = epoch.tasks.iter_mut();
    tasks
        .filter(|task| task.coordinator == coordinator)
        .for_each(change);
    epoch
}

/// A verdict that never comes is no way not to pay: when the time for it is over, whoever makes the
/// input takes the receipt for accepted.
pub fn withheld(setting: &Setting) -> Vec<Case> {
    let (own, of_clients, of_own) = ordering(setting);
    let case = |how, epoch: Epoch| {
        let withheld = changed(&epoch, own, |task| task.verdict = Verdict::Withheld);
        Case::new("withheld verdicts", how, withheld, epoch)
    };
    vec![
        case("of clients' tasks", of_clients),
        case("of one's own tasks on others' miners", of_own),
    ]
}

/// A coordinator that has work done and does not pay for it.
pub fn unpaid(setting: &Setting) -> Vec<Case> {
    const REJECTED: &str = "false rejections";
    const UNSIGNED: &str = "withheld countersignatures";
    const PAYS: &str =
        "what is not in the log is not paid, and a rejection is the coordinator's word";
    let (own, of_clients, of_own) = ordering(setting);
    let rejected = |epoch: &Epoch| changed(epoch, own, |task| task.verdict = Verdict::Rejected);
    let unsigned = |epoch: &Epoch| {
        let mut epoch = epoch.clone();
        epoch.tasks.retain(|task| task.coordinator != own);
        epoch
    };
    let (clients, ordered) = ("of clients' tasks", "of one's own tasks on others' miners");

    let with_miner = || {
        let mut epoch = Epoch::new(setting);
        let least = setting.rules.coordinator_stake_min.units();
        let own = epoch.coordinator(Node::own(least, setting.demand * TOKEN));
        epoch.coordinators[own].escrow = Some(setting.demand * TOKEN);
        let miner = epoch.miner(Node::own(setting.rules.miner_stake_min.units(), 0));
        (epoch, own, miner)
    };
    let (mut emptied, at, miner) = with_miner();
    emptied.junk(at, miner, setting.demand * TOKEN).own = false;
    let how = "junk on one's own miner has the escrow before clients' tasks";
    let short = Case::new(
        "escrow emptied first",
        how,
        emptied.draw(),
        with_miner().0.draw(),
    );
    vec![
        Case::new(REJECTED, clients, rejected(&of_clients), of_clients.clone()),
        Case::new(REJECTED, ordered, rejected(&of_own), of_own.clone()).pays(PAYS),
        Case::new(UNSIGNED, clients, unsigned(&of_clients), of_clients),
        Case::new(UNSIGNED, ordered, unsigned(&of_own), of_own).pays(PAYS),
        short.pays("an escrow is its coordinator's to spend, in the order of its log"),
    ]
}

/// Receipts that are logged once more in the next epoch, which takes draws of the one before. Whoever
/// makes the input accepts no row of an assignment that an epoch before has paid, so they bring nothing.
pub fn again(setting: &Setting) -> Vec<Case> {
    let (epoch, own, miner) = own(setting, true);
    let mut twice = epoch.clone();
    let repeated: Vec<Task> = (epoch.tasks.iter())
        .filter(|task| task.coordinator == own && task.miner == miner)
        .map(|task| Task {
            paid_before: true,
            run: false,
            ..task.clone()
        })
        .collect();
    twice.tasks.extend(repeated);
    vec![Case {
        attack: "paid again",
        how: "one's own miner's receipts logged once more in the next epoch".into(),
        does: vec![(epoch.clone(), 1), (twice, 1)],
        instead: vec![vec![(epoch, 2)]],
        pays: None,
    }]
}

/// A miner that says of each task that its deadline passed, which no replay can refute, and runs none.
/// Running takes 95% of what a task brings.
pub fn failures(setting: &Setting) -> Vec<Case> {
    let setting = Setting {
        compute_ppm: 950_000,
        ..setting.clone()
    };
    let mut honest = Epoch::new(&setting);
    let miner = honest.miner(Node::own(setting.rules.miner_stake_min.units(), 1));
    let honest = honest.draw();
    let most = u128::from(setting.rules.rewards.attempt_fee_max_ppm) / 10_000;
    let case = |percent: u128| {
        let mut fails = honest.clone();
        for task in fails.tasks.iter_mut().filter(|task| task.miner == miner) {
            (task.status, task.run) = (17, false);
            task.attempt_fee = task.price * percent / 100;
        }
        let how =
            format!("\"deadline\" for each task, with attempt fees of {percent}% of the price");
        let case = Case::new("failures for the fee", how, fails, honest.clone());
        match percent.min(most) > 5 {
            true => case.pays("an attempt fee is paid on the miner's word"),
            false => case,
        }
    };
    vec![case(1), case(5), case(20), case(100)]
}
