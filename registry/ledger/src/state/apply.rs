//! A transaction's effect: all of it, or none.

use adit_protocol::{Amount, Hash};

use super::{Account, State, add};
use crate::event::Event;
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::transaction::{Action, Transaction, Verified};

/// How long before its expiry a transaction may be signed, in milliseconds: a day.
pub const AHEAD_MS_MAX: u64 = 24 * 3600 * 1000;

/// Who pays for a transaction: a copy of the account, which becomes the account only if all goes well.
pub(super) struct Payer<'a> {
    pub key: Key,
    pub account: Account,
    /// The transaction's id.
    pub id: Hash,
    pub events: &'a mut Vec<Event>,
}

impl Payer<'_> {
    /// Takes free tokens.
    pub fn spend(&mut self, amount: Amount) -> Result<(), Refusal> {
        self.account.free = take(self.account.free, amount, "free")?;
        Ok(())
    }
}

/// What is left of `found` without `needed`.
pub(super) fn take(found: Amount, needed: Amount, place: &'static str) -> Result<Amount, Refusal> {
    found.minus(needed).ok_or(Refusal::Insufficient {
        place,
        found,
        needed,
    })
}

/// Refuses nothing as an amount, and more than can exist.
pub(super) fn some(amount: Amount) -> Result<Amount, Refusal> {
    match amount.is_zero() {
        true => Err(Refusal::Nothing),
        false => Ok(amount),
    }
}

impl State {
    /// Does what a transaction says, in the newest block.
    ///
    /// # Errors
    /// [`Refusal`]; the state is as before then.
    pub fn apply(&mut self, transaction: &Verified) -> Result<Vec<Event>, Refusal> {
        let id = transaction.signed().id();
        let transaction = transaction.transaction();
        let mut account = self.check(transaction)?;
        let staked = self.staked(&transaction.account);
        account.number = account.number.saturating_add(1);
        let mut events = Vec::new();
        let mut payer = Payer {
            key: transaction.account,
            account,
            id,
            events: &mut events,
        };
        if let Action::Claim {
            total,
            index,
            proof,
        } = &transaction.action
        {
            // Before the fee: all that an account has may be what it earned.
            let amount = self.claimable(&payer.key, *total, *index, proof)?;
            add(&mut payer.account.free, amount);
            payer.account.claimed = *total;
            payer.events.push(Event::Claimed {
                account: payer.key,
                amount,
            });
        }
        if !transaction.fee.is_zero() {
            payer.spend(transaction.fee)?;
            payer.events.push(Event::Burned {
                account: transaction.account,
                amount: transaction.fee,
            });
        }
        // Each of these refuses before it changes anything but the payer's copy.
        self.act(&mut payer, &transaction.action)?;
        let account = payer.account;
        add(&mut self.head.burned, transaction.fee);
        self.accounts.insert(transaction.account, account);
        if self.staked(&transaction.account) != staked {
            self.remember_stake(transaction.account, self.head.epoch, staked);
        }
        Ok(events)
    }

    /// What does not depend on the action. Returns the account.
    fn check(&self, transaction: &Transaction) -> Result<Account, Refusal> {
        let head = &self.head;
        if transaction.genesis != head.genesis {
            return Err(Refusal::OtherNetwork {
                expected: head.genesis,
                found: transaction.genesis,
            });
        }
        if transaction.expires_ms < head.time_ms {
            return Err(Refusal::Expired {
                late_ms: head.time_ms - transaction.expires_ms,
            });
        }
        let ahead_ms = transaction.expires_ms - head.time_ms;
        if ahead_ms > AHEAD_MS_MAX {
            return Err(Refusal::TooFarAhead {
                ahead_ms,
                max_ms: AHEAD_MS_MAX,
            });
        }
        let account = self.account(&transaction.account);
        if transaction.number != account.number {
            return Err(Refusal::Number {
                expected: account.number,
                found: transaction.number,
            });
        }
        let min = self.least_fee(&transaction.action);
        if transaction.fee < min {
            return Err(Refusal::Fee {
                min,
                found: transaction.fee,
            });
        }
        Ok(account)
    }

    fn act(&mut self, payer: &mut Payer<'_>, action: &Action) -> Result<(), Refusal> {
        match action {
            Action::Transfer { to, amount } => self.transfer(payer, *to, *amount),
            Action::Faucet { amount } => self.faucet(payer, *amount),
            Action::Stake { amount } => self.stake(payer, *amount),
            Action::Unstake { amount, from } => self.unstake(payer, *amount, *from),
            Action::Vote { node, amount } => self.vote(payer, *node, *amount),
            Action::Unvote { node, amount } => self.unvote(payer, *node, *amount),
            Action::Register { registration, bond } => self.register(payer, registration, *bond),
            Action::Update { node, profile } => self.update(payer, *node, profile),
            Action::RotateKey { node, keys, .. } => self.rotate_key(payer, *node, *keys),
            Action::Deregister { node } => self.deregister(payer, *node),
            Action::Deposit { node, amount } => self.deposit(payer, *node, *amount),
            Action::Withdraw { node, amount } => self.withdraw(payer, *node, *amount),
            Action::CloseEpoch(closure) => self.close_epoch(payer, closure),
            Action::Settle {
                settlement,
                attestations,
            } => self.settle(payer, settlement, attestations),
            Action::Claim { total, .. } => {
                let before = self.account(&payer.key).claimed;
                let amount = total.minus(before).unwrap_or_default();
                self.head.rewards = self.head.rewards.minus(amount).unwrap_or_default();
                Ok(())
            }
            Action::Report { node, evidence } => self.report(payer, *node, evidence),
            Action::Accuse {
                node,
                misdeed,
                evidence,
            } => self.accuse(payer, *node, *misdeed, *evidence),
            Action::Verdict {
                report,
                fraction_ppm,
                attestations,
            } => self.verdict(payer, *report, *fraction_ppm, attestations),
            Action::Appeal { report } => self.appeal(payer, *report),
            Action::LateReceipt(claim) => self.claim_late(payer, claim),
            Action::Answer {
                assignment,
                leaf,
                entry,
                proof,
            } => self.answer(payer, assignment, *leaf, entry, proof),
            Action::Unjail { node } => self.unjail(payer, *node),
            Action::Propose {
                title,
                settings,
                spends,
            } => self.propose(payer, title, settings, spends),
            Action::Ballot { proposal, yes } => self.ballot(payer, *proposal, *yes),
            Action::Publish(publication) => self.publish(payer, publication),
            Action::Yank {
                name,
                version,
                yanked,
            } => self.yank(payer, name, version, *yanked),
            Action::TransferName { scope, to } => self.transfer_name(payer, scope, *to),
        }
    }

    fn transfer(&mut self, payer: &mut Payer<'_>, to: Key, amount: Amount) -> Result<(), Refusal> {
        some(amount)?;
        if to == payer.key {
            return Rule::ToItself.broken();
        }
        payer.spend(amount)?;
        add(&mut self.accounts.entry(to).or_default().free, amount);
        payer.events.push(Event::Transferred {
            from: payer.key,
            to,
            amount,
        });
        Ok(())
    }

    fn faucet(&mut self, payer: &mut Payer<'_>, amount: Amount) -> Result<(), Refusal> {
        some(amount)?;
        let head = &mut self.head;
        let account = &mut payer.account;
        if account.faucet_epoch != head.epoch {
            account.faucet = Amount::ZERO;
            account.faucet_epoch = head.epoch;
        }
        let parameters = &head.parameters;
        let left = |most: Amount, given: Amount| most.minus(given).unwrap_or_default();
        let for_one = left(parameters.faucet_account, account.faucet);
        if amount > for_one {
            return Err(Refusal::Faucet {
                left: for_one,
                whom: "to this account",
            });
        }
        let for_all =
            left(parameters.faucet_epoch, head.faucet).min(left(Amount::SUPPLY_MAX, head.issued));
        if amount > for_all {
            return Err(Refusal::Faucet {
                left: for_all,
                whom: "to all accounts",
            });
        }
        add(&mut account.faucet, amount);
        add(&mut account.free, amount);
        add(&mut head.faucet, amount);
        add(&mut head.issued, amount);
        payer.events.push(Event::Minted {
            account: payer.key,
            amount,
        });
        Ok(())
    }
}
