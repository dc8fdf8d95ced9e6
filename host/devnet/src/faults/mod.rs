//! Miners that cheat, for seeing what a network makes of them: real miners, whose executor or whose
//! connection to the coordinator is wrapped.
//!
//! | kind | what it does | what becomes of it |
//! |---|---|---|
//! | `wrong-result` | signs receipts for an output in which a byte is changed | outvoted where others run the task too |
//! | `host-fault` | says of each run that its machine failed | not paid, and drawn less |
//! | `silent` | accepts tasks and never answers | its leases expire, and count against it |
//! | `late` | answers after its lease has ended | rejected as late |
//! | `equivocate` | signs a second receipt for each number | refused, and proof against it |
//!
//! `drop=P` loses each request and each answer of every miner with the probability P, as a bad network
//! would: of the cheats' and of the honest ones' alike, who must get through all the same.

mod executor;
mod transport;

use std::fmt;
use std::str::FromStr;

pub use executor::FaultyExecutor;
pub use transport::{FaultyApi, Losses};

/// Most cheating miners of one kind.
const MINERS_MAX: u32 = 50;
/// A probability of one, in parts per million.
const CERTAIN: u32 = 1_000_000;

/// What a miner does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Signs for another output.
    WrongResult,
    /// Says that its machine failed.
    HostFault,
    /// Never answers.
    Silent,
    /// Answers too late.
    Late,
    /// Signs twice.
    Equivocate,
}

impl Fault {
    /// All kinds, in the order in which miners of them are added.
    pub const ALL: [Fault; 5] = [
        Fault::WrongResult,
        Fault::HostFault,
        Fault::Silent,
        Fault::Late,
        Fault::Equivocate,
    ];

    /// The name, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Fault::WrongResult => "wrong-result",
            Fault::HostFault => "host-fault",
            Fault::Silent => "silent",
            Fault::Late => "late",
            Fault::Equivocate => "equivocate",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which faults a network has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// What decides by chance which requests are lost.
    pub seed: u64,
    /// Cheating miners, of each kind as many as are listed.
    pub miners: Vec<Fault>,
    /// How often a request or an answer is lost, in parts per million.
    pub drop_ppm: u32,
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Faults, String> {
        let mut faults = Faults::default();
        let mut seen: Vec<&str> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, "1"));
            if seen.contains(&name) {
                return Err(format!("`{name}` is given twice"));
            }
            seen.push(name);
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
            match (name, fault) {
                ("seed", _) => {
                    faults.seed = value
                        .parse()
                        .map_err(|_| format!("seed: `{value}` is no number below 2^64"))?;
                }
                ("drop", _) => faults.drop_ppm = probability(value)?,
                (_, Some(fault)) => {
                    let count: u32 = value
                        .parse()
                        .ok()
                        .filter(|count| *count <= MINERS_MAX)
                        .ok_or_else(|| {
                            format!(
                                "{name}: `{value}` is no number of miners from 0 to {MINERS_MAX}"
                            )
                        })?;
                    faults.miners.extend((0..count).map(|_| fault));
                }
                (_, None) => {
                    let all = Fault::ALL.map(Fault::name).join(", ");
                    return Err(format!(
                        "there is no fault `{name}`; write seed=N, drop=P, and of {all} how many miners, as in wrong-result=1,drop=0.01"
                    ));
                }
            }
        }
        // Whatever the order in which they were written, the numbers of the miners are the same.
        let place = |fault: &Fault| Fault::ALL.iter().position(|other| other == fault);
        faults.miners.sort_by_key(place);
        Ok(faults)
    }
}

fn probability(text: &str) -> Result<u32, String> {
    let wrong = || format!("drop: `{text}` is no probability from 0 to 0.9, as 0.01");
    let share: f64 = text.parse().map_err(|_| wrong())?;
    match (0.0..=0.9).contains(&share) {
        true => Ok((share * f64::from(CERTAIN)) as u32),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_mistakes_are_told() {
        let faults: Faults = "seed=7, silent=1,wrong-result=2,drop=0.01".parse().unwrap();
        assert_eq!(faults.seed, 7);
        assert_eq!(
            faults.miners,
            [Fault::WrongResult, Fault::WrongResult, Fault::Silent]
        );
        assert_eq!(faults.drop_ppm, 10_000);
        assert_eq!("".parse(), Ok(Faults::default()));
        assert_eq!("late".parse::<Faults>().unwrap().miners, [Fault::Late]);
        for bad in [
            "wrong",
            "seed=x",
            "drop=1",
            "drop=-1",
            "drop=nan",
            "silent=99999",
            "silent=-1",
            "late=1,late=1",
        ] {
            assert!(bad.parse::<Faults>().is_err(), "{bad}");
        }
    }
}
