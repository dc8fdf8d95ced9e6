//! `adit network add-miner`, `add-coordinator`, `remove`.

use std::path::Path;

use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{CoordinatorMember, Membership, MinerMember};

use super::{Command, OptionalAuthority, development, read, report, sign, unsigned, write};
use crate::amounts::in_tokens;
use crate::error::{Exit, Failure};
use crate::keyring;
use crate::state::State;
use crate::ui::Ui;

/// The commands that change who takes part.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::AddMiner {
            file,
            node,
            account,
            stake,
            introduction,
            jailed,
            authority,
        } => change(ui, state, file, authority, |genesis, membership| {
            let node = key(state, genesis, node, "node key")?;
            let account = match account {
                Some(account) => key(state, genesis, account, "account")?,
                None => node,
            };
            let member = MinerMember {
                node,
                account,
                stake: *stake,
                jailed: jailed.clone(),
                introduction: introduction.clone(),
            };
            below(ui, "miner", *stake, genesis.miner_stake_min);
            put(&mut membership.miners, member, |member| member.node);
            Ok(())
        }),
        Command::AddCoordinator {
            file,
            node,
            log,
            account,
            stake,
            url,
            region,
            introduction,
            authority,
        } => change(ui, state, file, authority, |genesis, membership| {
            check_url(url)?;
            let node = key(state, genesis, node, "node key")?;
            let account = match account {
                Some(account) => key(state, genesis, account, "account")?,
                None => node,
            };
            let member = CoordinatorMember {
                node,
                log: key(state, genesis, log, "log key")?,
                account,
                stake: *stake,
                url: url.trim_end_matches('/').to_owned(),
                region: region.clone(),
                introduction: introduction.clone(),
            };
            below(ui, "coordinator", *stake, genesis.coordinator_stake_min);
            put(&mut membership.coordinators, member, |member| member.node);
            Ok(())
        }),
        Command::Remove {
            file,
            node,
            authority,
        } => change(ui, state, file, authority, |_, membership| {
            let (node, _) = keyring::public(state, node)?;
            let node = node.to_bytes();
            let before = membership.miners.len() + membership.coordinators.len();
            membership.miners.retain(|member| member.node != node);
            membership.coordinators.retain(|member| member.node != node);
            if membership.miners.len() + membership.coordinators.len() == before {
                return Failure::argument("nothing was removed")
                    .why("no node of the network has that key")
                    .hint("`adit network show` lists the nodes")
                    .into_err();
            }
            Ok(())
        }),
        _ => unreachable!("the dispatcher gives no other command"),
    }
}

/// Reads a file, changes its membership, and writes it again, signed if there is a key for it.
fn change(
    ui: &Ui,
    state: &State,
    path: &Path,
    authority: &OptionalAuthority,
    edit: impl FnOnce(&Genesis, &mut Membership) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let (file, mut membership) = read(path)?;
    // What nobody has signed has a version of its own already.
    if file.verify().is_ok() {
        membership.version = membership.version.saturating_add(1);
    }
    edit(&file.genesis, &mut membership)?;
    let signed = authority.authority.is_some();
    let file = match &authority.authority {
        Some(key) => sign(ui, state, file, &membership, key, &authority.password)?,
        None => unsigned(file, &membership)?,
    };
    write(path, &file)?;
    report(ui, path, &membership, signed)
}

/// Puts a member in its place, in place of one with the same key.
fn put<M>(members: &mut Vec<M>, member: M, node: impl Fn(&M) -> [u8; 32]) {
    match members.binary_search_by(|other| node(other).cmp(&node(&member))) {
        Ok(at) => {
            if let Some(place) = members.get_mut(at) {
                *place = member;
            }
        }
        Err(at) => members.insert(at, member),
    }
}

fn key(state: &State, genesis: &Genesis, text: &str, what: &str) -> anyhow::Result<[u8; 32]> {
    let (public, is_development) = keyring::public(state, text)?;
    match is_development && !genesis.development {
        true => development(what).into_err(),
        false => Ok(public.to_bytes()),
    }
}

fn below(ui: &Ui, what: &str, stake: u128, least: u128) {
    if stake < least {
        ui.note(format!(
            "note: the stake of {} tokens is below the {} that a {what} of this network needs, so it will not take part",
            in_tokens(stake),
            in_tokens(least)
        ));
    }
}

fn check_url(text: &str) -> anyhow::Result<()> {
    let why = match url::Url::parse(text) {
        Err(error) => error.to_string(),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            format!("its scheme is {}", url.scheme())
        }
        Ok(url) if url.host().is_none() => "it has no host".to_owned(),
        Ok(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            "it has more than a host and a port".to_owned()
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "it has a user name".to_owned()
        }
        Ok(_) => return Ok(()),
    };
    Failure::argument("the coordinator's address cannot be used")
        .why(why)
        .hint("write it as https://host:port")
        .into_err()
}
