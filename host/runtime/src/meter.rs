//! Memory accounting: one budget over all linear memories and tables of a run.

use adit_protocol::exec::Limits;
use wasmtime::ResourceLimiter;

use crate::stop::Stop;

/// Bytes that one table element counts for, on every platform.
pub const TABLE_ELEMENT_BYTES: u64 = 8;

/// Counts what a guest holds and refuses growth over its limits.
///
/// A refusal shows in the guest as the -1 of `memory.grow`, which WebAssembly gives it to handle.
/// A growth that was granted and then failed in the operating system must not show in the guest,
/// because it would differ between machines: it ends the run as a host fault.
#[derive(Debug)]
pub struct Meter {
    memory_bytes_max: u64,
    table_elements_max: u64,
    memory_bytes: u64,
    table_elements: u64,
    refused: Option<u64>,
}

impl Meter {
    /// A meter for one run.
    pub fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes,
            table_elements_max: limits.table_elements,
            memory_bytes: 0,
            table_elements: 0,
            refused: None,
        }
    }

    /// The most that the run has held, in bytes: linear memories as the guest asked for them, and
    /// 8 bytes for each table element. Instances live as long as the run, so nothing is ever
    /// given back and the present sum is the peak.
    pub fn peak_bytes(&self) -> u64 {
        self.total(self.memory_bytes, self.table_elements)
    }

    /// The total, in bytes, that the guest was last refused, if it was refused anything.
    pub fn refused_bytes(&self) -> Option<u64> {
        self.refused
    }

    fn total(&self, memory_bytes: u64, table_elements: u64) -> u64 {
        memory_bytes.saturating_add(table_elements.saturating_mul(TABLE_ELEMENT_BYTES))
    }

    fn admit(&mut self, memory_bytes: u64, table_elements: u64) -> bool {
        let total = self.total(memory_bytes, table_elements);
        if total > self.memory_bytes_max || table_elements > self.table_elements_max {
            self.refused = Some(total);
            return false;
        }
        self.memory_bytes = memory_bytes;
        self.table_elements = table_elements;
        true
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let grown = desired.saturating_sub(current) as u64;
        let (memory, tables) = (self.memory_bytes, self.table_elements);
        Ok(self.admit(memory.saturating_add(grown), tables))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Stop::host_fault(format!("the host could not provide memory: {error}")).into())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let grown = desired.saturating_sub(current) as u64;
        let (memory, tables) = (self.memory_bytes, self.table_elements);
        Ok(self.admit(memory, tables.saturating_add(grown)))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Stop::host_fault(format!("the host could not provide a table: {error}")).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter::new(&Limits {
            memory_bytes: 1000,
            table_elements: 10,
            ..Limits::default()
        })
    }

    #[test]
    fn memories_and_tables_share_one_budget() {
        let mut m = meter();
        assert!(m.memory_growing(0, 500, None).unwrap());
        assert!(m.memory_growing(0, 420, None).unwrap());
        assert!(m.table_growing(0, 10, None).unwrap());
        assert_eq!(m.peak_bytes(), 1000);
        assert!(!m.memory_growing(500, 501, None).unwrap());
        assert_eq!(m.peak_bytes(), 1000);
        assert_eq!(m.refused_bytes(), Some(1001));
    }

    #[test]
    fn a_declared_maximum_and_the_element_limit_refuse_too() {
        let mut m = meter();
        assert!(!m.memory_growing(0, 100, Some(64)).unwrap());
        assert_eq!(m.refused_bytes(), None);
        assert!(!m.table_growing(0, 11, None).unwrap());
        assert_eq!(m.peak_bytes(), 0);
    }

    #[test]
    fn a_failure_of_the_operating_system_is_not_shown_to_the_guest() {
        assert!(
            meter()
                .memory_grow_failed(wasmtime::Error::msg("mmap"))
                .is_err()
        );
    }
}
