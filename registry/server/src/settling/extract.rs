//! From the entries of a coordinator's log to the receipts that an epoch is settled from.
//!
//! A receipt belongs to the epoch in whose leaves its verdict is: before that nobody knows what is due
//! for it. One that has no verdict when the epoch after its draw ends counts as accepted, since
//! otherwise a coordinator could have work done for nothing by saying nothing. What it pays is said by
//! its assignment, which is in the log before its verdict. One that a log lacks is owed by the ledger
//! (see [`adit_ledger::late`]), with later epochs than any in which its log could have it paid: so it is
//! never paid both ways by what comes from here. None of this judges the coordinator: its log
//! is its word, and its escrow pays for it. What could hurt others is checked here: that both signed
//! the receipt, and that a receipt's fields are those of its assignment.

use std::collections::HashMap;

use adit_protocol::network::assignment::{Assignment, Terms};
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::network::genesis::network_id;
use adit_protocol::receipt::{Receipt, verify_batch};
use adit_protocol::{Hash, Status};
use rand_core::OsRng;

/// A receipt that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its leaf.
    pub leaf: u64,
    /// The receipt.
    pub receipt: Box<Receipt>,
    /// What the verdict says; none if there was none in time, or yet.
    pub decision: Option<Decision>,
    /// Whether the verdict accepts it, and it can be paid at all.
    pub accepted: bool,
    /// What its assignment says that it pays; nothing is due where there is none.
    pub terms: Option<Terms>,
}

struct Open {
    miner: [u8; 32],
    task: Hash,
    epoch: u64,
    terms: Option<Terms>,
}

/// Reads the entries of one log in order.
///
/// Memory holds the assignments of two epochs, and their receipts that are not judged; what is older
/// cannot be paid any more.
pub struct Extractor {
    genesis: Hash,
    coordinator: [u8; 32],
    assignments: HashMap<Hash, Open>,
    /// Those that are paid or expired, by epoch: written into the log again, they are no new ones.
    over: HashMap<Hash, u64>,
    receipts: HashMap<Hash, (u64, Box<Receipt>)>,
    judged: Vec<Judged>,
}

impl Extractor {
    /// Begins before the first entry of a coordinator's log, by the key that the log is named by.
    pub fn new(genesis: Hash, coordinator: [u8; 32]) -> Extractor {
        Extractor {
            genesis,
            coordinator,
            assignments: HashMap::new(),
            over: HashMap::new(),
            receipts: HashMap::new(),
            judged: Vec::new(),
        }
    }

    /// Takes in the next entry. One that cannot be read pays nobody.
    pub fn entry(&mut self, leaf: u64, bytes: &[u8]) {
        self.read(leaf, bytes, |_| true);
    }

    /// Takes in the next entry, which lies before the first of an epoch. Call [`Extractor::begin`]
    /// after the last of them: it comes to the same as [`Extractor::entry`] for each, and a long log
    /// does not fill memory.
    pub fn pass(&mut self, leaf: u64, bytes: &[u8], epoch: u64) {
        self.read(leaf, bytes, |drawn| young(drawn, epoch));
        self.keep(epoch);
    }

    /// Keeps of what was judged before an epoch's first leaf what was drawn in it already: a log is
    /// closed a little after the end of an epoch, and goes on meanwhile.
    fn keep(&mut self, epoch: u64) {
        self.judged.retain(|one| one.receipt.body.epoch >= epoch);
    }

    fn read(&mut self, leaf: u64, bytes: &[u8], counts: impl Fn(u64) -> bool) {
        match Entry::decode(bytes) {
            Ok(Entry::Assignment(signed)) => {
                let id = signed.body_hash();
                if let Ok(assignment) = signed.unverified()
                    && counts(assignment.epoch)
                {
                    self.assignment(id, assignment);
                }
            }
            Ok(Entry::Receipt(receipt)) => {
                if counts(receipt.body.epoch) {
                    self.receipts.entry(receipt.id()).or_insert((leaf, receipt));
                }
            }
            Ok(Entry::Verdict(verdict)) => {
                for one in &verdict.receipts {
                    self.judge(&one.receipt, one.decision);
                }
            }
            Ok(Entry::Expiry(expiry)) => {
                self.close(&expiry.assignment);
            }
            Ok(Entry::Roster(_) | Entry::Cancel(_)) | Err(_) => {}
        }
    }

    fn assignment(&mut self, id: Hash, assignment: Assignment) {
        let Assignment {
            genesis,
            coordinator,
            miner,
            task,
            epoch,
            terms,
            ..
        } = assignment;
        let own = genesis == self.genesis && coordinator == self.coordinator;
        if own && !self.over.contains_key(&id) {
            self.assignments.entry(id).or_insert(Open {
                miner,
                task,
                epoch,
                terms,
            });
        }
    }

    /// Ends an assignment for good.
    fn close(&mut self, id: &Hash) {
        if let Some(open) = self.assignments.remove(id) {
            self.over.insert(*id, open.epoch);
        }
    }

    fn judge(&mut self, id: &Hash, decision: Decision) {
        // Judged twice, it is paid once.
        let Some((leaf, receipt)) = self.receipts.remove(id) else {
            return;
        };
        let status = receipt.body.status;
        let payable = match decision {
            Decision::Accepted | Decision::NotAttestable => true,
            // The miner stopped because it was told to.
            Decision::TaskCancelled => status == Status::Cancelled,
            _ => false,
        };
        self.settle(leaf, receipt, Some(decision), payable);
    }

    fn settle(
        &mut self,
        leaf: u64,
        receipt: Box<Receipt>,
        decision: Option<Decision>,
        payable: bool,
    ) {
        let body = &receipt.body;
        let assignment = body.assignment;
        let fits = |open: &&Open| {
            open.miner == body.miner && open.task == body.task && open.epoch == body.epoch
        };
        let open = self.assignments.get(&assignment);
        let terms = open.filter(fits).and_then(|open| open.terms);
        let accepted = payable
            && terms.is_some()
            && body.network == network_id(&self.genesis)
            && body.coordinator == self.coordinator;
        if accepted {
            // An assignment is paid once, in whatever epoch.
            self.close(&assignment);
        }
        self.judged.push(Judged {
            leaf,
            receipt,
            decision,
            accepted,
            terms,
        });
    }

    /// Forgets what cannot be paid in an epoch or later, before the first entry of the epoch is taken
    /// in. What is left does not depend on how often that was done before.
    pub fn begin(&mut self, epoch: u64) {
        self.assignments.retain(|_, open| young(open.epoch, epoch));
        self.over.retain(|_, drawn| young(*drawn, epoch));
        self.receipts
            .retain(|_, (_, receipt)| young(receipt.body.epoch, epoch));
        self.keep(epoch);
    }

    /// The receipts that were judged since the epoch began, and those that can wait no longer, by leaf.
    /// What was drawn after the epoch stays for the next one.
    pub fn take(&mut self, epoch: u64) -> Vec<Judged> {
        let mut over: Vec<_> = self
            .receipts
            .extract_if(|_, (_, receipt)| receipt.body.epoch < epoch)
            .map(|(_, waiting)| waiting)
            .collect();
        // Of two receipts of one assignment the first is paid.
        over.sort_by_key(|(leaf, _)| *leaf);
        for (leaf, receipt) in over {
            self.settle(leaf, receipt, None, true);
        }
        let all = std::mem::take(&mut self.judged).into_iter();
        let (mut judged, later): (Vec<_>, Vec<_>) =
            all.partition(|one| one.receipt.body.epoch <= epoch);
        self.judged = later;
        judged.sort_by_key(|one| one.leaf);
        let signed: Vec<Receipt> = judged.iter().map(|one| (*one.receipt).clone()).collect();
        if let Err(forged) = verify_batch(&signed, &mut OsRng) {
            for at in forged {
                if let Some(one) = judged.get_mut(at) {
                    one.accepted = false;
                }
            }
        }
        judged
    }
}

/// Whether what was drawn in an epoch can be paid in another one, or later.
fn young(drawn: u64, epoch: u64) -> bool {
    drawn.saturating_add(1) >= epoch
}

#[cfg(test)]
mod made;
#[cfg(test)]
mod tests;
