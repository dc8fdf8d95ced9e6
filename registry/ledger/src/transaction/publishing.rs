//! The lines of the component index: of `publish`, `yank` and `transfer-name`.

use std::str::FromStr;

use adit_protocol::exec::World;

use super::lines::{Lines, Reader};
use super::settling::{ascending, each};
use super::text_error::TextError;
use super::values::{NodeUrl, Sentence};
use crate::index::{MODELS_MAX, Model, Publication, world_name};
use crate::oci::OciReference;

/// Where blobs are: a coordinator's address or an OCI reference.
struct Source(String);

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        match text.parse::<OciReference>().is_ok() || text.parse::<NodeUrl>().is_ok() {
            true => Ok(Source(text.to_owned())),
            false => Err(
                "write a coordinator's address, https://host:port, or oci://host/repository:tag"
                    .to_owned(),
            ),
        }
    }
}

/// `true` or `false`.
pub(super) struct Choice(pub bool);

impl FromStr for Choice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Choice, &'static str> {
        match text {
            "true" => Ok(Choice(true)),
            "false" => Ok(Choice(false)),
            _ => Err("write true or false"),
        }
    }
}

pub(super) fn write(lines: &mut Lines, of: &Publication) {
    lines.field("name", &of.name);
    lines.field("version", &of.version);
    lines.field("component", of.component);
    lines.field("world", world_name(of.world));
    for model in &of.models {
        lines.field("model", model);
    }
    lines.optional("description", of.description.as_ref());
    lines.optional("source", of.source.as_ref());
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<Publication, TextError> {
    let (name, version) = (reader.field("name")?, reader.field("version")?);
    let (component, world) = (reader.field("component")?, world(reader.text("world")?)?);
    let models: Vec<Model> = each(reader, "model", MODELS_MAX)?;
    ascending("model", &models, |model| model.name.clone())?;
    Ok(Publication {
        name,
        version,
        component,
        world,
        models,
        description: reader.optional::<Sentence>("description")?.map(|of| of.0),
        source: reader.optional::<Source>("source")?.map(|of| of.0),
    })
}

fn world(name: &str) -> Result<World, TextError> {
    let mut all = [World::Task, World::Command].into_iter();
    let found = all.find(|world| world_name(*world) == name);
    found.ok_or_else(|| TextError::Value {
        name: "world",
        why: "write adit:task/task or wasi:cli/command".to_owned(),
    })
}
