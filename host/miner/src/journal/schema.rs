//! The tables of the journal, and the statements on them.

/// Layouts, each by what leads to it from the one before. Published ones never change.
pub(super) const MIGRATIONS: &[&str] = &[
    "CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        miner BLOB NOT NULL CHECK (length(miner) = 32),
        coordinator BLOB NOT NULL CHECK (length(coordinator) = 32),
        UNIQUE (miner, coordinator)
    ) STRICT;
    CREATE TABLE receipts (
        id INTEGER PRIMARY KEY,
        series INTEGER NOT NULL REFERENCES series (id),
        seq INTEGER NOT NULL CHECK (seq > 0),
        assignment BLOB NOT NULL UNIQUE CHECK (length(assignment) = 32),
        body BLOB NOT NULL CHECK (length(body) = 392),
        signature BLOB CHECK (length(signature) = 64),
        state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
        leaf INTEGER,
        countersignature BLOB CHECK (length(countersignature) = 64),
        code TEXT,
        detail TEXT,
        made_ms INTEGER NOT NULL,
        settled_ms INTEGER,
        UNIQUE (series, seq)
    ) STRICT;
    CREATE INDEX receipts_open ON receipts (series, seq) WHERE state < 2;
    CREATE TABLE parts (
        id INTEGER PRIMARY KEY REFERENCES receipts (id),
        bytes BLOB NOT NULL
    ) STRICT;
    -- A body that was once committed may have been signed: it never changes, and never goes.
    CREATE TRIGGER bodies_stay BEFORE UPDATE OF series, seq, assignment, body ON receipts
        BEGIN SELECT RAISE(ABORT, 'the body of a receipt never changes'); END;
    CREATE TRIGGER receipts_stay BEFORE DELETE ON receipts
        BEGIN SELECT RAISE(ABORT, 'a receipt is never deleted'); END;
    -- Two signatures of one body are no fraud, but what was sent once is sent again as it was.
    CREATE TRIGGER signatures_stay BEFORE UPDATE OF signature ON receipts
        WHEN OLD.signature IS NOT NULL AND NEW.signature IS NOT OLD.signature
        BEGIN SELECT RAISE(ABORT, 'the signature of a receipt never changes'); END;",
    // Of receipts that were made before there are none.
    "CREATE TABLE leases (
        id INTEGER PRIMARY KEY REFERENCES receipts (id),
        signed BLOB NOT NULL
    ) STRICT;",
    // Which write-ahead log belongs to it, and the number of its last record that is in here.
    "CREATE TABLE ahead (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        owner BLOB NOT NULL CHECK (length(owner) = 32),
        applied INTEGER NOT NULL
    ) STRICT;
    INSERT INTO ahead VALUES (1, randomblob(32), 0);",
];

pub(super) const AHEAD: &str = "SELECT owner, applied FROM ahead";

pub(super) const SET_AHEAD: &str = "UPDATE ahead SET applied = ?1";

pub(super) const LOAD_SERIES: &str = "SELECT s.id, s.coordinator, r.seq, r.body FROM series s
    LEFT JOIN receipts r ON r.series = s.id
        AND r.seq = (SELECT max(seq) FROM receipts WHERE series = s.id)
    WHERE s.miner = ?1";

pub(super) const INSERT_SERIES: &str = "INSERT INTO series (miner, coordinator) VALUES (?1, ?2)
    ON CONFLICT DO UPDATE SET miner = miner RETURNING id";

pub(super) const INSERT_BODY: &str =
    "INSERT INTO receipts (series, seq, assignment, body, state, made_ms)
    VALUES (?1, ?2, ?3, ?4, 0, ?5)";

pub(super) const INSERT_PARTS: &str = "INSERT INTO parts (id, bytes) VALUES (?1, ?2)";

pub(super) const INSERT_LEASE: &str = "INSERT INTO leases (id, signed) VALUES (?1, ?2)";

pub(super) const SET_SIGNATURE: &str = "UPDATE receipts SET signature = ?3, state = max(state, 1)
    WHERE series = ?1 AND seq = ?2";

pub(super) const SETTLE: &str = "UPDATE receipts
    SET state = ?3, leaf = ?4, countersignature = ?5, code = ?6, detail = ?7, settled_ms = ?8
    WHERE series = ?1 AND seq = ?2 AND state <> 2";

pub(super) const DELETE_PARTS: &str = "DELETE FROM parts
    WHERE id = (SELECT id FROM receipts WHERE series = ?1 AND seq = ?2)";

pub(super) const REWIND: &str = "UPDATE receipts
    SET state = 1, leaf = NULL, countersignature = NULL, code = NULL, detail = NULL,
        settled_ms = NULL
    WHERE series = ?1 AND seq > ?2 AND state >= 2 AND signature IS NOT NULL";

/// Parts lie in the order of their receipts, and few of those that are left belong to open ones.
pub(super) const PRUNE: &str = "DELETE FROM parts WHERE id IN (
    SELECT p.id FROM parts p CROSS JOIN receipts r ON r.id = p.id
    WHERE r.state >= 2 AND r.settled_ms <= ?1 ORDER BY p.id LIMIT ?2)";

pub(super) const COUNTS: &str =
    "SELECT state, count(*) FROM receipts WHERE series = ?1 GROUP BY state";

pub(super) const RECEIPT_OF: &str =
    "SELECT body, signature, countersignature, state FROM receipts WHERE assignment = ?1";

pub(super) const COUNTERSIGNED: &str =
    "SELECT r.id, r.body, r.signature, r.countersignature, r.leaf, l.signed FROM receipts r
    LEFT JOIN leases l ON l.id = r.id
    WHERE r.state = 2 AND r.id < ?1 ORDER BY r.id DESC LIMIT ?2";

pub(super) const ROW_OF: &str = "SELECT id FROM receipts WHERE assignment = ?1";

pub(super) const FIND: &str = "SELECT seq, state FROM receipts WHERE assignment = ?1";

pub(super) const BODY_AT: &str = "SELECT body FROM receipts WHERE series = ?1 AND seq = ?2";

pub(super) const OPEN_ROWS: &str = "SELECT r.seq, r.body, r.signature, p.bytes FROM receipts r
    LEFT JOIN parts p ON p.id = r.id
    WHERE r.series = ?1 AND r.seq > ?2 AND r.state < 2 AND r.state = ?3
    ORDER BY r.seq LIMIT ?4";
