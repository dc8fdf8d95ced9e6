//! The systems that are compared: what is fetched, and how each is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Asked;
use crate::bench;
use crate::debian::{self, Wanted};
use crate::dist;
use crate::error::{Error, Result};
use crate::fetch::Scratch;
use crate::project::Project;
use crate::runtimes::{STAMP, put_in_place};
use crate::verifiers;

/// From PyPI, for the newest that ran here. `hiredis` is what makes the client of Redis fast.
const PYTHON: &[&str] = &[
    "celery==5.7.0",
    "redis==6.4.0",
    "hiredis==3.5.0",
    "ray==2.60.0",
];
/// Redis out of Debian's packages, with what Debian's base lacks of its libraries. The program is
/// one file under several names.
const REDIS: &[Wanted] = &[
    ("redis-tools", &["redis-check-rdb"]),
    ("libjemalloc2", &["libjemalloc.so.2"]),
    ("liblzf1", &["liblzf.so.1"]),
    ("libatomic1", &["libatomic.so.1"]),
];
const SERVER: &str = "redis-server";
const HINT: &str = "it comes from Debian's packages; apt-get and dpkg-deb must work, and \
                    `apt-get update` have run";

/// A system, and what a result of it is worth.
pub struct System {
    /// Its name in the table.
    pub name: &'static str,
    /// Who signs a result.
    pub signed: &'static str,
    /// What holds a task back.
    pub sandboxed: &'static str,
    /// What is on disk when a result is there.
    pub durable: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Ours,
    Celery { durable: bool },
    Ray,
}

/// In the order of the table; the first is what the others are compared with.
const SYSTEMS: [System; 4] = [
    System {
        name: "Adit",
        signed: "by both sides",
        sandboxed: "yes",
        durable: "task, result, receipt in a log",
        kind: Kind::Ours,
    },
    System {
        name: "Celery + Redis",
        signed: "no",
        sandboxed: "no",
        durable: "no",
        kind: Kind::Celery { durable: false },
    },
    System {
        name: "Celery + Redis, fsync always",
        signed: "no",
        sandboxed: "no",
        durable: "queue and result",
        kind: Kind::Celery { durable: true },
    },
    System {
        name: "Ray",
        signed: "no",
        sandboxed: "no",
        durable: "no",
        kind: Kind::Ray,
    },
];

/// In the order of the table.
pub fn all() -> &'static [System] {
    &SYSTEMS
}

/// All of them, ready to be started.
pub struct Systems {
    benchmark: PathBuf,
    programs: PathBuf,
    python: PathBuf,
    redis: PathBuf,
}

impl Systems {
    /// Builds ours and fetches what is missing of the others, below `target/tools`.
    pub fn prepare(project: &Project) -> Result<Systems> {
        let tools = project.target.join("tools");
        let python = tools.join("peers-python");
        verifiers::python(&python, PYTHON)?;
        if !python.is_dir() {
            return Err(Error::NoPip);
        }
        Ok(Systems {
            benchmark: bench::build(project, "tasks", dist::PROFILE)?,
            programs: project.root.join("host/xtask/peers"),
            redis: redis(project, &tools.join("redis"))?,
            python,
        })
    }

    /// A command that starts a system and its load in an empty folder.
    pub fn command(&self, system: &System, asked: &Asked, folder: &Path) -> Command {
        let mut command = match system.kind {
            Kind::Ours => {
                let mut command = Command::new(&self.benchmark);
                command.arg("--json");
                command
            }
            Kind::Celery { durable } => {
                let mut command = self.python("with_celery.py", folder);
                command.arg("--redis").arg(self.redis.join(SERVER));
                if durable {
                    command.arg("--durable");
                }
                command
            }
            Kind::Ray => self.python("with_ray.py", folder),
        };
        command.arg("--seconds").arg(asked.seconds.to_string());
        command.arg("--flight").arg(asked.flight.to_string());
        command.arg("--rate").arg(asked.rate.to_string());
        command.arg("--folder").arg(folder);
        command
    }

    fn python(&self, program: &str, home: &Path) -> Command {
        let mut command = Command::new("python3");
        // Celery's workers find the module with the task in the current folder.
        command.current_dir(&self.programs).arg(program);
        command.env("PYTHONPATH", &self.python);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        // Ray keeps a token there.
        command.env("HOME", home);
        command
    }
}

fn redis(project: &Project, folder: &Path) -> Result<PathBuf> {
    let cannot = |why: &str| Error::NoPeer {
        name: "Redis",
        why: why.to_owned(),
        hint: HINT,
    };
    let present = fs::read_to_string(folder.join(STAMP));
    let (versions, already) = match present {
        Ok(versions) => (versions, " (already here)"),
        Err(_) if !debian::is_here() => return Err(cannot("this is not Debian")),
        Err(_) => {
            let scratch = Scratch::new(&project.target)?;
            let made = scratch.0.join("redis");
            let versions = debian::take(REDIS, &scratch.0, &made, &cannot)?;
            let server = made.join(SERVER);
            fs::rename(made.join("redis-check-rdb"), &server)
                .map_err(Error::io("rename", &server))?;
            let stamp = made.join(STAMP);
            fs::write(&stamp, &versions).map_err(Error::io("write", &stamp))?;
            put_in_place(&made, folder)?;
            (versions, "")
        }
    };
    for version in versions.lines() {
        eprintln!("    {version}{already}");
    }
    Ok(folder.to_owned())
}
