//! One run of one system: what its load says on stdout, a JSON object on each line, and what the
//! processes below the load use meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::processes::{self, Times};
use crate::error::{Error, Result};
use crate::project;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long what a system leaves behind may take to end by itself.
const ENDING: Duration = Duration::from_secs(10);

/// A line of the load.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    /// The system is warm.
    Ready {
        versions: BTreeMap<String, String>,
    },
    Begin {
        phase: Phase,
    },
    End {
        phase: Phase,
        count: u64,
        seconds: f64,
        p50_ms: f64,
        p99_ms: f64,
    },
    /// So many outputs were compared with what they should be.
    Checked {
        outputs: u64,
    },
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Low,
    Saturation,
    Half,
    Same,
}

/// All of them.
const PHASES: usize = 4;

/// What one run came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// What ran, with versions.
    pub versions: BTreeMap<String, String>,
    /// Tasks a second at saturation.
    pub rate: f64,
    pub low_p50_ms: f64,
    pub low_p99_ms: f64,
    pub half_p50_ms: f64,
    pub half_p99_ms: f64,
    pub same_p50_ms: f64,
    pub same_p99_ms: f64,
    /// Processor time of a task at saturation, of the system.
    pub system_us: f64,
    /// The same of the load.
    pub load_us: f64,
    /// Most resident memory of the system's processes together.
    pub resident_mib: f64,
    /// Their memory after saturation, shared pages counted once.
    pub proportional_mib: f64,
    /// Outputs that were compared.
    pub checked: u64,
}

impl Run {
    /// For who waits.
    pub fn shown(&self) -> String {
        format!(
            "{:.0} tasks/s, one at a time {:.2} ms, at half load {:.2} ms, at the same rate {:.2} ms",
            self.rate, self.low_p50_ms, self.half_p50_ms, self.same_p50_ms
        )
    }
}

/// Takes the lines of a run in their order.
#[derive(Default)]
struct Reading {
    run: Run,
    began: Option<(Phase, Times, Times)>,
    done: BTreeSet<Phase>,
}

impl Reading {
    /// `times` and `memory` look at the processes, where the line asks for that.
    fn line(
        &mut self,
        line: Line,
        times: impl FnOnce() -> (Times, Times),
        memory: impl FnOnce() -> u64,
    ) -> std::result::Result<(), String> {
        match line {
            Line::Ready { versions } => self.run.versions = versions,
            Line::Begin { phase } => {
                let (load, system) = times();
                self.began = Some((phase, load, system));
            }
            Line::End {
                phase,
                count,
                seconds,
                p50_ms,
                p99_ms,
            } => {
                let (load, system) = times();
                let Some((_, load_before, system_before)) =
                    self.began.take().filter(|(began, ..)| *began == phase)
                else {
                    return Err(format!("the phase {phase:?} ended and had not begun"));
                };
                if count == 0 || seconds <= 0.0 {
                    return Err(format!("the phase {phase:?} did nothing"));
                }
                self.done.insert(phase);
                let run = &mut self.run;
                match phase {
                    Phase::Low => (run.low_p50_ms, run.low_p99_ms) = (p50_ms, p99_ms),
                    Phase::Half => (run.half_p50_ms, run.half_p99_ms) = (p50_ms, p99_ms),
                    Phase::Same => (run.same_p50_ms, run.same_p99_ms) = (p50_ms, p99_ms),
                    Phase::Saturation => {
                        let us = 1e6 / count as f64;
                        run.rate = count as f64 / seconds;
                        run.load_us = load.since(&load_before) * us;
                        run.system_us = system.since(&system_before) * us;
                        run.proportional_mib = memory() as f64 / 1024.0;
                    }
                }
            }
            Line::Checked { outputs } => self.run.checked = outputs,
        }
        Ok(())
    }

    fn end(self) -> std::result::Result<Run, String> {
        match (self.done.len(), self.run.checked) {
            (PHASES, 1..) => Ok(self.run),
            (PHASES, 0) => Err("none of its outputs was compared".to_owned()),
            _ => Err(format!("it ended after {:?}", self.done)),
        }
    }
}

/// Runs a system and its load to their end. What is left of them is ended too.
pub fn run(name: &'static str, command: &mut Command, patience: Duration) -> Result<Run> {
    let failed = |why: String| Error::Measured { system: name, why };
    let mut child = (command.stdin(Stdio::null()).stdout(Stdio::piped()))
        .spawn()
        .map_err(|error| project::start(command, error))?;
    let mut seen = BTreeSet::new();
    let read = watch(&mut child, &mut seen, patience);
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child
        .wait()
        .map_err(|error| project::start(command, error))?;
    end_rest(&seen, ENDING);
    let run = read.map_err(failed)?;
    project::succeeded(command, status)?;
    Ok(run)
}

/// Reads all lines; `seen` gets every process of the system.
fn watch(
    child: &mut Child,
    seen: &mut BTreeSet<(u32, String)>,
    patience: Duration,
) -> std::result::Result<Run, String> {
    let root = child.id();
    let stdout = child.stdout.take().ok_or("it has no stdout")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let begun = Instant::now();
    let mut reading = Reading::default();
    let mut most = 0;
    loop {
        match lines.recv_timeout(LOOK_EVERY) {
            Ok(line) => {
                let line = serde_json::from_str(&line)
                    .map_err(|error| format!("it says {line:?}: {error}"))?;
                let memory = || processes::memory(root, true).proportional_kib;
                reading.line(line, || processes::times(root), memory)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        most = most.max(processes::memory(root, false).resident_kib);
        seen.extend(processes::family(root).into_iter().filter_map(born));
        if begun.elapsed() > patience {
            return Err(format!("it did not end within {} s", patience.as_secs()));
        }
    }
    reading.run.resident_mib = most as f64 / 1024.0;
    reading.end()
}

/// A process with the time of its start, which tells it from a later one of the same number.
fn born(pid: u32) -> Option<(u32, String)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some((pid, rest.split_whitespace().nth(19)?.to_owned()))
}

/// Ends what a system has left behind, after some time to end by itself.
fn end_rest(seen: &BTreeSet<(u32, String)>, patience: Duration) {
    let left = || {
        seen.iter()
            .filter(|(pid, at)| born(*pid).is_some_and(|(_, now)| now == *at))
    };
    let begun = Instant::now();
    while begun.elapsed() < patience && left().next().is_some() {
        std::thread::sleep(Duration::from_millis(100));
    }
    for (pid, _) in left() {
        let _ = Command::new("kill")
            .arg("-KILL")
            .arg(pid.to_string())
            .status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> std::result::Result<Run, String> {
        let mut reading = Reading::default();
        for line in lines {
            let line = serde_json::from_str(line).map_err(|error| error.to_string())?;
            reading.line(line, Default::default, || 2048)?;
        }
        reading.end()
    }

    const LINES: [&str; 10] = [
        r#"{"event": "ready", "versions": {"ray": "2.60.0"}}"#,
        r#"{"event": "begin", "phase": "low"}"#,
        r#"{"event":"end","phase":"low","count":10,"seconds":1.0,"p50_ms":2.5,"p99_ms":3.5}"#,
        r#"{"event": "begin", "phase": "saturation"}"#,
        r#"{"event":"end","phase":"saturation","count":500,"seconds":2,"p50_ms":9,"p99_ms":9}"#,
        r#"{"event": "begin", "phase": "half"}"#,
        r#"{"event":"end","phase":"half","count":10,"seconds":1.0,"p50_ms":4,"p99_ms":6}"#,
        r#"{"event": "begin", "phase": "same"}"#,
        r#"{"event":"end","phase":"same","count":10,"seconds":1.0,"p50_ms":3,"p99_ms":5}"#,
        r#"{"event": "checked", "outputs": 520}"#,
    ];

    #[test]
    fn a_run_is_read_from_its_lines() {
        let run = read(&LINES).unwrap();
        assert_eq!(run.rate, 250.0);
        assert_eq!((run.low_p50_ms, run.low_p99_ms), (2.5, 3.5));
        assert_eq!((run.half_p50_ms, run.half_p99_ms), (4.0, 6.0));
        assert_eq!((run.same_p50_ms, run.same_p99_ms), (3.0, 5.0));
        assert_eq!(run.proportional_mib, 2.0);
        assert_eq!((run.checked, run.versions.len()), (520, 1));
    }

    #[test]
    fn a_run_that_lacks_something_is_none() {
        // Whatever is there beside the versions is needed.
        for (missing, line) in LINES.iter().enumerate().skip(1) {
            let mut lines = LINES.to_vec();
            lines.remove(missing);
            assert!(read(&lines).is_err(), "without {line}");
        }
        assert!(read(&[r#"{"event": "other"}"#]).is_err());
        assert!(read(&["Traceback"]).is_err());
    }

    #[test]
    fn what_a_run_leaves_behind_is_ended() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let (pid, at) = born(child.id()).unwrap();
        // A number that was given anew is another process, and is left alone.
        end_rest(&BTreeSet::from([(pid, format!("{at}1"))]), Duration::ZERO);
        assert!(child.try_wait().unwrap().is_none());
        let ended = std::thread::spawn(move || {
            end_rest(&BTreeSet::from([(pid, at)]), Duration::from_millis(200));
        });
        assert!(!child.wait().unwrap().success());
        ended.join().unwrap();
    }
}
