//! What a component says of itself, read without running or compiling it.

use adit_protocol::exec::World;
use wasmparser::{ComponentExternalKind, KnownCustom, Parser, Payload};

/// Names of one kind that are kept; a hostile file may have millions.
const NAMES_MAX: usize = 1000;

/// The outermost level of a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Names of its imports, in its order.
    pub imports: Vec<String>,
    /// Names of its exports, in its order.
    pub exports: Vec<String>,
    /// Whether it exports the function `run` of the world `adit:task/task`.
    pub task: bool,
    /// Whether it exports `wasi:cli/run`.
    pub command: bool,
    /// Core modules inside, at any depth.
    pub modules: usize,
    /// Tools and languages that made it, as its `producers` sections say: `processed-by: rustc`.
    pub producers: Vec<String>,
}

impl Facts {
    /// The world to run it in unless told otherwise: `task` where it has both.
    pub fn world(&self) -> Option<World> {
        match (self.task, self.command) {
            (true, _) => Some(World::Task),
            (false, true) => Some(World::Command),
            _ => None,
        }
    }
}

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebAssembly component.
    Component,
    /// A core WebAssembly module.
    CoreModule,
    /// Something else.
    Other,
}

/// What a file is, by its first bytes.
pub fn kind(bytes: &[u8]) -> Kind {
    if Parser::is_component(bytes) {
        Kind::Component
    } else if Parser::is_core_wasm(bytes) {
        Kind::CoreModule
    } else {
        Kind::Other
    }
}

/// The name of a world.
pub fn world_name(world: World) -> &'static str {
    match world {
        World::Task => "adit:task/task",
        World::Command => "wasi:cli/command",
    }
}

/// Reads a component. Nothing is validated beyond what reading needs: that is for the runtime.
///
/// # Errors
///
/// The parser's sentence, if the file is malformed.
pub fn read(bytes: &[u8]) -> Result<Facts, String> {
    let mut facts = Facts::default();
    let mut depth = 0usize;
    let mut ended = false;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|e| e.to_string())? {
            Payload::ModuleSection { .. } => {
                depth = depth.saturating_add(1);
                facts.modules = facts.modules.saturating_add(1);
            }
            Payload::ComponentSection { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => {
                ended = depth == 0;
                depth = depth.saturating_sub(1);
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(|e| e.to_string())?;
                    keep(&mut facts.imports, import.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(|e| e.to_string())?;
                    let name = export.name.name;
                    match export.kind {
                        ComponentExternalKind::Func if name == "run" => facts.task = true,
                        ComponentExternalKind::Instance
                            if name.starts_with("wasi:cli/run@0.2.") =>
                        {
                            facts.command = true;
                        }
                        _ => {}
                    }
                    keep(&mut facts.exports, name);
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Producers(producers) = section.as_known() {
                    read_producers(producers, &mut facts.producers);
                }
            }
            _ => {}
        }
    }
    if !ended {
        return Err("the file ends before the component does".to_owned());
    }
    Ok(facts)
}

fn keep(names: &mut Vec<String>, name: &str) {
    if names.len() < NAMES_MAX {
        names.push(name.to_owned());
    }
}

/// A malformed section of this kind has no meaning to anyone, and is passed over.
fn read_producers(section: wasmparser::ProducersSectionReader<'_>, producers: &mut Vec<String>) {
    for field in section.into_iter().flatten() {
        for value in field.values.into_iter().flatten() {
            let line = format!("{}: {} {}", field.name, value.name, value.version);
            let line = line.trim_end().to_owned();
            if !producers.contains(&line) {
                keep(producers, &line);
            }
            if producers.len() >= NAMES_MAX {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        assert_eq!(kind(b"\0asm\x0d\0\x01\0"), Kind::Component);
        assert_eq!(kind(b"\0asm\x01\0\0\0"), Kind::CoreModule);
        assert_eq!(kind(b"\0asm"), Kind::Other);
        assert_eq!(kind(b"#!/bin/sh"), Kind::Other);
    }

    #[test]
    fn an_empty_component_has_no_world_and_a_cut_one_is_refused() {
        let facts = read(b"\0asm\x0d\0\x01\0").unwrap();
        assert_eq!(facts, Facts::default());
        assert_eq!(facts.world(), None);
        assert!(read(b"\0asm\x0d\0\x01\0\x07\xff").is_err());
        assert!(read(b"").is_err());
    }
}
