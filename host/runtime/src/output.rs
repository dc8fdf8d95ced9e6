//! The output of a run, its log, and their limits.

use adit_protocol::exec::Limits;

use crate::stop::Stop;

/// Output and log of a run. Both only grow, each up to its limit.
#[derive(Debug)]
pub struct Output {
    bytes: Vec<u8>,
    emitted: u64,
    log: Vec<u8>,
    output_bytes_max: u64,
    emit_bytes_max: u64,
    stderr_bytes_max: u64,
}

impl Output {
    /// An empty output under `limits`.
    pub fn new(limits: &Limits) -> Self {
        Self {
            bytes: Vec::new(),
            emitted: 0,
            log: Vec::new(),
            output_bytes_max: limits.output_bytes,
            emit_bytes_max: limits.emit_bytes,
            stderr_bytes_max: limits.stderr_bytes,
        }
    }

    /// Append an emitted chunk.
    ///
    /// # Errors
    ///
    /// [`Stop::Limit`] for `emit_bytes` or `output_bytes`; nothing of the chunk is then accepted.
    pub fn emit(&mut self, chunk: &[u8]) -> Result<(), Stop> {
        let emitted = self.emitted.saturating_add(chunk.len() as u64);
        if emitted > self.emit_bytes_max {
            return Err(Stop::Limit {
                limit: "emit_bytes",
                max: self.emit_bytes_max,
            });
        }
        self.append(chunk)?;
        self.emitted = emitted;
        Ok(())
    }

    /// Append to the output: standard output of a command, or what `run` returned.
    ///
    /// # Errors
    ///
    /// [`Stop::Limit`] for `output_bytes`; nothing of the chunk is then accepted.
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), Stop> {
        append(
            &mut self.bytes,
            chunk,
            self.output_bytes_max,
            "output_bytes",
        )
    }

    /// Append to the log.
    ///
    /// # Errors
    ///
    /// [`Stop::Limit`] for `stderr_bytes`; nothing of the chunk is then accepted.
    pub fn log(&mut self, chunk: &[u8]) -> Result<(), Stop> {
        append(&mut self.log, chunk, self.stderr_bytes_max, "stderr_bytes")
    }

    /// Take output and log out at the end of the run.
    pub fn take(&mut self) -> (Vec<u8>, Vec<u8>) {
        (
            std::mem::take(&mut self.bytes),
            std::mem::take(&mut self.log),
        )
    }
}

fn append(to: &mut Vec<u8>, chunk: &[u8], max: u64, limit: &'static str) -> Result<(), Stop> {
    let len = (to.len() as u64).saturating_add(chunk.len() as u64);
    if len > max {
        return Err(Stop::Limit { limit, max });
    }
    to.extend_from_slice(chunk);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_holds_and_keeps_what_was_accepted() {
        let mut o = Output::new(&Limits {
            output_bytes: 6,
            emit_bytes: 4,
            stderr_bytes: 2,
            ..Limits::default()
        });
        o.emit(b"abc").unwrap();
        assert!(matches!(
            o.emit(b"de"),
            Err(Stop::Limit {
                limit: "emit_bytes",
                max: 4
            })
        ));
        o.append(b"xyz").unwrap();
        assert!(matches!(
            o.append(b"!"),
            Err(Stop::Limit {
                limit: "output_bytes",
                max: 6
            })
        ));
        o.log(b"ok").unwrap();
        assert!(o.log(b"!").is_err());
        assert_eq!(o.take(), (b"abcxyz".to_vec(), b"ok".to_vec()));
    }
}
