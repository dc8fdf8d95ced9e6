//! Parameters by their names, as proposals change them: `fee_min 0.02`, `rewards.quorum_ppm 700000`.
//!
//! A name is that of the field, after those of the records that it is in. Amounts are written as in
//! texts of transactions, in tokens; what counts parts per million, epochs or anything else is a
//! whole number. `rewards.settlement` is a hash or `none`. Engine ids come and go one by one, with
//! `engine-add` and `engine-remove`.

use std::fmt::{self, Display};
use std::str::FromStr;

use adit_protocol::cbor::fields::Invalid;
use adit_protocol::{Amount, Hash};
use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Serialize, Serializer};

use crate::genesis::Parameters;

/// Where a parameter is, by its type.
#[derive(Clone, Copy)]
enum Place {
    Amount(fn(&mut Parameters) -> &mut Amount),
    Small(fn(&mut Parameters) -> &mut u32),
    Large(fn(&mut Parameters) -> &mut u64),
    Component(fn(&mut Parameters) -> &mut Option<Hash>),
    EngineAdd,
    EngineRemove,
}

/// Every name.
#[rustfmt::skip]
const PLACES: &[(&str, Place)] = &[
    ("checker_stake_min", Place::Amount(|p| &mut p.checker_stake_min)),
    ("coordinator_stake_min", Place::Amount(|p| &mut p.coordinator_stake_min)),
    ("engine-add", Place::EngineAdd),
    ("engine-remove", Place::EngineRemove),
    ("faucet_account", Place::Amount(|p| &mut p.faucet_account)),
    ("faucet_epoch", Place::Amount(|p| &mut p.faucet_epoch)),
    ("fee_min", Place::Amount(|p| &mut p.fee_min)),
    ("governance.deposit", Place::Amount(|p| &mut p.governance.deposit)),
    ("governance.quorum_ppm", Place::Small(|p| &mut p.governance.quorum_ppm)),
    ("governance.threshold_ppm", Place::Small(|p| &mut p.governance.threshold_ppm)),
    ("governance.timelock_epochs", Place::Large(|p| &mut p.governance.timelock_epochs)),
    ("governance.voting_epochs", Place::Large(|p| &mut p.governance.voting_epochs)),
    ("miner_stake_min", Place::Amount(|p| &mut p.miner_stake_min)),
    ("rewards.attempt_fee_max_ppm", Place::Small(|p| &mut p.rewards.attempt_fee_max_ppm)),
    ("rewards.cap_ppm", Place::Large(|p| &mut p.rewards.cap_ppm)),
    ("rewards.challenge_epochs", Place::Large(|p| &mut p.rewards.challenge_epochs)),
    ("rewards.emission", Place::Amount(|p| &mut p.rewards.emission)),
    ("rewards.fee_ppm", Place::Small(|p| &mut p.rewards.fee_ppm)),
    ("rewards.fuel_weight", Place::Large(|p| &mut p.rewards.fuel_weight)),
    ("rewards.nn_weight", Place::Large(|p| &mut p.rewards.nn_weight)),
    ("rewards.quality_min_ppm", Place::Small(|p| &mut p.rewards.quality_min_ppm)),
    ("rewards.quorum_ppm", Place::Small(|p| &mut p.rewards.quorum_ppm)),
    ("rewards.saturation", Place::Small(|p| &mut p.rewards.saturation)),
    ("rewards.settlement", Place::Component(|p| &mut p.rewards.settlement)),
    ("rewards.shares.checkers", Place::Small(|p| &mut p.rewards.shares.checkers)),
    ("rewards.shares.miners", Place::Small(|p| &mut p.rewards.shares.miners)),
    ("rewards.shares.treasury", Place::Small(|p| &mut p.rewards.shares.treasury)),
    ("rewards.shares.voters", Place::Small(|p| &mut p.rewards.shares.voters)),
    ("rewards.slice_of_fees_ppm", Place::Large(|p| &mut p.rewards.slice_of_fees_ppm)),
    ("rewards.work_of_price_ppm", Place::Large(|p| &mut p.rewards.work_of_price_ppm)),
    ("rewards.work_share_ppm", Place::Small(|p| &mut p.rewards.work_share_ppm)),
    ("slashing.answer_epochs", Place::Large(|p| &mut p.slashing.answer_epochs)),
    ("slashing.appeal_epochs", Place::Large(|p| &mut p.slashing.appeal_epochs)),
    ("slashing.deposit", Place::Amount(|p| &mut p.slashing.deposit)),
    ("slashing.fraction_ppm", Place::Small(|p| &mut p.slashing.fraction_ppm)),
    ("slashing.late_epochs", Place::Large(|p| &mut p.slashing.late_epochs)),
    ("slashing.reporter_ppm", Place::Small(|p| &mut p.slashing.reporter_ppm)),
    ("unbonding_epochs", Place::Large(|p| &mut p.unbonding_epochs)),
    ("vote_min", Place::Amount(|p| &mut p.vote_min)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Amount(Amount),
    Small(u32),
    Large(u64),
    Component(Option<Hash>),
    EngineAdd(Hash),
    EngineRemove(Hash),
}

/// A parameter and what it is to be. In CBOR and JSON it is its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    name: &'static str,
    value: Value,
}

impl Setting {
    /// The parameter's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it may stand beside another setting of the same name.
    pub(crate) fn is_of_engine(&self) -> bool {
        matches!(self.value, Value::EngineAdd(_) | Value::EngineRemove(_))
    }

    /// Changes the parameter. Whether all of them still fit together is for
    /// [`Parameters::check`] to say.
    ///
    /// # Errors
    /// [`Invalid`] for an engine that is there already, or is not there.
    pub(crate) fn apply(&self, parameters: &mut Parameters) -> Result<(), Invalid> {
        let found = PLACES.iter().find(|(name, _)| *name == self.name);
        let place = found.map(|(_, place)| *place);
        match (place, self.value) {
            (Some(Place::Amount(of)), Value::Amount(value)) => *of(parameters) = value,
            (Some(Place::Small(of)), Value::Small(value)) => *of(parameters) = value,
            (Some(Place::Large(of)), Value::Large(value)) => *of(parameters) = value,
            (Some(Place::Component(of)), Value::Component(value)) => *of(parameters) = value,
            (_, Value::EngineAdd(engine)) => match parameters.engines.binary_search(&engine) {
                Err(at) => parameters.engines.insert(at, engine),
                Ok(_) => return Invalid::new(self.name, "the engine is active already"),
            },
            (_, Value::EngineRemove(engine)) => match parameters.engines.binary_search(&engine) {
                Ok(at) => drop(parameters.engines.remove(at)),
                Err(_) => return Invalid::new(self.name, "the engine is not active"),
            },
            _ => unreachable!("a setting has a value of its parameter's type"),
        }
        Ok(())
    }
}

/// `name value`.
impl Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        match &self.value {
            Value::Amount(amount) => amount.fmt(f),
            Value::Small(number) => number.fmt(f),
            Value::Large(number) => number.fmt(f),
            Value::Component(None) => f.write_str("none"),
            Value::Component(Some(hash)) | Value::EngineAdd(hash) | Value::EngineRemove(hash) => {
                hash.fmt(f)
            }
        }
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (name, value) = text
            .split_once(' ')
            .ok_or("write the name of a parameter, a space, and what it is to be")?;
        let found = PLACES.iter().find(|(known, _)| *known == name);
        let (name, place) = found.ok_or("there is no parameter of this name")?;
        fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
            text.parse().map_err(|error: T::Err| error.to_string())
        }
        let value = match place {
            Place::Amount(_) => Value::Amount(parse(value)?),
            Place::Small(_) => Value::Small(parse(value)?),
            Place::Large(_) => Value::Large(parse(value)?),
            Place::Component(_) if value == "none" => Value::Component(None),
            Place::Component(_) => Value::Component(Some(parse(value)?)),
            Place::EngineAdd => Value::EngineAdd(parse(value)?),
            Place::EngineRemove => Value::EngineRemove(parse(value)?),
        };
        Ok(Setting { name, value })
    }
}

impl<C> Encode<C> for Setting {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.to_string())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Setting {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Setting, minicbor::decode::Error> {
        d.str()?.parse().map_err(minicbor::decode::Error::message)
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value as Json;

    use super::*;
    use crate::rules::{GovernanceRules, RewardRules, SlashingRules};

    fn parameters() -> Parameters {
        let amount = Amount::tokens(1);
        Parameters {
            fee_min: amount,
            miner_stake_min: amount,
            coordinator_stake_min: amount,
            checker_stake_min: amount,
            vote_min: amount,
            unbonding_epochs: 2,
            faucet_account: amount,
            faucet_epoch: amount,
            engines: vec![Hash::of(b"engine")],
            rewards: RewardRules::default(),
            slashing: SlashingRules::default(),
            governance: GovernanceRules::default(),
        }
    }

    /// The names of what is in a document of parameters, and what is there.
    fn leaves(json: &Json, name: String, into: &mut Vec<(String, Json)>) {
        match json {
            Json::Object(map) => {
                for (key, value) in map {
                    let name = match name.as_str() {
                        "" => key.clone(),
                        _ => format!("{name}.{key}"),
                    };
                    leaves(value, name, into);
                }
            }
            Json::Array(_) => {}
            value => into.push((name, value.clone())),
        }
    }

    fn named(parameters: &Parameters) -> Vec<(String, Json)> {
        let mut all = Vec::new();
        leaves(
            &serde_json::to_value(parameters).unwrap(),
            String::new(),
            &mut all,
        );
        all
    }

    #[test]
    fn every_parameter_has_its_name_and_changes_alone() {
        let before = named(&parameters());
        let names: BTreeSet<_> = before.iter().map(|(name, _)| name.as_str()).collect();
        let known = PLACES.iter().map(|(name, _)| *name);
        let known: BTreeSet<_> = known.filter(|name| !name.starts_with("engine-")).collect();
        assert_eq!(known, names);
        assert!(PLACES.is_sorted_by(|(a, _), (b, _)| a < b));
        for name in names {
            let hash = Hash::of(b"settlement").to_string();
            let value = match name {
                "rewards.settlement" => hash.as_str(),
                _ => "77",
            };
            let setting: Setting = format!("{name} {value}").parse().unwrap();
            assert_eq!(setting.to_string(), format!("{name} {value}"));
            let mut changed = parameters();
            setting.apply(&mut changed).unwrap();
            let after = named(&changed);
            let differ = before.iter().zip(&after).filter(|(a, b)| a != b);
            assert_eq!(
                differ.map(|(a, _)| a.0.as_str()).collect::<Vec<_>>(),
                [name]
            );
        }
    }

    #[test]
    fn engines_come_and_go() {
        let (old, new) = (Hash::of(b"engine"), Hash::of(b"other"));
        let set = |parameters: &mut Parameters, text: String| {
            let setting: Setting = text.parse().unwrap();
            setting.apply(parameters)
        };
        let mut all = parameters();
        set(&mut all, format!("engine-add {new}")).unwrap();
        assert!(all.engines.is_sorted() && all.engines.len() == 2);
        assert!(set(&mut all, format!("engine-add {new}")).is_err());
        set(&mut all, format!("engine-remove {old}")).unwrap();
        assert_eq!(all.engines, [new]);
        assert!(set(&mut all, format!("engine-remove {old}")).is_err());
    }

    #[test]
    fn other_texts_are_no_settings() {
        for bad in [
            "",
            "fee_min",
            "fee_min ",
            "fee_min x",
            "fee_max 1",
            " fee_min 1",
            "rewards 1",
            "engines none",
            "unbonding_epochs 1.5",
            "rewards.saturation 4294967296",
            "rewards.settlement 0",
            "engine-add none",
        ] {
            assert!(bad.parse::<Setting>().is_err(), "{bad}");
        }
    }
}
