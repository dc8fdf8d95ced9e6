//! Misdeeds that need a verdict: somebody accuses, checkers look at it, and a quorum of their stake
//! signs what they found.
//!
//! ```text
//!            unbonding_epochs          appeal_epochs
//!   accuse ─────────────────► verdict ───────────────► penalty
//!      │                        │ │  └─► appeal ─► second verdict, for good: penalty, or nothing;
//!      └─► runs out             │ │                without one in appeal_epochs the first stands
//!                               │ └ not guilty: over
//! ```
//!
//! Reports run out when what stood behind the node at that time can be gone. A deposit is lost to the
//! treasury, not burned: it pays for the network's work, and those who acquit get nothing of it
//! by themselves, since the treasury is spent by votes of all stake.

use adit_protocol::signed::Signable as _;
use adit_protocol::{Document as _, Hash};

use super::State;
use super::apply::Payer;
use super::penalty::Penalty;
use super::slashing::Report;
use crate::event::Event;
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::slashing::{Finding, Misdeed};
use crate::transaction::Attestation;

impl State {
    pub(super) fn accuse(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        misdeed: Misdeed,
        evidence: Hash,
    ) -> Result<(), Refusal> {
        if !misdeed.fits(self.find(&node)?.role) {
            return Rule::OtherRole.broken();
        }
        let once = (node, misdeed.once(&evidence));
        if self.slashing.misdeeds.contains_key(&once) {
            return Rule::Reported.broken();
        }
        let parameters = &self.head.parameters;
        let deposit = parameters.slashing.deposit;
        payer.spend(deposit)?;
        let until_epoch = self.after(parameters.unbonding_epochs);
        let report = Report {
            reporter: payer.key,
            node,
            misdeed,
            evidence,
            deposit,
            until_epoch,
            verdict_ppm: None,
            appeal: None,
            decided: false,
        };
        self.slashing.reports.insert(payer.id, report);
        self.slashing.misdeeds.insert(once, payer.id);
        payer.events.push(Event::Accused {
            report: payer.id,
            node,
            misdeed,
            account: payer.key,
            until_epoch,
        });
        Ok(())
    }

    pub(super) fn verdict(
        &mut self,
        payer: &mut Payer<'_>,
        id: Hash,
        fraction_ppm: Option<u32>,
        attestations: &[Attestation],
    ) -> Result<(), Refusal> {
        let report = self.open_report(&id)?.clone();
        let appealed = report.appeal.is_some();
        if report.decided || (report.verdict_ppm.is_some() && !appealed) {
            return Rule::Judged.broken();
        }
        let most = self.head.parameters.slashing.fraction_ppm;
        if fraction_ppm.is_some_and(|ppm| ppm == 0 || ppm > most) {
            return Rule::Fraction.broken();
        }
        let finding = Finding {
            genesis: self.head.genesis,
            report: id,
            appeal: appealed,
            guilty: fraction_ppm.is_some(),
            fraction_ppm: fraction_ppm.unwrap_or(0),
        };
        // Nobody judges itself.
        let accused = Some(report.node);
        self.attested(Finding::CONTEXT, &finding.to_cbor(), attestations, accused)?;
        payer.events.push(Event::Judged {
            report: id,
            appeal: appealed,
            fraction_ppm,
        });
        if fraction_ppm.is_none() {
            self.acquit(payer, id, &report);
            return Ok(());
        }
        let until_epoch = match appealed {
            // There is nothing to wait for.
            true => self.after(0),
            false => self.after(self.head.parameters.slashing.appeal_epochs),
        };
        if let Some(report) = self.slashing.reports.get_mut(&id) {
            report.verdict_ppm = fraction_ppm;
            report.until_epoch = until_epoch;
            report.decided = appealed;
            report.appeal = None;
        }
        if let Some(deposit) = report.appeal {
            let operator = self.find(&report.node)?.operator;
            self.forfeit(operator, deposit, payer.events);
        }
        Ok(())
    }

    /// Ends a report of a node that did nothing. It cannot be made again.
    fn acquit(&mut self, payer: &mut Payer<'_>, id: Hash, report: &Report) {
        self.slashing.reports.remove(&id);
        self.forfeit(report.reporter, report.deposit, payer.events);
        let operator = self.nodes.get(&report.node).map(|node| node.operator);
        if let (Some(deposit), Some(operator)) = (report.appeal, operator) {
            match operator == payer.key {
                // Whose account is being changed already.
                true => {
                    self.accounts.insert(payer.key, payer.account);
                    self.give_back(operator, deposit, payer.events);
                    payer.account = self.account(&payer.key);
                }
                false => self.give_back(operator, deposit, payer.events),
            }
        }
    }

    pub(super) fn appeal(&mut self, payer: &mut Payer<'_>, id: Hash) -> Result<(), Refusal> {
        let report = self.open_report(&id)?;
        self.operated_by(&report.node, &payer.key)?;
        if report.verdict_ppm.is_none() || report.appeal.is_some() || report.decided {
            return Rule::NoAppeal.broken();
        }
        let rules = &self.head.parameters.slashing;
        let deposit = rules.deposit;
        payer.spend(deposit)?;
        let until_epoch = self.after(rules.appeal_epochs);
        if let Some(report) = self.slashing.reports.get_mut(&id) {
            report.appeal = Some(deposit);
            report.until_epoch = until_epoch;
        }
        payer.events.push(Event::Appealed {
            report: id,
            until_epoch,
        });
        Ok(())
    }

    /// Ends what has run out, and does what has waited long enough, as an epoch begins after the epoch
    /// `last`.
    pub(super) fn turn_reports(&mut self, last: u64, events: &mut Vec<Event>) {
        let epoch = self.head.epoch;
        let reports = self.slashing.reports.iter();
        let mut due: Vec<_> = reports
            .map(|(id, report)| (report.until_epoch, *id))
            .filter(|(until, _)| *until <= epoch)
            .collect();
        due.sort_unstable();
        for (_, id) in due {
            let Some(report) = self.slashing.reports.remove(&id) else {
                continue;
            };
            match report.verdict_ppm {
                Some(fraction_ppm) => {
                    let penalty = Penalty {
                        node: report.node,
                        misdeed: report.misdeed,
                        fraction_ppm,
                        reporter: report.reporter,
                    };
                    let cuts = self.cuts(report.node, fraction_ppm);
                    self.punish(&penalty, cuts, last, events);
                }
                None => {
                    let once = report.misdeed.once(&report.evidence);
                    self.slashing.misdeeds.remove(&(report.node, once));
                    events.push(Event::RanOut { report: id });
                }
            }
            self.give_back(report.reporter, report.deposit, events);
            let operator = self.nodes.get(&report.node).map(|node| node.operator);
            if let (Some(deposit), Some(operator)) = (report.appeal, operator) {
                self.give_back(operator, deposit, events);
            }
        }
    }

    fn open_report(&self, id: &Hash) -> Result<&Report, Refusal> {
        let found = self.slashing.reports.get(id);
        found.ok_or(Refusal::NoReport { report: *id })
    }

    /// The epoch that begins when so many whole epochs from the next one on are over.
    pub(super) fn after(&self, epochs: u64) -> u64 {
        let epoch = self.head.epoch.saturating_add(1);
        epoch.saturating_add(epochs)
    }
}
