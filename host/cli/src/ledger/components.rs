//! The component index, from the side of a client: what names stand for.
//!
//! A registry's answer is not signed. Whoever needs more than its word follows its log, with
//! `adit registry replay`; the bytes that are fetched are compared with the hashes in any case.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use adit_ledger::Key;
use adit_ledger::index::{ComponentName, Scope, Version, world_name};
use adit_net::http::client::ClientError;
use adit_protocol::codes::Code;
use adit_protocol::exec::World;
use adit_protocol::{Amount, Hash};
use anyhow::Context as _;
use serde::{Deserialize, Deserializer};

use super::wire::Units;
use super::{Ledger, RegistryArgs};
use crate::error::{Exit, Failure};
use crate::remote::wire::text;
use crate::text::one_line;
use crate::ui::Ui;

/// A component as a command line names it: `NAME` or `NAME@VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The name.
    pub name: ComponentName,
    /// The version; without one it is the highest that is not yanked.
    pub version: Option<Version>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        let (name, version) = match text.split_once('@') {
            None => (text, None),
            Some((name, version)) => (name, Some(version)),
        };
        let version = version.map(str::parse::<Version>).transpose();
        Ok(Wanted {
            name: name.parse().map_err(|error| format!("{error}"))?,
            version: version.map_err(|error| format!("{error}"))?,
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        match &self.version {
            None => Ok(()),
            Some(version) => write!(f, "@{version}"),
        }
    }
}

impl Wanted {
    /// What an argument names, if there is no file of that name and it looks like a component's.
    pub fn meant(path: &Path) -> Option<Wanted> {
        // A link that leads nowhere is a file that cannot be read.
        if path.symlink_metadata().is_ok() {
            return None;
        }
        path.to_str()?.parse().ok()
    }

    /// For an argument that must have both: the value parser of clap.
    ///
    /// # Errors
    ///
    /// When it is no name, or has no version.
    pub fn with_version(text: &str) -> Result<(ComponentName, Version), String> {
        let wanted: Wanted = text.parse()?;
        let version = wanted.version;
        let version = version.ok_or("write it as NAME@VERSION, for example acme/count@1.2.0")?;
        Ok((wanted.name, version))
    }
}

/// A version of a component, as a registry answers it.
#[derive(Clone, Debug, Deserialize)]
pub struct Published {
    /// The name.
    #[serde(deserialize_with = "text")]
    pub name: ComponentName,
    /// The version.
    #[serde(deserialize_with = "text")]
    pub version: Version,
    /// Who owns the name.
    #[serde(deserialize_with = "text")]
    pub owner: Key,
    /// Hash of the component.
    #[serde(deserialize_with = "text")]
    pub component: Hash,
    /// The world that it implements.
    #[serde(deserialize_with = "world")]
    pub world: World,
    /// Its models.
    pub models: Vec<PublishedModel>,
    /// What it does.
    pub description: Option<String>,
    /// Where its blobs are.
    pub source: Option<String>,
    /// Whether its owner advises against it.
    pub yanked: bool,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: u64,
    /// Who published it.
    #[serde(deserialize_with = "text")]
    pub publisher: Key,
    /// Id of the transaction.
    #[serde(deserialize_with = "text")]
    pub transaction: Hash,
}

/// A model of a component.
#[derive(Clone, Debug, Deserialize)]
pub struct PublishedModel {
    /// The name that the component uses.
    pub name: String,
    /// Hash of its manifest.
    #[serde(deserialize_with = "text")]
    pub manifest: Hash,
}

/// What a name stands for in the index of the network, where an argument is the name of no file.
///
/// # Errors
///
/// When the registry cannot be asked, or knows nothing of that name.
pub async fn resolve(
    ui: &Ui,
    registry: &RegistryArgs,
    wanted: &Wanted,
) -> anyhow::Result<Published> {
    ui.note(format!(
        "there is no file `{wanted}`: the registry is asked for a component of that name"
    ));
    let ledger = registry.connect(ui).await?;
    ledger.resolve(ui, wanted).await
}

/// A page of components.
#[derive(Clone, Debug, Deserialize)]
pub struct Components {
    /// Components.
    pub items: Vec<Component>,
    /// What comes after.
    pub next: Option<String>,
}

/// A component.
#[derive(Clone, Debug, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// What the name alone means.
    pub latest: Option<ComponentVersion>,
}

/// A component with all its versions.
#[derive(Clone, Debug, Deserialize)]
pub struct Versions {
    /// Its name.
    pub name: String,
    /// Who owns the name.
    pub owner: String,
    /// What the name alone means.
    pub latest: Option<ComponentVersion>,
    /// Its versions, the highest first.
    pub items: Vec<ComponentVersion>,
}

/// A version in short.
#[derive(Clone, Debug, Deserialize)]
pub struct ComponentVersion {
    /// The version.
    pub version: String,
    /// Hash of the component.
    pub component: String,
    /// What it does.
    pub description: Option<String>,
    /// Whether its owner advises against it.
    pub yanked: bool,
    /// When it was published, in milliseconds since 1970.
    pub published_ms: u64,
}

/// What publishing under a scope costs.
#[derive(Clone, Debug, Deserialize)]
struct ScopeFee {
    fee: Units,
}

fn world<'de, D: Deserializer<'de>>(d: D) -> Result<World, D::Error> {
    let name = String::deserialize(d)?;
    let mut all = [World::Task, World::Command].into_iter();
    all.find(|world| world_name(*world) == name)
        .ok_or_else(|| serde::de::Error::custom("there is no such world"))
}

/// The path of a component: `/` in its name must not divide the path.
pub fn path(name: &ComponentName) -> String {
    format!("/v1/components/{}", name.as_str().replace('/', "%2F"))
}

impl Ledger {
    /// What a name stands for.
    ///
    /// # Errors
    ///
    /// When there is no such component, or the registry answers for another one.
    pub async fn resolve(&self, ui: &Ui, wanted: &Wanted) -> anyhow::Result<Published> {
        let what = || format!("the component {wanted} is not known");
        let version = match &wanted.version {
            Some(version) => version.to_string(),
            None => "latest".to_owned(),
        };
        let at = format!("{}/{version}", path(&wanted.name));
        let found: Published = self.get(&at).await.with_context(what)?;
        let other_version = match &wanted.version {
            Some(version) => found.version != *version,
            None => found.yanked,
        };
        if found.name != wanted.name || other_version {
            return Failure::new(Code::BadAnswer, what())
                .why("the registry answers for another one")
                .hint("ask another registry of the network, or compare with `adit registry replay`")
                .exit(Exit::Unexpected)
                .into_err();
        }
        ui.note(format!(
            "{} {} is {}, published by {}",
            found.name, found.version, found.component, found.publisher
        ));
        if found.yanked {
            ui.note(format!(
                "warning: {} {} was yanked: its owner advises against it",
                found.name, found.version
            ));
        }
        if let Some(description) = &found.description {
            ui.detail(one_line(description));
        }
        Ok(found)
    }

    /// The least fee of publishing under a scope.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn publishing_fee(&self, scope: &Scope) -> Result<Amount, ClientError> {
        let answer: ScopeFee = self.get(&format!("/v1/scopes/{scope}")).await?;
        Ok(answer.fee.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("count"), "").unwrap();
        let meant = |path: &str| Wanted::meant(Path::new(path)).map(|wanted| wanted.to_string());
        for name in [
            "count",
            "acme/count",
            "acme/count@1.2.0",
            "count@1.0.0-rc.1",
        ] {
            assert_eq!(meant(name).as_deref(), Some(name));
        }
        for file in [
            "count.wasm",
            "./count",
            "/count",
            "a/b/c",
            "Count",
            "count@1.2",
            "count@",
        ] {
            assert_eq!(meant(file), None, "{file}");
        }
        let there = folder.path().join("count");
        assert_eq!(Wanted::meant(&there), None);
        assert!(Wanted::with_version("count").is_err());
        assert!(Wanted::with_version("count@1.0.0").is_ok());
    }

    #[test]
    fn a_slash_in_a_name_is_no_part_of_the_path() {
        let name = "acme/count".parse().unwrap();
        assert_eq!(path(&name), "/v1/components/acme%2Fcount");
    }

    #[test]
    fn an_answer_is_read() {
        let hash = Hash::of(b"");
        let key = Key::NONE.to_string();
        let answer = serde_json::json!({
            "name": "acme/count", "version": "1.2.0", "component": hash, "world": "adit:task/task",
            "models": [{"name": "bert", "manifest": hash}], "description": null, "source": null,
            "yanked": false, "published_ms": 1, "transaction": hash,
            "owner": "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
            "publisher": "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
        });
        let read = |answer: &serde_json::Value| serde_json::from_value::<Published>(answer.clone());
        assert_eq!(read(&answer).unwrap().world, World::Task);
        for (field, value) in [
            ("name", "Acme"),
            ("version", "1"),
            ("world", "task"),
            ("owner", key.as_str()),
            ("component", "blake3:"),
        ] {
            let mut other = answer.clone();
            other[field] = value.into();
            assert!(read(&other).is_err(), "{field}");
        }
    }
}
