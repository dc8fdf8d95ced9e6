//! One process of the implementation: started, watched, and ended if it does not end by itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use wait4::{ResUse, Wait4 as _};

use crate::error::Error;

/// Most that is taken of a process's stdout, and of its stderr, in bytes. More than any case
/// needs, and little enough not to count as memory of the next process: see [`Finished::rss`].
const STDOUT_BYTES_MAX: u64 = 32 << 20;
const STDERR_BYTES_MAX: u64 = 4 << 20;
/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A program that follows the documented command line.
#[derive(Clone, Debug)]
pub struct Implementation {
    /// The program.
    pub program: PathBuf,
}

/// How a process ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub exit: Option<i32>,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it said.
    pub stderr: String,
    /// Most resident memory, in bytes, of it or of any process that it waited for (`ru_maxrss` of
    /// `wait4`). The kernel counts from the memory of this program, which started it.
    pub rss: u64,
    /// How long it took.
    pub took: Duration,
    /// Why it was ended, or what else is wrong with it, whatever it was to do.
    pub wrong: Option<String>,
}

impl Implementation {
    /// Runs the program with `args` in `folder`, for at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if it cannot be started or waited for.
    pub fn run(
        &self,
        folder: &Path,
        args: &[OsString],
        limit: Duration,
    ) -> Result<Finished, Error> {
        let failed = |source| Error::Start {
            program: self.program.display().to_string(),
            source,
        };
        // Files and not pipes: nobody has to read them while the process runs, and what it may
        // have left behind cannot hold them open.
        let mut stdout = tempfile::tempfile().map_err(failed)?;
        let mut stderr = tempfile::tempfile().map_err(failed)?;
        let start = Instant::now();
        let mut child = Command::new(&self.program)
            .args(args)
            .current_dir(folder)
            // Whatever it keeps outside of its state folder must not be the user's.
            .env("XDG_DATA_HOME", folder)
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().map_err(failed)?)
            .stderr(stderr.try_clone().map_err(failed)?)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut ended_for = None;
        let used = loop {
            // It is this thread alone that waits for the process, so that until this call says
            // that it has ended its number is not given to another.
            if let Some(used) = child.try_wait4().map_err(failed)? {
                break used;
            }
            if ended_for.is_none() {
                ended_for = too_much(start.elapsed(), limit, &stdout, &stderr);
                if ended_for.is_some() {
                    end_group(child.id());
                }
            }
            std::thread::sleep(POLL);
        };
        let took = start.elapsed();
        let ResUse { status, rusage } = used;
        let stdout = read(&mut stdout, STDOUT_BYTES_MAX).map_err(failed)?;
        let stderr = read(&mut stderr, STDERR_BYTES_MAX).map_err(failed)?;
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let wrong = ended_for
            .or_else(|| {
                let signal = status.signal()?;
                Some(format!("the program was ended by signal {signal}"))
            })
            .or_else(|| {
                let line = stderr.lines().find(|line| line.contains("panicked"))?;
                Some(format!("a panic: {line}"))
            });
        Ok(Finished {
            exit: status.code(),
            stdout,
            stderr,
            rss: rusage.maxrss,
            took,
            wrong,
        })
    }

    /// The command line, as a shell takes it.
    pub fn shown(&self, args: &[OsString]) -> String {
        let words: Vec<_> = std::iter::once(self.program.to_string_lossy())
            .chain(args.iter().map(|arg| arg.to_string_lossy()))
            .collect();
        // Only a NUL cannot be quoted, and no argument of a process has one.
        shlex::try_join(words.iter().map(|word| &**word)).unwrap_or_else(|_| words.join(" "))
    }
}

fn too_much(took: Duration, limit: Duration, stdout: &File, stderr: &File) -> Option<String> {
    if took > limit {
        return Some(format!(
            "the program did not end within {} s and was ended",
            limit.as_secs()
        ));
    }
    let files = [
        ("stdout", stdout, STDOUT_BYTES_MAX),
        ("stderr", stderr, STDERR_BYTES_MAX),
    ];
    let (name, _, max) = files
        .into_iter()
        .find(|(_, file, max)| file.metadata().is_ok_and(|about| about.len() > *max))?;
    Some(format!(
        "the program wrote more than {max} bytes to {name} and was ended"
    ))
}

/// Ends a child of this process and what it started, unless that has a group of its own.
fn end_group(child: u32) {
    let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // If it has just ended, there is nobody to tell, and the wait that follows sees it.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn read(file: &mut File, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Finished {
        let shell = Implementation {
            program: "/bin/sh".into(),
        };
        let folder = tempfile::tempdir().unwrap();
        shell
            .run(folder.path(), &["-c".into(), script.into()], limit)
            .unwrap()
    }

    #[test]
    fn a_process_that_ends_is_reported_as_it_is() {
        let ran = shell("echo out; echo err >&2; exit 7", Duration::from_secs(60));
        assert_eq!(ran.exit, Some(7));
        assert_eq!((&ran.stdout[..], &ran.stderr[..]), (&b"out\n"[..], "err\n"));
        assert!(ran.rss > 0);
        assert_eq!(ran.wrong, None);
    }

    #[test]
    fn one_that_does_not_end_is_ended_with_its_children() {
        // The child of the shell would hold a pipe open; of files nothing is waited for.
        let start = Instant::now();
        let ran = shell("sleep 600 & sleep 600", Duration::from_millis(300));
        assert!(start.elapsed() < Duration::from_secs(60));
        assert_eq!(ran.exit, None);
        let wrong = ran.wrong.unwrap();
        assert!(wrong.contains("did not end within"), "{wrong}");
    }

    #[test]
    fn one_that_writes_without_end_is_ended() {
        let ran = shell("exec yes", Duration::from_secs(600));
        let wrong = ran.wrong.unwrap();
        assert!(wrong.contains("bytes to stdout"), "{wrong}");
        assert_eq!(ran.stdout.len() as u64, STDOUT_BYTES_MAX);
    }

    #[test]
    fn panics_and_signals_are_wrong_whatever_was_expected() {
        let minute = Duration::from_secs(60);
        let wrong = |script| shell(script, minute).wrong.unwrap();
        assert!(wrong("echo \"thread 'x' panicked at y\" >&2; exit 1").contains("panicked"));
        assert!(wrong("kill -SEGV $$").contains("signal 11"));
    }

    #[test]
    fn a_command_line_can_be_pasted() {
        let adit = Implementation {
            program: "a dir/adit".into(),
        };
        let args = ["run".into(), "it's".into(), "x=1".into()];
        assert_eq!(adit.shown(&args), "'a dir/adit' run \"it's\" 'x=1'");
    }
}
