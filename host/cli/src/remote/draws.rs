//! Whether the right miners were drawn for a task, from public data: the roster, the verifiable
//! random output at its leaf, and the log.

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::PublicKey;
use adit_protocol::network::draw::{DrawNumber, draw_weight, meets};
use adit_protocol::network::entry::Entry;
use adit_protocol::network::roster::{Roster, RosterEntry, weights};

use super::api::Api;
use super::check::Specs;
use super::log::{LogFault, LogReader};
use super::network::Known;
use super::wire::{Draw, Explain};
use crate::error::Exit;
use crate::text::{count, hex};

/// One check, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which draw: leaf index of its assignment.
    pub leaf: u64,
    /// What was checked.
    pub name: &'static str,
    /// What was found.
    pub outcome: Outcome,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed(String),
    /// It was not made.
    NotPerformed(String),
}

impl Outcome {
    fn of(result: Result<(), String>) -> Outcome {
        match result {
            Ok(()) => Outcome::Passed,
            Err(why) => Outcome::Failed(why),
        }
    }

    fn of_log(result: Result<(), LogFault>) -> Outcome {
        match result {
            Ok(()) => Outcome::Passed,
            Err(LogFault::Wrong(why)) => Outcome::Failed(why),
            Err(LogFault::Unread(why)) => Outcome::NotPerformed(why),
        }
    }
}

/// How a command ends after these checks.
pub fn exit(lines: &[Line]) -> Exit {
    let any = |is: fn(&Outcome) -> bool| lines.iter().any(|line| is(&line.outcome));
    if any(|outcome| matches!(outcome, Outcome::Failed(_))) {
        Exit::Proof
    } else if any(|outcome| matches!(outcome, Outcome::NotPerformed(_))) {
        Exit::Unchecked
    } else {
        Exit::Ok
    }
}

/// Makes all draws of a task again.
pub async fn verify(api: &Api, known: &Known, specs: &Specs, explain: &Explain) -> Vec<Line> {
    let mut lines = Vec::new();
    let Some(last) = explain.draws.iter().map(|draw| draw.leaf).max() else {
        return lines;
    };
    let coordinator = specs.task.coordinator;
    let mut log = LogReader::open(api, known, &coordinator, last).await;
    for draw in &explain.draws {
        let mut add = |name, outcome| {
            lines.push(Line {
                leaf: draw.leaf,
                name,
                outcome,
            });
        };
        match api.document::<Roster>(&draw.roster).await {
            Err(error) => add("roster", Outcome::NotPerformed(error.to_string())),
            Ok((roster, _)) => {
                add("roster", Outcome::of(check_roster(&roster, draw, known)));
                add("random-output", Outcome::of(random(draw, known, specs)));
                let (drawn, busy) = drawn(&roster, draw, explain, specs);
                add("draw", Outcome::of(drawn));
                add("left-out", busy);
            }
        }
        let logged = match &mut log {
            Ok(log) => logged(log, draw, specs, &explain.task.task).await,
            Err(LogFault::Wrong(why)) => Err(LogFault::Wrong(why.clone())),
            Err(LogFault::Unread(why)) => Err(LogFault::Unread(why.clone())),
        };
        add("log", Outcome::of_log(logged));
    }
    lines
}

/// The epoch and its beacon are those of the network's rule, and weights follow from stakes.
fn check_roster(roster: &Roster, draw: &Draw, known: &Known) -> Result<(), String> {
    if roster.epoch != draw.epoch {
        return Err(format!(
            "it is of epoch {}, and the draw of epoch {}",
            roster.epoch, draw.epoch
        ));
    }
    if roster.beacon != known.genesis.beacon(roster.epoch) {
        return Err("its beacon is not that of the epoch".to_owned());
    }
    let own = weights(&known.genesis, &roster.candidates);
    let wrong = (roster.candidates.iter().zip(own)).find(|(c, weight)| c.weight != *weight);
    if let Some((candidate, weight)) = wrong {
        return Err(format!(
            "the weight of {} is {}, and follows from stake and quality as {weight}",
            hex(&candidate.node),
            candidate.weight
        ));
    }
    // Members change; a roster of the members that are known here must have their stakes.
    if roster.membership == known.membership.hash() {
        let other = roster.candidates.iter().find(|candidate| {
            let member = known.membership.miner(&candidate.node);
            member.is_none_or(|member| member.stake != candidate.stake)
        });
        if let Some(candidate) = other {
            return Err(format!(
                "the stake of {} is not that of the membership",
                hex(&candidate.node)
            ));
        }
    }
    Ok(())
}

/// The random output is the one that only this coordinator could compute, and only so.
fn random(draw: &Draw, known: &Known, specs: &Specs) -> Result<(), String> {
    let entry = RosterEntry {
        epoch: draw.epoch,
        root: draw.roster,
        // No part of what is proven.
        made_ms: 0,
        vrf_point: draw.vrf_point,
        vrf_proof: draw.vrf_proof,
    };
    let key = PublicKey::from_bytes(&specs.task.coordinator).map_err(|error| error.to_string())?;
    let beacon = known.genesis.beacon(draw.epoch);
    let output = entry
        .output(&known.genesis_hash, &beacon, draw.roster_leaf, &key)
        .map_err(|_| "the proof of the random output does not hold".to_owned())?;
    match output == draw.vrf_output {
        true => Ok(()),
        false => Err(format!(
            "the proof gives {output}, and the draw was made with {}",
            draw.vrf_output
        )),
    }
}

/// Whether the number falls on the miner, and what is to be said of candidates that were left out.
fn drawn(
    roster: &Roster,
    draw: &Draw,
    explain: &Explain,
    specs: &Specs,
) -> (Result<(), String>, Outcome) {
    let held: Vec<[u8; 32]> = (explain.draws.iter())
        .filter(|other| other.leaf < draw.leaf)
        .map(|other| other.miner)
        .collect();
    let requirements = &specs.task.requirements;
    // Those whom the rules let in, but for how much they had to do, which only the log tells.
    let can: Vec<([u8; 32], u64)> = (roster.candidates.iter())
        .filter(|c| meets(c, requirements) && !held.contains(&c.node))
        .map(|c| (c.node, draw_weight(c, draw.local)))
        .filter(|(_, weight)| *weight > 0)
        .collect();
    let named: Vec<([u8; 32], u64)> = (draw.eligible.iter())
        .map(|c| (c.miner, c.weight))
        .collect();
    // In the order of the roster, with its weights.
    let mut rest = can.iter();
    if let Some((miner, _)) = named.iter().find(|one| !rest.any(|other| other == *one)) {
        let why = format!(
            "{} could not be drawn, or not with this weight, or not in this order",
            hex(miner)
        );
        return (Err(why), Outcome::NotPerformed("see `draw`".to_owned()));
    }
    let number = DrawNumber::new(
        &draw.vrf_output,
        &explain.task.task,
        draw.attempt,
        draw.replica,
    );
    let picked = number.pick(named.iter().map(|(_, weight)| *weight));
    let picked = picked.and_then(|at| named.get(at)).map(|(miner, _)| *miner);
    let result = match picked {
        Some(miner) if miner == draw.miner => Ok(()),
        Some(miner) => Err(format!(
            "the number falls on {}, and {} was given the task",
            hex(&miner),
            hex(&draw.miner)
        )),
        None => Err("the number falls on nobody".to_owned()),
    };
    let busy = can.len().saturating_sub(named.len());
    let left_out = match busy {
        0 => Outcome::Passed,
        _ => Outcome::NotPerformed(format!(
            "{} left out because all their slots were taken; `adit audit` counts that in the log",
            count(busy as u64, "candidate")
        )),
    };
    (result, left_out)
}

/// The assignment and its roster are in the log, at these leaves, with these contents.
async fn logged(
    log: &mut LogReader<'_>,
    draw: &Draw,
    specs: &Specs,
    task: &Hash,
) -> Result<(), LogFault> {
    let wrong = |why: &str| Err(LogFault::Wrong(why.to_owned()));
    let Entry::Assignment(signed) = log.entry(draw.leaf).await? else {
        return wrong("the entry is no assignment");
    };
    let assignment = signed
        .verify(|_| specs.task.coordinator)
        .map_err(|error| LogFault::Wrong(error.to_string()))?;
    let same = signed.body_hash() == draw.assignment
        && assignment.task == *task
        && assignment.miner == draw.miner
        && assignment.attempt == draw.attempt
        && assignment.replica == draw.replica
        && assignment.roster == draw.roster_leaf
        && assignment.epoch == draw.epoch
        && assignment.local == draw.local;
    if !same {
        return wrong("the log has another assignment there");
    }
    let Entry::Roster(roster) = log.entry(draw.roster_leaf).await? else {
        return wrong("the entry that the assignment names is no roster");
    };
    let same = roster.root == draw.roster
        && roster.epoch == draw.epoch
        && (roster.vrf_point, roster.vrf_proof) == (draw.vrf_point, draw.vrf_proof);
    match same {
        true => Ok(()),
        false => wrong("the log has another roster there"),
    }
}
