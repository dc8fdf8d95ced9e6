//! Whether an account's epochs come to what the ledger has, to the last unit.

use adit_ledger::Key;
use adit_ledger::rewards::Earned;
use adit_ledger::tree::{Included, TreeRoot};
use adit_net::http::client::ClientError;
use adit_protocol::codes::Code;
use adit_protocol::{Amount, Hash};
use anyhow::Context as _;
use serde_json::Value;

use crate::error::{Exit, Failure};
use crate::ledger::Ledger;
use crate::ledger::wire::{AccountRewards, Rewards, Root};
use crate::ui::Ui;

/// How often the two questions are asked again whose answers an epoch's end came between.
const AGAIN: usize = 4;

/// An account's rewards, compared.
pub struct AddedUp {
    /// As the registry answered; null if it has settled nothing itself.
    pub answer: Value,
    /// The same.
    pub account: Option<AccountRewards>,
    /// What does not add up.
    wrong: Vec<String>,
}

impl AddedUp {
    /// Asks for what an account earned and compares: its epochs with its sums, these with the claims,
    /// and the proof with the root of the ledger.
    ///
    /// # Errors
    ///
    /// When the registry does not answer, or not as it should.
    pub async fn ask(ledger: &Ledger, operator: &str) -> anyhow::Result<AddedUp> {
        let account: Key = operator
            .parse()
            .context("the registry's answer cannot be read")?;
        let path = format!("/v1/accounts/{account}/rewards");
        for _ in 0..AGAIN {
            let answer: Value = match ledger.get(&path).await {
                Ok(answer) => answer,
                // It settles nothing, so it can prove nothing.
                Err(ClientError::Refused { problem, .. }) if problem.status == 404 => {
                    return Ok(AddedUp {
                        answer: Value::Null,
                        account: None,
                        wrong: Vec::new(),
                    });
                }
                Err(error) => {
                    return Err(error).context("what the node's operator earned is not known");
                }
            };
            let rewards: AccountRewards = serde_json::from_value(answer.clone())
                .context("the registry's answer cannot be read")?;
            let settled: Rewards = ledger
                .get("/v1/rewards")
                .await
                .context("what is settled is not known")?;
            let root = match rewards.epoch {
                None => None,
                Some(epoch) => {
                    let mut all = settled.settlements.into_iter();
                    let Some(found) = all.find(|one| one.epoch == epoch) else {
                        // Another root counts since.
                        continue;
                    };
                    Some(found.earned)
                }
            };
            return Ok(AddedUp {
                wrong: compare(account, &rewards, root.as_ref()),
                answer,
                account: Some(rewards),
            });
        }
        Failure::new(Code::Unreachable, "what was earned was not compared")
            .why("epochs end faster than the registry answers")
            .hint("try again")
            .exit(Exit::Unchecked)
            .into_err()
    }

    /// Whether it adds up; `None` if there was nothing to compare.
    pub fn is_so(&self) -> Option<bool> {
        self.account.as_ref().map(|_| self.wrong.is_empty())
    }

    /// Shows it.
    ///
    /// # Errors
    ///
    /// When nothing can be written.
    pub fn print(&self, ui: &Ui) -> anyhow::Result<()> {
        let Some(account) = &self.account else {
            ui.note("note: what the operator earned is not kept by this registry, so it was not compared with the ledger; `adit audit rewards` computes it");
            return Ok(());
        };
        if self.wrong.is_empty() {
            let all: Amount = account.epochs.iter().map(|one| one.earned.0).sum();
            let since = match account.epochs.last() {
                Some(first) => format!(
                    "{all} since epoch {}, {} before",
                    first.epoch, account.before
                ),
                None => "nothing".to_owned(),
            };
            ui.line(format!(
                "adds up   {since}: that is all that is earned or pending, and the ledger's root has it"
            ))?;
        }
        for wrong in &self.wrong {
            ui.line(format!("WRONG     {wrong}"))?;
        }
        Ok(())
    }

    /// How the command ends.
    ///
    /// # Errors
    ///
    /// When it does not add up.
    pub fn verdict(&self) -> anyhow::Result<Exit> {
        if self.wrong.is_empty() {
            return Ok(Exit::Ok);
        }
        Failure::new(Code::Diverged, "what was earned does not add up")
            .why(self.wrong.join("; "))
            .hint("the registry's answers contradict the ledger: `adit audit rewards` computes all of it from the logs")
            .exit(Exit::Diverged)
            .into_err()
    }
}

fn compare(account: Key, rewards: &AccountRewards, root: Option<&Root>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, found: Amount, expected: Amount| {
        if found != expected {
            wrong.push(format!("{what}: {found}, and not {expected}"));
        }
    };
    let sum = |parts: &[Amount]| -> Amount { parts.iter().copied().sum() };
    let epochs: Vec<Amount> = rewards.epochs.iter().map(|one| one.earned.0).collect();
    same(
        "its epochs come to",
        sum(&[rewards.before.0, sum(&epochs)]),
        sum(&[rewards.earned.0, rewards.pending.0]),
    );
    same(
        "what was claimed and can be claimed is",
        sum(&[rewards.claimed.0, rewards.claimable.0]),
        rewards.earned.0,
    );
    let proven = match root {
        // The ledger has nothing that counts, so nothing can be earned.
        None => rewards.earned.0.is_zero(),
        Some(root) => rewards.earned.0.is_zero() || proves(account, rewards, root).is_some(),
    };
    if !proven {
        wrong.push(format!(
            "{} earned is not what the ledger's root has",
            rewards.earned
        ));
    }
    wrong
}

/// Whether the ledger's root has what the account earned.
fn proves(account: Key, rewards: &AccountRewards, root: &Root) -> Option<()> {
    let proof = rewards.proof.as_ref()?;
    let hashes = proof.proof.iter().map(|hash| hash.parse::<Hash>().ok());
    let leaf = Earned {
        account,
        total: rewards.earned.0,
    };
    let included = Included {
        index: proof.index,
        leaf: leaf.leaf(),
        proof: hashes.collect::<Option<_>>()?,
    };
    let root = TreeRoot {
        size: root.size,
        root: root.root.parse().ok()?,
    };
    included.verify(&root).ok()
}

#[cfg(test)]
mod tests {
    use adit_ledger::rewards::RewardTree;
    use serde_json::json;

    use super::*;

    /// What a registry says of the first of two accounts, which earned 7 by a root that counts, and 2
    /// more since.
    fn said() -> (Key, Value, Root) {
        let account = Key::from_bytes([1; 32]);
        let earned = |n: u8, total| Earned {
            account: Key::from_bytes([n; 32]),
            total: Amount::from_units(total),
        };
        let tree = RewardTree::new(vec![earned(1, 7), earned(2, 5)]);
        let (_, proof) = tree.prove(&account).unwrap();
        let said = json!({
            "earned": "7", "claimed": "3", "claimable": "4", "pending": "2",
            "pending_from_epoch": 6, "epoch": 3, "before": "4",
            "epochs": [{"epoch": 4, "earned": "2"}, {"epoch": 3, "earned": "3"}],
            "proof": proof,
        });
        let TreeRoot { size, root } = tree.root();
        let root = root.to_string();
        (account, said, Root { size, root })
    }

    fn wrong(change: impl Fn(&mut Value)) -> usize {
        let (account, mut said, root) = said();
        change(&mut said);
        let rewards = serde_json::from_value(said).unwrap();
        compare(account, &rewards, Some(&root)).len()
    }

    #[test]
    fn a_unit_less_is_found() {
        assert_eq!(wrong(|_| ()), 0);
        assert_eq!(wrong(|said| said["before"] = "3".into()), 1);
        assert_eq!(wrong(|said| said["pending"] = "1".into()), 1);
        assert_eq!(wrong(|said| said["claimed"] = "2".into()), 1);
        assert_eq!(wrong(|said| said["epochs"][1]["earned"] = "2".into()), 1);
        // Consistent in itself, and not what the root has.
        let consistent = |said: &mut Value| {
            said["earned"] = "8".into();
            said["claimable"] = "5".into();
            said["before"] = "5".into();
        };
        assert_eq!(wrong(consistent), 1);
        assert_eq!(wrong(|said| said["proof"] = Value::Null), 1);
        assert_eq!(wrong(|said| said["proof"]["index"] = 1.into()), 1);
        assert_eq!(wrong(|said| said["proof"]["proof"][0] = "x".into()), 1);
    }

    #[test]
    fn without_a_root_nothing_can_be_earned() {
        let (account, said, _) = said();
        let rewards = serde_json::from_value(said).unwrap();
        assert_eq!(compare(account, &rewards, None).len(), 1);
    }
}
