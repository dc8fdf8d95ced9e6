//! Whether every guest, every made input and every behaviour of a guest has a case: what no case
//! uses is not tested, however hostile it looks.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::case::Case;
use crate::error::Error;
use crate::input::{Guest, Model, Part};
use crate::made;
use crate::trials::Options;

/// The word by which a guest names its behaviours, one a line: as its first argument, for a
/// command, and as its input, for a task.
const LIST: &str = "list";

/// Guests and kinds of made inputs that no case uses.
///
/// # Errors
///
/// [`Error::Io`] if the folder of guests cannot be read.
pub fn unused(suite: &Path, cases: &[Arc<Case>]) -> Result<Vec<String>, Error> {
    let mut wanted = BTreeSet::new();
    let guests = suite.join("guests");
    for (folder, is_guest, place) in [
        (guests.clone(), is_package as fn(&Path) -> bool, ""),
        (guests.join("wat"), is_text, "guests/wat/"),
    ] {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let path = entry.map_err(Error::io(&folder))?.path();
            if is_guest(&path)
                && let Some(name) = path.file_name()
            {
                wanted.insert(format!("{place}{}", name.to_string_lossy()));
            }
        }
    }
    let made = made::Component::NAMES.iter().chain(made::Model::NAMES);
    wanted.extend(made.map(|name| format!("made {name}")));
    for case in cases {
        wanted.remove(&match &case.guest {
            Guest::Package(name) => name.clone(),
            Guest::Wat(path) => path.clone(),
            Guest::Made(made) => format!("made {}", made.name()),
        });
        for model in case.models.values() {
            if let Model::Made(made) = model {
                wanted.remove(&format!("made {}", made.name()));
            }
        }
        for part in &case.input.0 {
            if let Part::Made(made) = part {
                wanted.remove(&format!("made {}", made.name()));
            }
        }
    }
    Ok(wanted.into_iter().collect())
}

fn is_package(path: &Path) -> bool {
    path.join("Cargo.toml").is_file()
}

fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wat")
}

/// Behaviours that no case makes a guest show, as `guest behaviour`. What a guest can do it says
/// itself, when it is asked to `list` it.
///
/// # Errors
///
/// [`Error`] if a guest does not say.
pub fn behaviours(options: &Options, cases: &[Arc<Case>]) -> Result<Vec<String>, Error> {
    let packages: BTreeSet<&str> = cases
        .iter()
        .filter_map(|case| match &case.guest {
            Guest::Package(name) => Some(&**name),
            _ => None,
        })
        .collect();
    let mut idle = Vec::new();
    for package in packages {
        let own = |case: &&Arc<Case>| case.guest == Guest::Package(package.to_owned());
        let shown: BTreeSet<&str> = cases.iter().filter(own).flat_map(|c| asked(c)).collect();
        for behaviour in list(options, package)? {
            if !shown.contains(&*behaviour) && behaviour != LIST {
                idle.push(format!("{package} {behaviour}"));
            }
        }
    }
    Ok(idle)
}

/// The words by which a case may ask for a behaviour.
fn asked(case: &Case) -> impl Iterator<Item = &str> {
    let word = match case.input.0.first() {
        Some(Part::Text(text)) => text.split_whitespace().next(),
        _ => None,
    };
    case.args.first().map(|arg| &**arg).into_iter().chain(word)
}

fn list(options: &Options, package: &str) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Ran {
        status: String,
        output: Output,
    }
    #[derive(Deserialize)]
    struct Output {
        text: Option<String>,
    }
    let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
    let guest = options.places.guest(package)?;
    let input = folder.path().join("input");
    std::fs::write(&input, LIST).map_err(Error::io(&input))?;
    let args = [
        "--json".into(),
        "--state".into(),
        folder.path().join("state").into(),
        "run".into(),
        guest.clone().into(),
        "--input".into(),
        input.into(),
        "--".into(),
        LIST.into(),
    ];
    let minute = Duration::from_secs(60);
    let finished = options.adit.run(folder.path(), &args, minute)?;
    let ran: Option<Ran> = serde_json::from_slice(&finished.stdout).ok();
    ran.filter(|ran| ran.status == "ok")
        .and_then(|ran| ran.output.text)
        .filter(|text| !text.trim().is_empty())
        .map(|text| text.split_whitespace().map(str::to_owned).collect())
        .ok_or_else(|| Error::Data {
            path: guest,
            why: format!("it does not name its behaviours when it is asked to `{LIST}` them"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Suite, parse};
    use crate::places;

    #[test]
    fn every_guest_and_every_made_input_has_a_case() {
        let suite = places::suite();
        let cases = Suite::load(&suite.join("cases")).unwrap().cases;
        let cases: Vec<_> = cases.into_iter().map(Arc::new).collect();
        let unused = unused(&suite, &cases).unwrap();
        assert!(unused.is_empty(), "no case uses {}", unused.join(", "));
    }

    #[test]
    fn what_no_case_uses_is_named() {
        let suite = tempfile::tempdir().unwrap();
        let guests = suite.path().join("guests");
        for package in ["one", "two"] {
            std::fs::create_dir_all(guests.join(package)).unwrap();
            std::fs::write(guests.join(package).join("Cargo.toml"), "").unwrap();
        }
        std::fs::create_dir(guests.join("wat")).unwrap();
        std::fs::write(guests.join("wat/three.wat"), "").unwrap();
        let text = "[[case]]\nname = \"a\"\nwhy = \"b\"\nguest = \"one\"\n\
            input = { made = \"onnx-endless\" }\nexpect = { code = \"x\" }\n\
            bound = { rss = \"1MiB\", seconds = 1 }\n";
        let cases = parse(Path::new("x.toml"), text).unwrap();
        let cases: Vec<_> = cases.into_iter().map(Arc::new).collect();
        let unused = unused(suite.path(), &cases).unwrap();
        assert!(unused.contains(&"two".to_owned()), "{unused:?}");
        assert!(unused.contains(&"guests/wat/three.wat".to_owned()));
        assert!(unused.contains(&"made not-wasm".to_owned()));
        assert!(!unused.contains(&"one".to_owned()));
        assert!(!unused.contains(&"made onnx-endless".to_owned()));
    }
}
