//! A coordinator that writes a log as it should, and breaks one rule where a vector needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::network::assignment::{Acceptance, Assignment};
use adit_protocol::network::entry::{
    Cancel, CancelledBy, Decision, Entry, Expiry, Judged, Verdict,
};
use adit_protocol::network::membership::{Membership, MinerMember};
use adit_protocol::network::roster::{Candidate, Roster, RosterEntry, weights};
use adit_protocol::network::standing::{Drawn, Facts, Standing};
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::signed::{Signable, Signed};
use adit_protocol::status::Status;
use adit_protocol::task::{Requirements, TaskSpec};
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use super::super::draws::{anything, spec};
use super::super::{TOKEN, account, key, sample_genesis};
use super::forget;
use crate::fixtures::{coordinator, miner, rng};
use crate::vectors::documents::samples::h;
use crate::vectors::kind::{hex, json_file};

/// The network's time at which everything begins.
pub const BEGIN_MS: u64 = 1_700_000_000_000;

pub struct Writer {
    pub membership: Membership,
    pub own: Standing,
    /// The key in the file: that of the coordinator, or one that no log can have.
    pub coordinator: [u8; 32],
    pub rosters: BTreeMap<Hash, Roster>,
    pub tasks: BTreeMap<Hash, TaskSpec>,
    pub entries: Vec<Vec<u8>>,
    pub rng: ChaCha20Rng,
}

fn members() -> Vec<MinerMember> {
    let stakes = [20_000, 60_000, 200_000, 20_000];
    let mut members: Vec<_> = (1u8..)
        .zip(stakes)
        .map(|(number, stake)| MinerMember {
            node: key(&miner(number)),
            account: account(number),
            stake: stake * TOKEN,
            jailed: None,
            introduction: String::new(),
        })
        .collect();
    members.sort_by_key(|member| member.node);
    members
}

impl Writer {
    /// Four miners and no entry yet.
    pub fn new() -> Writer {
        let coordinator = key(&coordinator());
        Writer {
            membership: Membership {
                genesis: sample_genesis().hash(),
                version: 1,
                engines: vec![h("engine")],
                coordinators: vec![],
                miners: members(),
                witnesses: vec![],
            },
            own: Standing::new(&sample_genesis(), coordinator, false),
            coordinator,
            rosters: BTreeMap::new(),
            tasks: BTreeMap::new(),
            entries: vec![],
            rng: rng(),
        }
    }

    /// With a first roster.
    pub fn begun() -> Writer {
        let mut writer = Writer::new();
        writer.roster(|_| {});
        writer
    }

    pub fn leaf(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn push(&mut self, entry: &Entry) {
        let mut facts = Facts::default();
        if let Entry::Roster(roster) = entry {
            facts.roster = self.rosters.get(&roster.root).cloned().map(Arc::new);
        }
        self.own.apply(self.leaf(), entry, &facts);
        forget(&mut self.own, entry);
        self.entries.push(entry.encode());
    }

    /// A roster of all members, by the rules.
    pub fn roster(&mut self, change: impl FnOnce(&mut Roster)) -> RosterEntry {
        let mut roster = self.candidates();
        change(&mut roster);
        self.fixed(roster)
    }

    fn candidates(&self) -> Roster {
        let candidate = |member: &MinerMember| Candidate {
            node: member.node,
            stake: member.stake,
            slots: 2,
            cpu: true,
            // The one with the largest stake has a GPU.
            gpu_memory_bytes: (member.stake == 200_000 * TOKEN).then_some(24 << 30),
            environments: vec![],
            quality_ppm: self.own.record(&member.node).quality_ppm(),
            locality: 4 - member.node[0] % 5,
            weight: 0,
        };
        let mut roster = Roster {
            epoch: 0,
            beacon: sample_genesis().beacon(0),
            membership: self.membership.hash(),
            region: "eu-central".into(),
            candidates: self.membership.miners.iter().map(candidate).collect(),
        };
        weigh(&mut roster);
        roster
    }

    /// Fixes a roster at the next leaf.
    pub fn fixed(&mut self, roster: Roster) -> RosterEntry {
        let leaf = self.leaf();
        let made_ms = BEGIN_MS + 1000 * leaf;
        let genesis = sample_genesis().hash();
        let (entry, _) = RosterEntry::make(
            &genesis,
            &roster,
            leaf,
            made_ms,
            &coordinator(),
            &mut self.rng,
        );
        self.rosters.insert(roster.hash(), roster);
        self.push(&Entry::Roster(entry.clone()));
        entry
    }

    /// A task that anything can run.
    pub fn task(&mut self, number: u8) -> Hash {
        self.task_for(number, anything())
    }

    pub fn task_for(&mut self, number: u8, requirements: Requirements) -> Hash {
        let spec = spec(number, requirements);
        let id = spec.hash();
        self.tasks.insert(id, spec);
        id
    }

    /// The assignment that comes next for a replica, drawn by the rules.
    pub fn next(&self, task: Hash, replica: u32) -> Assignment {
        let standing = self.own.task(&task);
        let (attempt, _) = standing
            .and_then(|task| task.replicas.get(&replica).copied())
            .unwrap_or_default();
        let force = self.own.in_force().expect("a roster");
        let mut assignment = Assignment {
            genesis: sample_genesis().hash(),
            coordinator: key(&coordinator()),
            miner: key(&miner(1)),
            task,
            attempt,
            replica,
            roster: force.leaf,
            epoch: force.roster.epoch,
            local: false,
            issued_ms: BEGIN_MS + 1000 * self.leaf(),
            deadline_ms: BEGIN_MS + 1000 * self.leaf() + 60_000,
            escrow: u128::from(self.leaf()) * TOKEN,
            terms: None,
        };
        self.redraw(&mut assignment);
        assignment
    }

    /// Gives an assignment that was changed to whom it falls on, if to anyone.
    pub fn redraw(&self, a: &mut Assignment) {
        let wanted = &self.tasks[&a.task].requirements;
        if let Drawn::Miner { candidate, .. } = self
            .own
            .draw(&a.task, wanted, a.attempt, a.replica, a.local)
        {
            a.miner = candidate.node;
        }
    }

    pub fn assign(
        &mut self,
        task: Hash,
        replica: u32,
        change: impl FnOnce(&mut Assignment),
    ) -> Assignment {
        let mut assignment = self.next(task, replica);
        change(&mut assignment);
        self.assigned(&assignment, &coordinator());
        assignment
    }

    pub fn assigned(&mut self, assignment: &Assignment, signer: &Keypair) {
        let signed = assignment.sign(signer, &mut self.rng);
        self.push(&Entry::Assignment(signed));
    }

    pub fn receipt(
        &mut self,
        assignment: &Assignment,
        change: impl FnOnce(&mut ReceiptBody),
    ) -> Hash {
        let (seq, prev) = self.own.newest(&assignment.miner);
        let mut body = ReceiptBody {
            network: sample_genesis().network_id(),
            status: Status::Ok,
            gpu: false,
            nn: false,
            epoch: assignment.epoch,
            seq: seq + 1,
            start_ms: assignment.issued_ms + 10,
            duration_us: 1_000,
            fuel: 5,
            nn_units: 0,
            peak_memory: 65_536,
            miner: assignment.miner,
            coordinator: assignment.coordinator,
            task: assignment.task,
            assignment: assignment.hash(),
            component: h("component"),
            input: h("input"),
            output: h("output"),
            transcript: h("transcript"),
            environment: h("environment"),
            prev,
        };
        change(&mut body);
        let receipt = body.sign(&keypair(&assignment.miner), &mut self.rng);
        self.push(&Entry::Receipt(Box::new(receipt)));
        body.id()
    }

    pub fn verdict(&mut self, task: Hash, receipts: &[(Hash, Decision)]) {
        let judged = |(receipt, decision): &(Hash, Decision)| Judged {
            receipt: *receipt,
            decision: *decision,
        };
        self.push(&Entry::Verdict(Verdict {
            task,
            receipts: receipts.iter().map(judged).collect(),
            validator: None,
        }));
    }

    pub fn accepted(&mut self, assignment: &Assignment) -> Signed<Acceptance> {
        let acceptance = Acceptance {
            assignment: assignment.hash(),
            miner: assignment.miner,
            at_ms: assignment.issued_ms + 20,
        };
        acceptance.sign(&keypair(&assignment.miner), &mut self.rng)
    }

    pub fn expiry(
        &mut self,
        assignment: &Assignment,
        at_ms: u64,
        acceptance: Option<Signed<Acceptance>>,
    ) {
        self.push(&Entry::Expiry(Expiry {
            assignment: assignment.hash(),
            at_ms,
            acceptance,
        }));
    }

    pub fn cancel(&mut self, task: Hash, by: CancelledBy, assignments: Vec<Hash>) {
        let at_ms = BEGIN_MS + 1000 * self.leaf();
        self.push(&Entry::Cancel(Cancel {
            task,
            by,
            at_ms,
            assignments,
        }));
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let named = |list: Vec<(String, Vec<u8>)>| -> serde_json::Map<String, Value> {
            let entry = |(name, bytes): (String, Vec<u8>)| (name, json!(hex(bytes)));
            list.into_iter().map(entry).collect()
        };
        let rosters = self.rosters.iter();
        let tasks = self.tasks.iter();
        json_file(json!({
            "genesis": hex(sample_genesis().to_cbor()),
            "coordinator": hex(self.coordinator),
            "membership": hex(self.membership.to_cbor()),
            "rosters": named(rosters.map(|(h, d)| (h.to_string(), d.to_cbor())).collect()),
            "tasks": named(tasks.map(|(h, d)| (h.to_string(), d.to_cbor())).collect()),
            "entries": self.entries.iter().map(hex).collect::<Vec<_>>(),
        }))
    }
}

/// Sets the weights that the formula gives.
pub fn weigh(roster: &mut Roster) {
    let all = weights(&sample_genesis(), &roster.candidates);
    for (candidate, weight) in roster.candidates.iter_mut().zip(all) {
        candidate.weight = weight;
    }
}

/// The keypair of one of the miners.
pub fn keypair(node: &[u8; 32]) -> Keypair {
    let mut all = (1..=4).map(miner);
    all.find(|pair| key(pair) == *node).expect("one of four")
}
