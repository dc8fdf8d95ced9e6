//! The lines of the component index: of `publish`, `yank` and `transfer-name`.

use std::str::FromStr;

use adit_protocol::exec::World;

use super::lines::{Lines, Reader};
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
    Ok(Publication {
        name: reader.field("name")?,
        version: reader.field("version")?,
        component: reader.field("component")?,
        world: world(reader.text("world")?)?,
        models: models(reader)?,
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

fn models(reader: &mut Reader<'_>) -> Result<Vec<Model>, TextError> {
    let wrong = |why: String| TextError::Value { name: "model", why };
    let mut models: Vec<Model> = Vec::new();
    while let Some(model) = reader.optional::<Model>("model")? {
        if models.len() >= MODELS_MAX {
            return Err(wrong(format!("at most {MODELS_MAX} are allowed")));
        }
        if models.last().is_some_and(|last| last.name >= model.name) {
            return Err(wrong(
                "they must be ascending by name, each name once".to_owned(),
            ));
        }
        models.push(model);
    }
    Ok(models)
}
