//! What a node's operator can do to its voters, and to miners and clients.

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

/// A coordinator that has work done and does not accept it, or has nothing left to pay for it.
///
/// A verdict that never comes is no way not to pay: when the time for it is over, whoever makes the
/// input takes the receipt for accepted. One that rejects is another matter.
pub fn verdicts(setting: &Setting) -> Vec<Case> {
    let least = setting.rules.coordinator_stake_min.units();
    let mut epoch = Epoch::new(setting);
    let own = epoch.coordinator(Node::own(least, setting.demand * TOKEN));
    let accepted = epoch.draw();
    let change = |epoch: &Epoch, change: &dyn Fn(&mut Task)| {
        let mut epoch = epoch.clone();
        epoch
            .tasks
            .iter_mut()
            .filter(|task| task.coordinator == own)
            .for_each(change);
        epoch
    };
    let ordered = change(&accepted, &|task| task.own = true);
    let cases = |name: &'static str, verdict: Verdict| {
        [
            ("of clients' tasks", &accepted),
            ("of one's own tasks on others' miners", &ordered),
        ]
        .map(|(how, epoch)| {
            let judged = change(epoch, &|task| task.verdict = verdict);
            Case::new(name, how, judged, epoch.clone())
        })
    };
    let [of_clients, of_own] = cases("withheld verdicts", Verdict::Withheld);
    let [rejects_clients, rejects_own] = cases("false rejections", Verdict::Rejected);

    let with_miner = || {
        let mut epoch = Epoch::new(setting);
        let own = epoch.coordinator(Node::own(least, setting.demand * TOKEN));
        epoch.coordinators[own].escrow = Some(setting.demand * TOKEN);
        let miner = epoch.miner(Node::own(setting.rules.miner_stake_min.units(), 0));
        (epoch, own, miner)
    };
    let (mut emptied, own, miner) = with_miner();
    emptied.junk(own, miner, setting.demand * TOKEN).own = false;
    let how = "junk on one's own miner has the escrow before clients' tasks";
    let short = Case::new(
        "escrow emptied first",
        how,
        emptied.draw(),
        with_miner().0.draw(),
    );
    vec![
        of_clients,
        of_own,
        rejects_clients,
        rejects_own.pays("a rejection is the coordinator's word; a settlement replays nothing"),
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
    let case = |percent: u128| {
        let mut fails = honest.clone();
        for task in fails.tasks.iter_mut().filter(|task| task.miner == miner) {
            (task.status, task.run) = (17, false);
            task.price = task.price * percent / 100;
        }
        let how =
            format!("\"deadline\" for each task, with attempt fees of {percent}% of the price");
        Case::new("failures for the fee", how, fails, honest.clone())
    };
    let large = case(20).pays("an attempt fee is paid on the miner's word");
    vec![case(1), case(5), large]
}
