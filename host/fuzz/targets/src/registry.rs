//! What a registry and an auditor of rewards read: transactions, entries of the registry's log, and
//! what settlements are made of.

use adit_ledger::SignedTransaction;
use adit_ledger::entry::LogEntry;
use adit_settlement::{Output, compute};

/// A transaction with its signature: one that is read is written as it was.
pub fn transaction(bytes: &[u8]) {
    if let Ok(signed) = SignedTransaction::from_bytes(bytes) {
        assert_eq!(signed.to_bytes(), bytes);
        assert_eq!(signed.transaction().to_text(), signed.text());
        // Whatever comes of it.
        let _ = signed.verify();
    }
}

/// An entry of a registry's log.
pub fn registry_entry(bytes: &[u8]) {
    if let Ok(entry) = LogEntry::from_bytes(bytes) {
        assert_eq!(entry.to_bytes(), bytes);
    }
}

/// What a settlement is made of: whatever is settled keeps the books.
pub fn settlement_input(bytes: &[u8]) {
    if let Ok(output) = compute(bytes) {
        output.check().expect("a settlement keeps its own books");
        let mut written = Vec::new();
        output.write(&mut written).expect("a vector takes it");
        let read = Output::read(written.as_slice()).expect("what was written is read");
        assert_eq!(read, output);
    }
}

/// What came of a settlement.
pub fn settlement_output(bytes: &[u8]) {
    if let Ok(output) = Output::read(bytes) {
        let mut written = Vec::new();
        output.write(&mut written).expect("a vector takes it");
        assert_eq!(written, bytes);
    }
}
