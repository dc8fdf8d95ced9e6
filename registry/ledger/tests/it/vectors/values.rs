//! Transactions, states and errors as JSON: amounts in units of 10^-12 token as decimal strings,
//! keys and signatures as `0x` and digits, integers from 2^53 on as decimal strings.

use adit_ledger::index::{Release, world_name};
use adit_ledger::refusal::{Refusal, Rule};
use adit_ledger::rewards::Charge;
use adit_ledger::rules::RewardRules;
use adit_ledger::state::{Account, Closing, Entry, Node, Settled};
use adit_ledger::transaction::{Attestation, SignatureError, TextError};
use adit_ledger::{Action, Key, State, Transaction};
use adit_protocol::Amount;
use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

use super::{accusing, governing, late};

pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digits = bytes.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("0x{}", digits.collect::<String>())
}

pub fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().and_then(|text| text.strip_prefix("0x"));
    let digits = digits.expect("bytes begin with 0x").as_bytes();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair));
    pairs
        .map(|pair| u8::from_str_radix(pair.unwrap(), 16).unwrap())
        .collect()
}

pub fn key(key: &Key) -> String {
    hex(key.as_bytes())
}

fn optional(of: &Option<Key>) -> Option<String> {
    of.as_ref().map(key)
}

pub fn transaction(of: &Transaction) -> Value {
    json!({
        "genesis": of.genesis,
        "account": key(&of.account),
        "number": of.number,
        "fee": of.fee,
        "expires_ms": of.expires_ms,
        "action": of.action.name(),
        "fields": fields(&of.action),
    })
}

fn fields(action: &Action) -> Value {
    match action {
        Action::Transfer { to, amount } => json!({ "to": key(to), "amount": amount }),
        Action::Faucet { amount } | Action::Stake { amount } => json!({ "amount": amount }),
        Action::Unstake { amount, from } => json!({ "amount": amount, "from": optional(from) }),
        Action::Vote { node, amount }
        | Action::Unvote { node, amount }
        | Action::Deposit { node, amount }
        | Action::Withdraw { node, amount } => json!({ "node": key(node), "amount": amount }),
        Action::Register { registration, bond } => json!({
            "role": registration.role,
            "node": key(&registration.keys.node),
            "log": optional(&registration.keys.log),
            "name": registration.name,
            "bond": bond,
            "profile": registration.profile,
            "proof": hex(registration.proof),
        }),
        Action::Update { node, profile } => json!({ "node": key(node), "profile": profile }),
        Action::RotateKey { node, keys, proof } => json!({
            "node": key(node),
            "new_node": key(&keys.node),
            "new_log": optional(&keys.log),
            "proof": hex(proof),
        }),
        Action::Deregister { node } => json!({ "node": key(node) }),
        Action::Publish(of) => json!({
            "name": of.name,
            "version": of.version,
            "component": of.component,
            "world": world_name(of.world),
            "models": of.models,
            "description": of.description,
            "source": of.source,
        }),
        Action::Yank {
            name,
            version,
            yanked,
        } => json!({ "name": name, "version": version, "yanked": yanked }),
        Action::TransferName { scope, to } => json!({ "name": scope, "to": key(to) }),
        Action::CloseEpoch(closure) => json!({
            "coordinator": key(&closure.coordinator),
            "epoch": closure.epoch,
            "size": closure.size,
            "root": closure.root,
            "signature": hex(closure.signature),
            "cosignatures": closure.cosignatures.iter().map(|one| json!({
                "name": one.name, "time_s": one.time_s, "signature": hex(one.signature),
            })).collect::<Vec<_>>(),
        }),
        Action::Settle {
            settlement,
            attestations,
        } => json!({
            "epoch": settlement.epoch,
            "replaces": settlement.replaces,
            "input": settlement.input,
            "output": settlement.output,
            "minted": settlement.minted,
            "treasury": settlement.treasury,
            "paid": settlement.paid,
            "earned": settlement.earned,
            "charges": charges(&settlement.charges),
            "attestations": self::attestations(attestations),
        }),
        Action::Claim {
            total,
            index,
            proof,
        } => json!({ "total": total, "index": index, "proof": proof }),
        other => (governing::fields(other))
            .or_else(|| accusing::fields(other))
            .or_else(|| late::fields(other))
            .unwrap_or_else(|| panic!("{} has no fields here", other.name())),
    }
}

pub fn attestations(of: &[Attestation]) -> Vec<Value> {
    let one = |one: &Attestation| json!({ "checker": key(&one.checker), "signature": hex(one.signature) });
    of.iter().map(one).collect()
}

fn charges(of: &[Charge]) -> Vec<Value> {
    let json =
        |one: &Charge| json!({ "node": key(&one.node), "spent": one.spent, "burned": one.burned });
    of.iter().map(json).collect()
}

/// All of a state, from its entries.
pub fn state(of: &State) -> Value {
    let mut parts: [Map<String, Value>; 3] = Default::default();
    let [accounts, nodes, taken] = &mut parts;
    let (mut closings, mut settlements) = (Vec::new(), Vec::new());
    let mut former_rules = Vec::new();
    let lists = governing::LISTS.into_iter().chain(accusing::LISTS);
    let lists = lists.chain(late::LISTS);
    let mut lists: Vec<_> = lists.map(|name| (name, Vec::new())).collect();
    let (mut votes, mut unbonding, mut releases) = (Vec::new(), Vec::new(), Vec::new());
    let mut scopes = Map::new();
    let targets = ["free", "stake", "escrow"];
    of.entries(|Entry { key, value }| {
        let (tag, rest) = key.split_first().unwrap();
        let read = |at: usize| hex(&rest[at..at + 32]);
        let amount = || minicbor::decode::<Amount>(&value).unwrap();
        let epoch = |at: usize| u64::from_be_bytes(rest[at..at + 8].try_into().unwrap());
        match tag {
            0 => {}
            1 => drop(accounts.insert(read(0), account(&minicbor::decode(&value).unwrap()))),
            2 => drop(nodes.insert(read(0), node(&minicbor::decode(&value).unwrap()))),
            3 => {
                let owner: Key = minicbor::decode(&value).unwrap();
                taken.insert(read(0), json!(self::key(&owner)));
            }
            4 => votes.push(json!({ "node": read(0), "voter": read(32), "amount": amount() })),
            30 => {
                let owner: Key = minicbor::decode(&value).unwrap();
                let scope = String::from_utf8(rest.to_vec()).unwrap();
                scopes.insert(scope, json!(self::key(&owner)));
            }
            31 => releases.push(release(rest, &minicbor::decode(&value).unwrap())),
            5 => unbonding.push(json!({
                "until_epoch": epoch(0),
                "account": read(8),
                "node": read(40),
                "to": targets[usize::from(rest[72])],
                "amount": amount(),
            })),
            6 => {
                let closing: Closing = minicbor::decode(&value).unwrap();
                closings.push(json!({
                    "coordinator": read(0), "epoch": epoch(32), "first": closing.first,
                    "size": closing.size, "root": closing.root,
                    "node_key": self::key(&closing.node_key),
                }));
            }
            7 => {
                let settled: Settled = minicbor::decode(&value).unwrap();
                settlements.push(json!({
                    "epoch": epoch(0), "hash": settled.hash, "in_epoch": settled.in_epoch,
                    "from_epoch": settled.from_epoch, "minted": settled.minted,
                    "treasury": settled.treasury, "paid": settled.paid, "earned": settled.earned,
                    "charges": charges(&settled.charges),
                }));
            }
            8 => {
                let rules: RewardRules = minicbor::decode(&value).unwrap();
                former_rules.push(json!({ "epoch": epoch(0), "rules": rules }));
            }
            _ => {
                let entry = governing::entry(*tag, rest, &value);
                let entry = entry.or_else(|| accusing::entry(*tag, rest, &value));
                let entry = entry.or_else(|| late::entry(*tag, rest, &value));
                let (name, value) = entry.unwrap_or_else(|| panic!("no name for {tag}"));
                let list = lists.iter_mut().find(|(known, _)| *known == name);
                list.unwrap().1.push(value);
            }
        }
    });
    let [accounts, nodes, taken] = parts;
    let mut all = json!({
        "head": of.head(), "accounts": accounts, "nodes": nodes, "taken": taken, "votes": votes,
        "unbonding": unbonding, "closings": closings, "settlements": settlements,
        "former_rules": former_rules, "scopes": scopes, "releases": releases,
        "supply": of.supply(),
    });
    for (name, list) in lists {
        all[name] = json!(list);
    }
    all
}

pub fn account(of: &Account) -> Value {
    json!(of)
}

fn node(of: &Node) -> Value {
    let keys = |keys: &adit_ledger::registration::NodeKeys| json!({ "node": key(&keys.node), "log": optional(&keys.log) });
    let former = of.former_keys.iter().map(|one| {
        json!({
            "keys": keys(&one.keys), "last_epoch": one.last_epoch, "until_epoch": one.until_epoch,
        })
    });
    json!({
        "role": of.role,
        "operator": key(&of.operator),
        "keys": keys(&of.keys),
        "next_keys": of.next_keys.as_ref().map(keys),
        "name": of.name,
        "profile": of.profile,
        "next_commission_ppm": of.next_commission_ppm,
        "stake": of.stake,
        "escrow": of.escrow,
        "leaving": of.leaving,
        "former_keys": former.collect::<Vec<_>>(),
        "jailed": of.jailed,
    })
}

/// A release, with the name and version that stand in its key.
fn release(key: &[u8], of: &Release) -> Value {
    let place = std::str::from_utf8(key).unwrap();
    let (name, version) = place.split_once('\0').unwrap();
    let mut value = json!(of);
    value["publisher"] = json!(self::key(&of.publisher));
    value["name"] = json!(name);
    value["version"] = json!(version);
    value
}

/// The variants of [`TextError`].
pub const TEXT_ERRORS: [&str; 6] = [
    "too-long",
    "line",
    "missing",
    "value",
    "left",
    "not-canonical",
];
/// The variants of [`SignatureError`].
pub const SIGNATURE_ERRORS: [&str; 2] = ["account", "node"];

/// A variant and what is in it, except texts that are only for people.
pub fn text_error(error: &TextError) -> (&'static str, Value) {
    match error {
        TextError::TooLong { found, max } => ("too-long", json!({ "found": found, "max": max })),
        TextError::Line { .. } => ("line", Value::Null),
        TextError::Missing { name, .. } => ("missing", json!({ "name": name })),
        TextError::Value { name, .. } => ("value", json!({ "name": name })),
        TextError::Left { .. } => ("left", Value::Null),
        TextError::NotCanonical { at } => ("not-canonical", json!({ "at": at })),
        other => panic!("no name for {other:?}"),
    }
}

pub fn signature_error(error: SignatureError) -> &'static str {
    match error {
        SignatureError::Account => "account",
        SignatureError::Node => "node",
    }
}

/// The variants of [`Refusal`] and [`Rule`] that a file must show. That a role is full is not shown:
/// it takes 16,384 registrations; nor that there are too many proposals, nor that a name has all its
/// versions, which are 1,024.
pub const REFUSALS: [&str; 71] = [
    "other-network",
    "number",
    "expired",
    "too-far-ahead",
    "fee",
    "insufficient",
    "nothing",
    "faucet",
    "no-node",
    "not-operator",
    "key-taken",
    "bond",
    "rule to-itself",
    "rule leaving",
    "rule no-coordinator",
    "rule small-vote",
    "rule many-votes",
    "rule role-keys",
    "rule same-keys",
    "rule name",
    "rule name-taken",
    "rule no-url",
    "rule no-service",
    "rule rotating",
    "epoch",
    "quorum",
    "rule closed",
    "rule already-settled",
    "rule smaller-log",
    "rule log-signature",
    "rule no-checker",
    "rule checker-signature",
    "rule order",
    "rule nothing-closed",
    "rule early",
    "rule settled-so",
    "rule replaces",
    "rule sums",
    "rule emission",
    "rule no-rewards",
    "rule claim-proof",
    "no-proposal",
    "settings",
    "rule counted",
    "rule voted-already",
    "rule no-weight",
    "no-report",
    "rule other-role",
    "rule no-evidence",
    "rule other-key",
    "rule reported",
    "rule nothing-at-stake",
    "rule judged",
    "rule fraction",
    "rule no-appeal",
    "no-claim",
    "rule nothing-claimed",
    "rule nothing-owed",
    "rule not-late",
    "rule too-late",
    "rule claimed",
    "rule no-answer",
    "rule not-jailed",
    "rule still-jailed",
    "rule forked-log",
    "no-scope",
    "no-release",
    "not-owner",
    "version-taken",
    "rule same-yank",
    "rule own-name",
];

/// The variant; for a rule `rule` and the rule's.
pub fn refusal(of: &Refusal) -> &'static str {
    match of {
        Refusal::OtherNetwork { .. } => "other-network",
        Refusal::Number { .. } => "number",
        Refusal::Expired { .. } => "expired",
        Refusal::TooFarAhead { .. } => "too-far-ahead",
        Refusal::Fee { .. } => "fee",
        Refusal::Insufficient { .. } => "insufficient",
        Refusal::Nothing => "nothing",
        Refusal::Faucet { .. } => "faucet",
        Refusal::NoNode { .. } => "no-node",
        Refusal::NotOperator { .. } => "not-operator",
        Refusal::KeyTaken { .. } => "key-taken",
        Refusal::Bond { .. } => "bond",
        Refusal::Epoch { .. } => "epoch",
        Refusal::Quorum { .. } => "quorum",
        Refusal::NoProposal { .. } => "no-proposal",
        Refusal::NoReport { .. } => "no-report",
        Refusal::NoClaim { .. } => "no-claim",
        Refusal::Settings { .. } => "settings",
        Refusal::NoScope { .. } => "no-scope",
        Refusal::NoRelease { .. } => "no-release",
        Refusal::NotOwner { .. } => "not-owner",
        Refusal::VersionTaken { .. } => "version-taken",
        Refusal::Rule(rule) => match rule {
            Rule::ToItself => "rule to-itself",
            Rule::Leaving => "rule leaving",
            Rule::NoCoordinator => "rule no-coordinator",
            Rule::SmallVote => "rule small-vote",
            Rule::ManyVotes => "rule many-votes",
            Rule::RoleKeys => "rule role-keys",
            Rule::SameKeys => "rule same-keys",
            Rule::Name => "rule name",
            Rule::NameTaken => "rule name-taken",
            Rule::NoUrl => "rule no-url",
            Rule::NoService => "rule no-service",
            Rule::Full => "rule full",
            Rule::Rotating => "rule rotating",
            Rule::Closed => "rule closed",
            Rule::AlreadySettled => "rule already-settled",
            Rule::SmallerLog => "rule smaller-log",
            Rule::LogSignature => "rule log-signature",
            Rule::NoChecker => "rule no-checker",
            Rule::CheckerSignature => "rule checker-signature",
            Rule::Order => "rule order",
            Rule::NothingClosed => "rule nothing-closed",
            Rule::Early => "rule early",
            Rule::SettledSo => "rule settled-so",
            Rule::Replaces => "rule replaces",
            Rule::Sums => "rule sums",
            Rule::Emission => "rule emission",
            Rule::NoRewards => "rule no-rewards",
            Rule::ClaimProof => "rule claim-proof",
            Rule::OtherRole => "rule other-role",
            Rule::NoEvidence => "rule no-evidence",
            Rule::OtherKey => "rule other-key",
            Rule::Reported => "rule reported",
            Rule::NothingAtStake => "rule nothing-at-stake",
            Rule::Judged => "rule judged",
            Rule::Fraction => "rule fraction",
            Rule::NoAppeal => "rule no-appeal",
            Rule::NothingClaimed => "rule nothing-claimed",
            Rule::NothingOwed => "rule nothing-owed",
            Rule::NotLate => "rule not-late",
            Rule::TooLate => "rule too-late",
            Rule::Claimed => "rule claimed",
            Rule::NoAnswer => "rule no-answer",
            Rule::NotJailed => "rule not-jailed",
            Rule::StillJailed => "rule still-jailed",
            Rule::ForkedLog => "rule forked-log",
            Rule::ManyProposals => "rule many-proposals",
            Rule::Counted => "rule counted",
            Rule::VotedAlready => "rule voted-already",
            Rule::NoWeight => "rule no-weight",
            Rule::ManyReleases => "rule many-releases",
            Rule::SameYank => "rule same-yank",
            Rule::OwnName => "rule own-name",
        },
        other => panic!("no name for {other:?}"),
    }
}

/// A file of JSON: large integers as decimal strings, since not every reader has them whole, and
/// keys in order whatever `serde_json` was built with.
pub fn json_file(value: Value) -> Vec<u8> {
    let mut text = Vec::new();
    // A line for each value, and no indentation, which would be a tenth of all files.
    let formatter = PrettyFormatter::with_indent(b"");
    let mut serializer = Serializer::with_formatter(&mut text, formatter);
    portable(value).serialize(&mut serializer).unwrap();
    text.push(b'\n');
    text
}

pub fn portable(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_u64().is_some_and(|n| n >= 1 << 53) => {
            Value::String(number.to_string())
        }
        Value::Array(list) => list.into_iter().map(portable).collect(),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries
                .into_iter()
                .map(|(key, value)| (key, portable(value)))
                .collect()
        }
        other => other,
    }
}
