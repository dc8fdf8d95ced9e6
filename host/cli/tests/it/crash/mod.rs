//! Processes of a network that are killed at random moments under load, as power cuts would: what a
//! client and the miners were told is compared with the log afterwards.
//!
//! `cargo xtask crash` is the long form; the test is the short one. `ADIT_CRASH_ROUNDS` and
//! `ADIT_CRASH_SEED` choose between them.

pub mod check;
pub mod ledger;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::cluster::{Cluster, Dice, Role, asked, children};
use crate::network_support::{Node, START};
use ledger::{Ledger, Tasks, watch_checkpoints};

/// Rounds in the test.
const ROUNDS: u64 = 6;
/// Tasks that are in flight at one time.
const CLIENTS: u64 = 10;
/// Tasks that must have ended between two kills of what works: kills too often let nothing happen
/// that could be lost.
const BETWEEN: u64 = 6;

/// What is killed in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Process(Role),
    /// One of the processes in which a miner runs guests.
    Worker(usize),
}

impl std::fmt::Display for Victim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Victim::Process(role) => role.fmt(f),
            Victim::Worker(miner) => write!(f, "a worker of miner-{miner}"),
        }
    }
}

/// The processes of a network.
struct Running<'a> {
    cluster: &'a Cluster,
    nodes: HashMap<Role, Node>,
    /// Workers of miners that were killed, which have to end by themselves.
    orphans: Vec<u32>,
}

impl Running<'_> {
    fn start(&mut self, role: Role) {
        self.nodes.insert(role, self.cluster.start(role));
    }

    /// Kills a process, and returns how.
    fn kill(&mut self, role: Role) {
        let node = self.nodes.remove(&role).unwrap();
        let children = children(node.id());
        node.kill();
        self.orphans.extend(children);
    }

    /// Kills one of the workers of a miner, if it has one just now.
    fn kill_worker(&mut self, miner: usize, dice: &mut Dice) -> bool {
        let children = children(self.nodes[&Role::Miner(miner)].id());
        if children.is_empty() {
            return false;
        }
        let one = children[dice.below(children.len() as u64) as usize];
        let pid = Pid::from_raw(i32::try_from(one).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).is_ok()
    }

    /// Waits until something is so; meanwhile no process may end by itself.
    fn until(&mut self, what: &str, mut is: impl FnMut() -> bool) {
        let coordinator = self.nodes.get_mut(&Role::Coordinator).unwrap();
        coordinator.until(what, || is().then_some(()));
    }
}

#[test]
fn processes_that_are_killed_under_load_lose_nothing_that_was_acknowledged() {
    let rounds = asked("ADIT_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = asked("ADIT_CRASH_SEED").unwrap_or(1);
    eprintln!("seed {seed}, {rounds} rounds");
    let cluster = Cluster::new(3, true);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut running = Running {
        cluster: &cluster,
        nodes: HashMap::new(),
        orphans: Vec::new(),
    };
    let mut roles = vec![Role::Coordinator, Role::Witness];
    roles.extend((0..cluster.miners).map(Role::Miner));
    for role in &roles {
        running.start(*role);
    }
    running.nodes.get_mut(&Role::Coordinator).unwrap().line();

    let ledger = Arc::new(Ledger::default());
    let mut dice = Dice::new(seed);
    let client = cluster.client();
    let tasks = Arc::new(runtime.block_on(Tasks::upload(&cluster, &client)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let work = Arc::clone(&tasks).work(ledger.clone(), client.clone(), Dice::new(dice.next()));
        clients.spawn_on(work, runtime.handle());
    }
    let watch = watch_checkpoints(ledger.clone(), client.clone());
    clients.spawn_on(watch, runtime.handle());

    let mut killed: BTreeMap<String, u64> = BTreeMap::new();
    let mut at_work = 0;
    for round in 1..=rounds {
        at_work += u64::from(one_round(
            round,
            &mut running,
            &ledger,
            &mut dice,
            &mut killed,
        ));
        // A client that fails has said why.
        while let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
    }
    ledger.stop();
    runtime.block_on(async {
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    });
    eprintln!("killed: {killed:?}; {at_work} rounds with tasks in flight");
    assert!(at_work * 2 >= rounds, "most kills hit nothing");
    finish(&cluster, running, &ledger, &runtime, seed);
}

/// One round: kills one process or two, at work or while they start, and starts them again. Whether
/// tasks were in flight.
fn one_round(
    round: u64,
    running: &mut Running<'_>,
    ledger: &Ledger,
    dice: &mut Dice,
    killed: &mut BTreeMap<String, u64>,
) -> bool {
    let begun = Instant::now();
    // Now and then also while the network still recovers.
    let between = if round > 4 && dice.one_in(4) {
        0
    } else {
        BETWEEN
    };
    let target = ledger.ended() + between;
    running.until("tasks end between two kills", || {
        ledger.ended() >= target && ledger.in_flight() > 0
    });
    std::thread::sleep(dice.ms_below(150));
    let miners = running.cluster.miners as u64;
    let mut victims = vec![match dice.below(10) {
        // The first rounds hit each kind, so that the short form does.
        _ if round == 1 => Victim::Process(Role::Coordinator),
        _ if round == 2 => Victim::Process(Role::Miner(dice.below(miners) as usize)),
        _ if round == 3 => Victim::Worker(dice.below(miners) as usize),
        _ if round == 4 => Victim::Process(Role::Witness),
        0..=4 => Victim::Process(Role::Coordinator),
        5..=6 => Victim::Process(Role::Miner(dice.below(miners) as usize)),
        7..=8 => Victim::Worker(dice.below(miners) as usize),
        _ => Victim::Process(Role::Witness),
    }];
    if dice.one_in(3) {
        let other = Victim::Process(Role::Miner(dice.below(miners) as usize));
        if victims[0] != other {
            victims.push(other);
        }
    }
    // Workers first: they go with their miners.
    victims.sort_by_key(|victim| matches!(victim, Victim::Process(_)));
    let in_flight = ledger.in_flight();
    let mut said = Vec::new();
    for victim in &victims {
        match victim {
            Victim::Process(role) => running.kill(*role),
            Victim::Worker(miner) => {
                if !running.kill_worker(*miner, dice) {
                    said.push(format!("no worker of miner-{miner}"));
                    continue;
                }
            }
        }
        let kind = match victim {
            Victim::Process(Role::Miner(_)) => "miner".to_owned(),
            Victim::Process(role) => role.to_string(),
            Victim::Worker(_) => "worker".to_owned(),
        };
        *killed.entry(kind).or_default() += 1;
        said.push(victim.to_string());
    }
    std::thread::sleep(dice.ms_below(200));
    if victims.contains(&Victim::Process(Role::Coordinator)) {
        // What the dead one has told.
        check::acknowledged(running.cluster, ledger);
    }
    for victim in victims {
        let Victim::Process(role) = victim else {
            continue;
        };
        let starts = if dice.one_in(2) { dice.below(3) } else { 0 };
        for _ in 0..starts {
            // Killed again, somewhere between its first instruction and its first request.
            let after = dice.ms_below(120);
            running.start(role);
            std::thread::sleep(after);
            running.kill(role);
            said.push(format!("{role} {} ms after its start", after.as_millis()));
            *killed.entry("during a start".to_owned()).or_default() += 1;
        }
        if role == Role::Coordinator {
            let sound = running.cluster.fsck();
            said.push(format!("fsck: {} entries in order", sound["size"]));
        }
        running.start(role);
    }
    eprintln!(
        "round {round} after {} ms: {}; {in_flight} tasks in flight, {} ended so far",
        begun.elapsed().as_millis(),
        said.join(", "),
        ledger.ended(),
    );
    in_flight > 0
}

/// Ends the network in order, and compares.
fn finish(
    cluster: &Cluster,
    mut running: Running<'_>,
    ledger: &Ledger,
    runtime: &tokio::runtime::Runtime,
    seed: u64,
) {
    // An auditor, who knows nothing but what is public.
    let network = cluster.folder().join("net");
    let audit = [
        "--json",
        "audit",
        &cluster.url,
        "--sample",
        "3",
        "--network",
    ];
    let audit = [&audit[..], &[network.to_str().unwrap()]].concat();
    let audit = cluster.adit(Role::Witness, &audit).exits(0).json();
    runtime.block_on(every_task_is_listed_once(cluster, ledger));
    for number in 0..cluster.miners {
        let miner = running.nodes.remove(&Role::Miner(number)).unwrap();
        assert_eq!(miner.end(), Some(0));
    }
    for role in [Role::Coordinator, Role::Witness] {
        assert_eq!(
            running.nodes.remove(&role).unwrap().end(),
            Some(0),
            "{role}"
        );
    }
    let sound = cluster.fsck();
    let begun = Instant::now();
    for orphan in &running.orphans {
        let pid = Pid::from_raw(i32::try_from(*orphan).unwrap()).unwrap();
        while test_kill_process(pid).is_ok() {
            assert!(
                begun.elapsed() < START,
                "the worker {orphan} outlived its miner"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let (compared, wrong) = runtime.block_on(check::compare(cluster, ledger));
    eprintln!("answers that were lost: {:?}", ledger.lost());
    eprintln!("{compared}");
    eprintln!("fsck: {sound}");
    let checks = audit["checks"].as_array().unwrap();
    let passed = checks.iter().filter(|check| check["result"] == "passed");
    eprintln!(
        "audit: {} of {} checks passed",
        passed.count(),
        checks.len()
    );
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    assert!(compared.completed > 0 && compared.acknowledged > 0);
    // Leases that were lost are given to others: that tasks end without a result is an exception.
    let failed: usize = compared.failed.values().sum();
    assert!(failed * 10 <= compared.tasks, "{compared}");
}

/// The coordinator has one task for each key, and no others.
async fn every_task_is_listed_once(cluster: &Cluster, ledger: &Ledger) {
    let client = cluster.client();
    let mut listed = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut call = client.get("/v1/tasks").query("page_size", 1000);
        if let Some(token) = token {
            call = call.query("page_token", token);
        }
        let page: serde_json::Value = call.send().await.unwrap().json().unwrap();
        let items = page["items"].as_array().unwrap();
        listed.extend(
            items
                .iter()
                .map(|task| task["task"].as_str().unwrap().to_owned()),
        );
        token = page["next_page_token"].as_str().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    listed.sort_unstable();
    let mut known: Vec<String> = (ledger.tasks().values())
        .map(|known| known.task.unwrap().to_string())
        .collect();
    known.sort_unstable();
    assert_eq!(listed, known, "tasks of the coordinator, and of the client");
}
