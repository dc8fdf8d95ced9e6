//! What a coordinator's log says: a recipe for a log, honest for a while, and its audit.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::network::assignment::{Acceptance, Assignment};
use adit_protocol::network::entry::{
    Cancel, CancelledBy, Decision, Entry, Expiry, Judged, Verdict,
};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{Membership, MinerMember};
use adit_protocol::network::roster::{Candidate, Roster, RosterEntry, weights};
use adit_protocol::network::standing::{Drawn, Facts, Standing};
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::signed::Signable;
use adit_protocol::status::Status;
use adit_protocol::task::{DeviceClass, Requirements};
use arbitrary::Unstructured;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::built::{any, bytes as array, one_of};

/// Most entries of a log: each may take signatures, and more would only take time.
const ENTRIES_MAX: usize = 40;
/// What is at stake everywhere, and the least of it.
const STAKE: u128 = 20_000;

static COORDINATOR: LazyLock<Keypair> = LazyLock::new(|| Keypair::from_seed([200; 32]));
static MINERS: LazyLock<Vec<Keypair>> = LazyLock::new(|| {
    let mut miners: Vec<_> = (1..=3).map(|n| Keypair::from_seed([n; 32])).collect();
    miners.sort_by_key(|miner| miner.public().to_bytes());
    miners
});

/// Builds a log and audits it as it grows. For as long as every entry is by the rules, nothing is
/// found and auditor and coordinator know the same; afterwards nothing panics, and what is kept adds
/// up.
pub fn standing(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    let mut log = Log::new();
    while !recipe.is_empty() && log.entries.len() < ENTRIES_MAX {
        log.step(&mut recipe);
    }
    // The same entries again, read from their bytes, leave the same records.
    let mut again = Standing::new(&log.genesis, COORDINATOR.public().to_bytes(), true);
    for (leaf, (entry, facts)) in (0..).zip(&log.entries) {
        let entry = Entry::decode(&entry.encode()).expect("an entry that was built");
        again.apply(leaf, &entry, facts);
        forget(&mut again, &entry);
    }
    assert!(again.records().eq(log.auditor.records()));
    assert_eq!(again.leases().count(), log.auditor.leases().count());
}

struct Log {
    genesis: Genesis,
    membership: Arc<Membership>,
    /// As the coordinator keeps it, and as an auditor does.
    own: Standing,
    auditor: Standing,
    entries: Vec<(Entry, Facts)>,
    /// Whether every entry so far is by the rules.
    honest: bool,
    epoch: u64,
    given: Vec<Assignment>,
    unjudged: Vec<(Hash, Hash, bool)>,
    /// Tasks that get no more leases.
    over: HashSet<Hash>,
    rng: ChaCha20Rng,
}

fn requirements() -> Requirements {
    Requirements {
        device: DeviceClass::Any,
        device_memory_bytes: 0,
        environments: Vec::new(),
    }
}

/// Forgets what is over, as coordinators and auditors do.
fn forget(standing: &mut Standing, entry: &Entry) -> Option<Hash> {
    let (task, ended) = match entry {
        Entry::Verdict(verdict) => (verdict.task, false),
        Entry::Receipt(receipt) => (receipt.body.task, false),
        Entry::Cancel(cancel) => (cancel.task, cancel.by != CancelledBy::Decided),
        _ => return None,
    };
    let known = standing.task(&task)?;
    if ended || known.accepted > 0 {
        standing.forget(&task);
    }
    standing.task(&task).is_none().then_some(task)
}

impl Log {
    fn new() -> Log {
        let genesis = Genesis {
            name: "fuzz".into(),
            created_ms: 0,
            authority: [1; 32],
            epoch_ms: 1000,
            miner_stake_min: STAKE,
            coordinator_stake_min: 0,
            saturation: 10,
            development: true,
            ledger: None,
        };
        let members = (1..).zip(MINERS.iter()).map(|(n, miner)| MinerMember {
            node: miner.public().to_bytes(),
            account: [9; 32],
            stake: STAKE * n,
            jailed: None,
            introduction: String::new(),
        });
        let membership = Membership {
            genesis: genesis.hash(),
            version: 1,
            engines: vec![Hash::ZERO],
            coordinators: Vec::new(),
            miners: members.collect(),
            witnesses: Vec::new(),
        };
        let node = COORDINATOR.public().to_bytes();
        Log {
            own: Standing::new(&genesis, node, false),
            auditor: Standing::new(&genesis, node, true),
            genesis,
            membership: Arc::new(membership),
            entries: Vec::new(),
            honest: true,
            epoch: 0,
            given: Vec::new(),
            unjudged: Vec::new(),
            over: HashSet::new(),
            rng: ChaCha20Rng::from_seed([7; 32]),
        }
    }

    fn step(&mut self, recipe: &mut Unstructured<'_>) {
        // The first entry is mostly a roster, or nothing could follow.
        let choice = match self.entries.is_empty() {
            true => any::<u8>(recipe) % 2 * 12,
            false => any::<u8>(recipe) % 14,
        };
        let made = match choice {
            0 => Some(self.roster(recipe)),
            1..=4 => self.assignment(recipe),
            5..=7 => self.receipt(recipe),
            8..=9 => self.verdict(recipe),
            10 => self.expiry(recipe),
            11 => self.cancel(recipe),
            12 => {
                self.honest = false;
                self.earlier(recipe)
            }
            _ => {
                self.honest = false;
                read(recipe)
            }
        };
        if let Some((entry, facts)) = made {
            self.push(entry, facts);
        }
    }

    /// Makes a change that breaks a rule, in one case of many.
    fn broken(&mut self, recipe: &mut Unstructured<'_>) -> bool {
        let broken = any::<u8>(recipe) >= 240;
        self.honest &= !broken;
        broken
    }

    fn push(&mut self, entry: Entry, facts: Facts) {
        let leaf = self.entries.len() as u64;
        let own = self.own.apply(leaf, &entry, &facts);
        self.over.extend(forget(&mut self.own, &entry));
        let found = self.auditor.apply(leaf, &entry, &facts);
        forget(&mut self.auditor, &entry);
        for fault in &found {
            assert!(fault.to_string().len() < 1024);
        }
        if self.honest {
            assert_eq!(found, [], "{entry:?}");
            assert_eq!(own, []);
            assert!(self.own.records().eq(self.auditor.records()));
        }
        for standing in [&self.own, &self.auditor] {
            for miner in MINERS.iter() {
                let node = miner.public().to_bytes();
                let leases = standing.leases();
                let open = leases.filter(|(_, lease)| lease.assignment.miner == node);
                assert_eq!(open.count(), standing.load(&node) as usize);
            }
            for (_, record) in standing.records() {
                assert!(record.quality_ppm() <= 1_000_000);
                assert!(record.good + record.bad < 256);
            }
        }
        self.entries.push((entry, facts));
    }

    fn roster(&mut self, recipe: &mut Unstructured<'_>) -> (Entry, Facts) {
        self.epoch += u64::from(any::<u8>(recipe) % 2);
        let candidate = |member: &MinerMember| Candidate {
            node: member.node,
            stake: member.stake,
            slots: u32::from(any::<u8>(recipe) % 4),
            cpu: true,
            gpu_memory_bytes: None,
            environments: Vec::new(),
            quality_ppm: self.own.record(&member.node).quality_ppm(),
            locality: any::<u8>(recipe) % 6,
            weight: 0,
        };
        let mut roster = Roster {
            epoch: self.epoch,
            beacon: self.genesis.beacon(self.epoch),
            membership: self.membership.hash(),
            region: String::new(),
            candidates: self.membership.miners.iter().map(candidate).collect(),
        };
        let all = weights(&self.genesis, &roster.candidates);
        for (candidate, weight) in roster.candidates.iter_mut().zip(all) {
            candidate.weight = weight;
        }
        if self.broken(recipe) {
            match any::<u8>(recipe) % 4 {
                0 => roster.candidates[0].weight = any(recipe),
                1 => roster.candidates[1].quality_ppm = any(recipe),
                2 => roster.candidates.clear(),
                _ => roster.epoch = any(recipe),
            }
        }
        let leaf = self.entries.len() as u64;
        let genesis = self.genesis.hash();
        let (mut entry, _) =
            RosterEntry::make(&genesis, &roster, leaf, 0, &COORDINATOR, &mut self.rng);
        let mut facts = Facts {
            roster: Some(Arc::new(roster)),
            membership: Some(Arc::clone(&self.membership)),
            ..Facts::default()
        };
        if self.broken(recipe) {
            match any::<u8>(recipe) % 3 {
                0 => entry.vrf_point = array(recipe),
                1 => facts.roster = None,
                _ => entry.root = Hash::of(&[any(recipe)]),
            }
        }
        (Entry::Roster(entry), facts)
    }

    fn assignment(&mut self, recipe: &mut Unstructured<'_>) -> Option<(Entry, Facts)> {
        let task = Hash::of(&[any::<u8>(recipe) % 8]);
        let replica = u32::from(any::<u8>(recipe) % 2);
        let local = any(recipe);
        let force = self.own.in_force()?;
        let (roster, epoch) = (force.leaf, force.roster.epoch);
        let known = self.own.task(&task);
        let (attempt, open) = known
            .and_then(|task| task.replicas.get(&replica).copied())
            .unwrap_or_default();
        let drawn = self
            .own
            .draw(&task, &requirements(), attempt, replica, local);
        let miner = match drawn {
            Drawn::Miner { candidate, .. } => Some(candidate.node),
            _ => None,
        };
        let mut assignment = Assignment {
            genesis: self.genesis.hash(),
            coordinator: COORDINATOR.public().to_bytes(),
            miner: miner.unwrap_or_default(),
            task,
            attempt,
            replica,
            roster,
            epoch,
            local,
            issued_ms: 0,
            deadline_ms: 1000,
            escrow: 0,
            terms: None,
        };
        if self.broken(recipe) {
            match any::<u8>(recipe) % 5 {
                0 => assignment.miner = MINERS[0].public().to_bytes(),
                1 => assignment.attempt = any(recipe),
                2 => assignment.roster = any(recipe),
                3 => assignment.coordinator = array(recipe),
                _ => assignment.deadline_ms = 0,
            }
        } else if open || miner.is_none() || self.over.contains(&task) {
            return None;
        }
        let signed = assignment.sign(&COORDINATOR, &mut self.rng);
        self.given.push(assignment);
        let facts = Facts {
            requirements: Some(requirements()),
            ..Facts::default()
        };
        Some((Entry::Assignment(signed), facts))
    }

    fn receipt(&mut self, recipe: &mut Unstructured<'_>) -> Option<(Entry, Facts)> {
        if self.given.is_empty() {
            return None;
        }
        let last = self.given.len() - 1;
        let at = recipe.int_in_range(0..=last).unwrap_or(last);
        let a = self.given[at].clone();
        let (seq, prev) = self.own.newest(&a.miner);
        let mut body = ReceiptBody {
            network: self.genesis.network_id(),
            status: one_of(recipe, &Status::ALL),
            gpu: false,
            nn: false,
            epoch: a.epoch,
            seq: seq.saturating_add(1),
            start_ms: self.entries.len() as u64,
            duration_us: 0,
            fuel: 0,
            nn_units: 0,
            peak_memory: 0,
            miner: a.miner,
            coordinator: a.coordinator,
            task: a.task,
            assignment: a.hash(),
            component: Hash::ZERO,
            input: Hash::ZERO,
            output: Hash::ZERO,
            transcript: Hash::ZERO,
            environment: Hash::ZERO,
            prev,
        };
        if self.broken(recipe) {
            match any::<u8>(recipe) % 4 {
                0 => body.seq = any(recipe),
                1 => body.miner = array(recipe),
                2 => body.task = Hash::of(&[any(recipe)]),
                _ => body.prev = Hash::of(&[any(recipe)]),
            }
        }
        let in_time = self.own.lease(&body.assignment).is_some();
        self.unjudged.push((body.id(), body.task, in_time));
        // Signatures are checked elsewhere.
        let receipt = Receipt {
            body,
            miner_signature: [0; 64],
            coordinator_signature: [0; 64],
        };
        Some((Entry::Receipt(Box::new(receipt)), Facts::default()))
    }

    fn verdict(&mut self, recipe: &mut Unstructured<'_>) -> Option<(Entry, Facts)> {
        let (_, task, _) = *self.unjudged.first()?;
        let all = std::mem::take(&mut self.unjudged).into_iter();
        let (now, later): (Vec<_>, Vec<_>) = all.partition(|(_, of, _)| *of == task);
        self.unjudged = later;
        let mut judged = Vec::new();
        for (receipt, _, in_time) in now {
            let decision = one_of(
                recipe,
                &[
                    Decision::Accepted,
                    Decision::Outvoted,
                    Decision::NoQuorum,
                    Decision::NotAttestable,
                    Decision::Mismatch,
                ],
            );
            let decision = match in_time || self.broken(recipe) {
                true => decision,
                false => Decision::Late,
            };
            judged.push(Judged { receipt, decision });
        }
        if self.broken(recipe) {
            judged.extend(judged.first().copied());
        }
        let verdict = Verdict {
            task,
            receipts: judged,
            validator: None,
        };
        Some((Entry::Verdict(verdict), Facts::default()))
    }

    /// The oldest open lease.
    fn open(&self) -> Option<Assignment> {
        let oldest = self.own.leases().min_by_key(|(_, lease)| lease.leaf);
        oldest.map(|(_, lease)| lease.assignment.clone())
    }

    fn expiry(&mut self, recipe: &mut Unstructured<'_>) -> Option<(Entry, Facts)> {
        let lease = self.open()?;
        let miner = MINERS
            .iter()
            .find(|key| key.public().to_bytes() == lease.miner);
        let acceptance = Acceptance {
            assignment: lease.hash(),
            miner: lease.miner,
            at_ms: 1,
        };
        let signed = miner
            .filter(|_| any(recipe))
            .map(|miner| acceptance.sign(miner, &mut self.rng));
        let mut expiry = Expiry {
            assignment: lease.hash(),
            at_ms: lease.deadline_ms,
            acceptance: signed,
        };
        if self.broken(recipe) {
            match any::<u8>(recipe) % 3 {
                0 => expiry.at_ms = any(recipe),
                1 => expiry.assignment = Hash::of(&[any(recipe)]),
                _ => expiry.acceptance = Some(acceptance.sign(&COORDINATOR, &mut self.rng)),
            }
        }
        Some((Entry::Expiry(expiry), Facts::default()))
    }

    fn cancel(&mut self, recipe: &mut Unstructured<'_>) -> Option<(Entry, Facts)> {
        let task = self.open()?.task;
        let all = [
            CancelledBy::Client,
            CancelledBy::Coordinator,
            CancelledBy::Decided,
        ];
        let leases = self.own.leases();
        let mut open: Vec<_> = leases
            .filter(|(_, lease)| lease.assignment.task == task)
            .collect();
        open.sort_by_key(|(_, lease)| lease.leaf);
        let mut cancel = Cancel {
            task,
            by: one_of(recipe, &all),
            at_ms: 0,
            assignments: open.into_iter().map(|(hash, _)| *hash).collect(),
        };
        if self.broken(recipe) {
            match any::<u8>(recipe) % 2 {
                0 => cancel.task = Hash::of(&[any(recipe)]),
                _ => cancel.assignments.push(Hash::of(&[any(recipe)])),
            }
        }
        Some((Entry::Cancel(cancel), Facts::default()))
    }

    /// An entry that is there already.
    fn earlier(&mut self, recipe: &mut Unstructured<'_>) -> Option<(Entry, Facts)> {
        let last = self.entries.len().checked_sub(1)?;
        let at = recipe.int_in_range(0..=last).unwrap_or(0);
        self.entries.get(at).cloned()
    }
}

/// An entry out of the recipe's own bytes.
fn read(recipe: &mut Unstructured<'_>) -> Option<(Entry, Facts)> {
    let length = usize::from(any::<u16>(recipe)).min(recipe.len());
    let bytes = recipe.bytes(length).unwrap_or_default();
    Some((Entry::decode(bytes).ok()?, Facts::default()))
}
