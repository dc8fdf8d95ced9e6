//! A node's receipts in the logs of coordinators that are not settled yet.

use std::collections::BTreeMap;

use adit_ledger::Key;
use adit_protocol::Amount;
use adit_protocol::network::entry::Decision;
use adit_registry::settling::extract::Judged;
use adit_registry::settling::open::{OpenLog, brings, receipts};
use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::reasons;
use crate::ledger::Ledger;
use crate::ledger::wire::{self, Node};
use crate::text::{count, one_line};
use crate::ui::Ui;

/// Logs that are read at once.
const AT_ONCE: usize = 8;

/// A node's receipts that are not settled.
#[derive(Default)]
pub struct OpenReceipts {
    /// The first epoch that is not settled.
    next: u64,
    /// Accepted.
    accepted: u64,
    /// Not judged yet.
    waiting: u64,
    /// Not to be paid, by the reason.
    refused: BTreeMap<&'static str, u64>,
    /// What the accepted and the waiting ones bring at most, without emission.
    at_most: Amount,
    /// Logs that could not be read, with why.
    unread: Vec<(Key, String)>,
}

impl OpenReceipts {
    /// Reads all logs that have leaves which are not settled.
    ///
    /// # Errors
    ///
    /// When the registry does not say which. A log that cannot be read is no error.
    pub async fn read(ledger: &Ledger, node: &Node) -> anyhow::Result<OpenReceipts> {
        let open: wire::Open = ledger
            .get("/v1/rewards/open")
            .await
            .context("it is not known what is not settled yet")?;
        let malformed = "the registry's answer cannot be read";
        let former = node.former_keys.iter().map(|former| &former.keys.node);
        let keys = former.chain([&node.keys.node, &node.address]);
        let keys: Vec<Key> = keys
            .map(|key| key.parse())
            .collect::<Result<_, _>>()
            .context(malformed)?;
        let logs: Vec<OpenLog> = open
            .logs
            .iter()
            .map(log)
            .collect::<Option<_>>()
            .context(malformed)?;
        let mut found = OpenReceipts {
            next: open.next,
            ..OpenReceipts::default()
        };
        let read = stream::iter(logs)
            .map(async |log| {
                let read = receipts(ledger.genesis_hash, &log, open.next, &ledger.roots).await;
                (log.coordinator, read)
            })
            .buffered(AT_ONCE);
        let mut read = std::pin::pin!(read);
        while let Some((coordinator, read)) = read.next().await {
            match read {
                Ok(judged) => {
                    let own = |one: &&Judged| {
                        let miner = Key::from_bytes(one.receipt.body.miner);
                        keys.contains(&miner)
                    };
                    for one in judged.iter().filter(own) {
                        found.count(one, open.fee_ppm);
                    }
                }
                Err(error) => found.unread.push((coordinator, error.to_string())),
            }
        }
        Ok(found)
    }

    fn count(&mut self, one: &Judged, fee_ppm: u32) {
        let counter = match (one.accepted, one.decision) {
            (true, Some(_)) => &mut self.accepted,
            (true, None) => &mut self.waiting,
            (false, decision) => self.refused.entry(reason(decision)).or_default(),
        };
        *counter = counter.saturating_add(1);
        self.at_most = [self.at_most, brings(one, fee_ppm)].into_iter().sum();
    }

    /// As JSON.
    pub fn as_json(&self) -> Value {
        let unread = self.unread.iter();
        json!({
            "from_epoch": self.next,
            "accepted": self.accepted,
            "waiting": self.waiting,
            "refused": self.refused,
            "at_most": self.at_most,
            "unread": unread
                .map(|(coordinator, why)| json!({ "coordinator": coordinator, "why": why }))
                .collect::<Vec<_>>(),
        })
    }

    /// Shows it.
    ///
    /// # Errors
    ///
    /// When nothing can be written.
    pub fn print(&self, ui: &Ui) -> anyhow::Result<()> {
        ui.line(format!(
            "open      {} accepted and {} not judged yet, in epoch {} and later: at most {} for the node, and its part of the emission",
            count(self.accepted, "receipt"),
            self.waiting,
            self.next,
            self.at_most
        ))?;
        ui.line(format!("disputed  {}", reasons(&self.refused)))?;
        for (coordinator, why) in &self.unread {
            ui.note(format!(
                "note: what is in the log of the coordinator {coordinator} is not counted as open: {}",
                one_line(why)
            ));
        }
        Ok(())
    }
}

/// Why a receipt is not paid.
fn reason(decision: Option<Decision>) -> &'static str {
    match decision {
        Some(Decision::Outvoted) => "outvoted",
        Some(Decision::NoQuorum) => "no-quorum",
        Some(Decision::RefusedByValidator) => "refused-by-validator",
        Some(Decision::Late) => "late",
        Some(Decision::Mismatch) => "mismatch",
        Some(Decision::TaskCancelled) => "task-cancelled",
        // Its assignment says nothing of a price, is another's, or was paid before.
        Some(Decision::Accepted | Decision::NotAttestable) | None => "not-payable",
    }
}

fn log(said: &wire::OpenLog) -> Option<OpenLog> {
    Some(OpenLog {
        coordinator: said.coordinator.parse().ok()?,
        node_key: said.node_key.parse().ok()?,
        log_key: said.log_key.parse().ok()?,
        url: said.url.clone(),
        first: said.first,
    })
}
