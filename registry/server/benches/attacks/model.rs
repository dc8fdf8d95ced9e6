//! An epoch of a network with somebody in it who wants more than is theirs, settled by the real
//! settlement. Nothing here computes a reward.

use adit_ledger::Parameters;
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_protocol::{Amount, Hash};
use adit_registry::settling::snapshot;
use adit_settlement::amount::split;
use adit_settlement::input::{Coordinator, Miner, Receipt, Snapshot, Vote};
use adit_settlement::{InputWriter, Output, compute};

/// A token, in the unit of all amounts.
pub const TOKEN: u128 = 1_000_000_000_000;
/// The whole, in parts per million.
pub const WHOLE: u128 = 1_000_000;
/// What rounding may bring, in 10^-12 token: a unit for each row that something is split among or
/// burned of.
pub const ROUNDING: i128 = 2_000;

const EPOCH: u64 = 9;

/// The rules of a network that changes no default.
pub fn defaults() -> Parameters {
    Parameters {
        fee_min: Amount::from_units(TOKEN / 100),
        miner_stake_min: Amount::tokens(20_000),
        coordinator_stake_min: Amount::tokens(2_000_000),
        checker_stake_min: Amount::tokens(50_000),
        vote_min: Amount::tokens(1),
        unbonding_epochs: 14,
        faucet_account: Amount::ZERO,
        faucet_epoch: Amount::ZERO,
        engines: vec![Hash::of(b"engine")],
        rewards: RewardRules::default(),
        slashing: SlashingRules::default(),
        governance: GovernanceRules::default(),
    }
}

/// What an attack is tried in.
#[derive(Clone, Debug)]
pub struct Setting {
    pub rules: Parameters,
    /// Honest coordinators.
    pub coordinators: usize,
    /// Honest miners.
    pub miners: usize,
    /// Prices that the clients of each coordinator pay in the epoch, in tokens.
    pub demand: u128,
    /// Work of a client's task, as far as it counts, of its price.
    pub density_ppm: u128,
    /// Quality of honest miners.
    pub quality_ppm: u32,
    /// What running a client's task costs its miner, of what it gets of the price.
    pub compute_ppm: u128,
    /// The attacker's part of all stake of a role.
    pub stake_ppm: u128,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            rules: defaults(),
            coordinators: 6,
            miners: 20,
            demand: 10_000,
            density_ppm: WHOLE,
            quality_ppm: 1_000_000,
            compute_ppm: 500_000,
            stake_ppm: 100_000,
        }
    }
}

/// Whose an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Honest,
    Attacker,
}

use Owner::{Attacker, Honest};

/// A coordinator or a miner.
#[derive(Clone, Debug)]
pub struct Node {
    /// Who runs it.
    pub operator: Owner,
    pub commission_ppm: u32,
    /// Its votes, each of an account of its own.
    pub votes: Vec<(Owner, u128)>,
    /// Of a coordinator: what its clients pay for tasks. Of a miner: any number but 0 if it runs those
    /// that it is drawn for.
    pub load: u128,
    /// Of a coordinator: what is in its escrow, if not enough for all receipts.
    pub escrow: Option<u128>,
}

impl Node {
    pub fn stake(&self) -> u128 {
        self.votes.iter().map(|(_, amount)| amount).sum()
    }

    /// A node of the attacker, with all votes its own.
    pub fn own(stake: u128, load: u128) -> Node {
        Node {
            operator: Attacker,
            commission_ppm: 100_000,
            votes: vec![(Attacker, stake)],
            load,
            escrow: None,
        }
    }

    /// Somebody's node, two thirds of whose votes are those of others.
    fn honest(stake: u128, load: u128) -> Node {
        let bond = stake / 3;
        Node {
            operator: Honest,
            votes: vec![(Honest, bond), (Honest, stake - bond)],
            ..Node::own(stake, load)
        }
    }
}

/// What a log says of a receipt when the time for it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Rejected,
    Withheld,
}

/// Receipts that are alike. As all is linear in work and price, one may stand for many.
#[derive(Clone, Debug)]
pub struct Task {
    pub coordinator: usize,
    pub miner: usize,
    pub status: u8,
    pub price: u128,
    pub attempt_fee: u128,
    pub fuel: u64,
    /// Whether the attacker pays for it, and not a client.
    pub own: bool,
    /// Whether it was really run.
    pub run: bool,
    pub verdict: Verdict,
    /// Whether its assignment was drawn and paid in the epoch before.
    pub paid_before: bool,
    /// How many there are of it.
    pub copies: u64,
}

impl Task {
    /// Whether its row is accepted, as the maker of an input does it: a settlement knows of one epoch
    /// and of no time.
    fn accepted(&self) -> bool {
        self.verdict != Verdict::Rejected && !self.paid_before
    }
}

/// An epoch before it is settled.
#[derive(Clone, Debug)]
pub struct Epoch {
    pub setting: Setting,
    pub coordinators: Vec<Node>,
    pub miners: Vec<Node>,
    pub tasks: Vec<Task>,
}

impl Epoch {
    /// The honest nodes of a setting.
    pub fn new(setting: &Setting) -> Epoch {
        let load = setting.demand * TOKEN;
        let stakes = |count: usize, least: Amount, times: [u128; 4]| {
            let stake = move |at: usize| least.units() * times[at % times.len()];
            (0..count).map(move |at| Node::honest(stake(at), load))
        };
        let rules = &setting.rules;
        Epoch {
            coordinators: stakes(
                setting.coordinators,
                rules.coordinator_stake_min,
                [1, 2, 5, 10],
            )
            .collect(),
            miners: stakes(setting.miners, rules.miner_stake_min, [1, 2, 10, 40]).collect(),
            tasks: Vec::new(),
            setting: setting.clone(),
        }
    }

    /// What the attacker has for nodes like these.
    pub fn stake(&self, honest: &[Node]) -> u128 {
        let all: u128 = honest.iter().map(Node::stake).sum();
        all * self.setting.stake_ppm / (WHOLE - self.setting.stake_ppm)
    }

    pub fn coordinator(&mut self, node: Node) -> usize {
        self.coordinators.push(node);
        self.coordinators.len() - 1
    }

    pub fn miner(&mut self, node: Node) -> usize {
        self.miners.push(node);
        self.miners.len() - 1
    }

    /// The clients' tasks, drawn by stake as far as it counts among the miners that run what they are drawn for.
    pub fn draw(mut self) -> Epoch {
        let rewards = &self.setting.rules.rewards;
        let most = self.setting.rules.miner_stake_min.units() * u128::from(rewards.saturation);
        let drawn: Vec<usize> = (0..self.miners.len())
            .filter(|at| self.miners[*at].load > 0)
            .collect();
        let weights = drawn.iter().map(|at| self.miners[*at].stake().min(most));
        let weights: Vec<u128> = weights.collect();
        let mut tasks = Vec::new();
        for (coordinator, node) in self.coordinators.iter().enumerate() {
            let prices = split(node.load, &weights).expect("it fits");
            for (miner, price) in drawn.iter().zip(prices.unwrap_or_default()) {
                let work = price * self.setting.density_ppm / WHOLE;
                tasks.push(Task {
                    coordinator,
                    miner: *miner,
                    status: 0,
                    price,
                    attempt_fee: 0,
                    fuel: (work / u128::from(rewards.fuel_weight)) as u64,
                    own: false,
                    run: true,
                    verdict: Verdict::Accepted,
                    paid_before: false,
                    copies: 1,
                });
            }
        }
        tasks.retain(|task| task.price > 0);
        self.tasks.extend(tasks);
        self
    }

    /// A task of the attacker's own that claims as much fuel as a receipt can, and was never run.
    pub fn junk(&mut self, coordinator: usize, miner: usize, price: u128) -> &mut Task {
        self.tasks.push(Task {
            coordinator,
            miner,
            status: 0,
            price,
            attempt_fee: 0,
            fuel: u64::MAX,
            own: true,
            run: false,
            verdict: Verdict::Accepted,
            paid_before: false,
            copies: 1,
        });
        self.tasks.last_mut().expect("it was pushed")
    }

    /// What the settlement says.
    pub fn settle(&self) -> Output {
        let receipts = self.tasks.iter().map(|task| task.copies).sum();
        let mut writer = InputWriter::new(Vec::new(), self.snapshot(), receipts).expect("in order");
        let mut tasks: Vec<&Task> = self.tasks.iter().collect();
        tasks.sort_by_key(|task| task.coordinator);
        let copies = tasks
            .iter()
            .flat_map(|task| (0..task.copies).map(move |_| task));
        for (leaf, task) in (0u64..).zip(copies) {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&leaf.to_le_bytes());
            let receipt = Receipt {
                coordinator: task.coordinator as u32,
                miner: task.miner as u32,
                leaf,
                epoch: EPOCH - u64::from(task.paid_before),
                task: hash,
                assignment: hash,
                status: task.status,
                accepted: task.accepted(),
                nn_registered: false,
                emitted: false,
                replicas: 1,
                fuel: task.fuel,
                nn_units: 0,
                price: task.price,
                attempt_fee: task.attempt_fee,
            };
            writer.receipt(&receipt).expect("in order");
        }
        let input = writer.finish().expect("memory does not fail");
        compute(&input[..]).expect("it is a right input")
    }

    fn snapshot(&self) -> Snapshot {
        let rules = &self.setting.rules;
        let genesis = Hash::of(b"genesis");
        let nodes = || self.coordinators.iter().chain(&self.miners);
        let operators: Vec<[u8; 32]> = (0..)
            .zip(nodes())
            .map(|(at, node)| account(node.operator, at, u32::MAX))
            .collect();
        let (of_coordinators, of_miners) = operators.split_at(self.coordinators.len());
        let mut votes: Vec<Vote> = (0..)
            .zip(nodes())
            .flat_map(|(at, node)| {
                (0..)
                    .zip(&node.votes)
                    .map(move |(voter, (owner, amount))| Vote {
                        node: at,
                        voter: account(*owner, at, voter),
                        amount: *amount,
                    })
            })
            .collect();
        votes.sort_by_key(|vote| (vote.node, vote.voter));
        Snapshot {
            parameters: snapshot::parameters(rules, genesis, EPOCH, Amount::SUPPLY_MAX),
            coordinators: (self.coordinators.iter().zip(of_coordinators).enumerate())
                .map(|(at, (node, operator))| Coordinator {
                    node: key(at),
                    operator: *operator,
                    stake: node.stake(),
                    escrow: node.escrow.unwrap_or_else(|| self.due(at)),
                    commission_ppm: node.commission_ppm,
                })
                .collect(),
            miners: (self.miners.iter().zip(of_miners).enumerate())
                .map(|(at, (node, operator))| Miner {
                    node: key(at),
                    operator: *operator,
                    stake: node.stake(),
                    commission_ppm: node.commission_ppm,
                    quality_ppm: match node.operator {
                        Honest => self.setting.quality_ppm,
                        Attacker => 1_000_000,
                    },
                    cut_ppm: 0,
                })
                .collect(),
            votes,
        }
    }

    /// What all receipts of a coordinator's log may be due.
    fn due(&self, coordinator: usize) -> u128 {
        let log = self
            .tasks
            .iter()
            .filter(|task| task.coordinator == coordinator);
        log.map(|task| task.price.max(task.attempt_fee) * u128::from(task.copies))
            .sum()
    }

    /// What all others get.
    pub fn others(&self) -> i128 {
        let all = self.settle();
        let others = all
            .accounts
            .iter()
            .filter(|row| row.account[0] == Honest as u8);
        others.map(|row| row.amount as i128).sum()
    }

    /// What the attacker gets and what it costs.
    pub fn balance(&self) -> Balance {
        let all = self.settle();
        // What own tasks cost is what is different without them.
        let mut without = self.clone();
        without.tasks.retain(|task| !task.own);
        for (at, node) in without.coordinators.iter_mut().enumerate() {
            node.escrow.get_or_insert_with(|| self.due(at));
        }
        let without = without.settle();
        let of_others = |output: &Output| -> i128 {
            let rows = output.miners.iter().zip(&self.miners);
            let others = rows.filter(|(_, node)| node.operator == Honest);
            others.map(|(row, _)| row.income as i128).sum()
        };
        let spent = all.totals.spent as i128 - without.totals.spent as i128;
        let burned = all.totals.burned as i128 - without.totals.burned as i128;
        let to_others = of_others(&all) - of_others(&without);
        let own = all
            .accounts
            .iter()
            .filter(|row| row.account[0] == Attacker as u8);
        let taken: i128 = own.map(|row| row.amount as i128).sum();
        let run = self
            .tasks
            .iter()
            .filter(|task| task.run && self.miners[task.miner].operator == Attacker);
        let run: u128 = run.map(|task| task.price).sum();
        let kept = WHOLE - u128::from(self.setting.rules.rewards.fee_ppm);
        let compute = run * kept / WHOLE * self.setting.compute_ppm / WHOLE;
        Balance {
            // Its own money that comes back is nothing that it gets.
            gets: taken - (spent - burned - to_others),
            cost: burned + to_others + compute as i128,
        }
    }
}

/// What the attacker gets from others and from the emission, and what it burns, pays to others and
/// spends on running tasks; in 10^-12 token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub gets: i128,
    pub cost: i128,
}

impl Balance {
    pub fn net(&self) -> i128 {
        self.gets - self.cost
    }
}

fn key(at: usize) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(at as u64).to_be_bytes());
    key
}

/// The account of a node's operator or voter. Its first byte says whose it is.
fn account(owner: Owner, node: u32, voter: u32) -> [u8; 32] {
    let mut account = [0; 32];
    account[0] = owner as u8;
    account[1..5].copy_from_slice(&node.to_be_bytes());
    account[5..9].copy_from_slice(&voter.to_be_bytes());
    account
}
