//! The tables. Rows that are written once per task are keyed by what ascends (task number, leaf
//! index), so that they are appended; only the indexes by hash are written at random places.

use adit_net::log::Log;

/// All layouts in their order.
pub fn all() -> [&'static str; 4] {
    [FIRST, Log::MIGRATION, BY_STATE, CHANGES]
}

/// Layout 1. Published layouts never change.
pub const FIRST: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- state: 0 live, 1 completed, 2 failed, 3 cancelled. result: leaf of the first accepted receipt.
CREATE TABLE task (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    client TEXT NOT NULL,
    spec BLOB NOT NULL,
    exec BLOB NOT NULL,
    inline BLOB NOT NULL,
    local INTEGER NOT NULL,
    validator BLOB,
    submitted_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    target INTEGER,
    extra INTEGER NOT NULL,
    trace TEXT,
    state INTEGER NOT NULL,
    ended_ms INTEGER,
    code TEXT,
    detail TEXT,
    result INTEGER,
    agreed INTEGER
);
CREATE INDEX task_client ON task (client, number);
CREATE INDEX task_live ON task (number) WHERE state = 0;
CREATE INDEX task_ended ON task (ended_ms) WHERE state <> 0;

-- state: 0 open, 1 reported, 2 expired, 3 cancelled. receipt: leaf of its receipt.
CREATE TABLE assignment (
    leaf INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    task INTEGER NOT NULL,
    signed BLOB NOT NULL,
    eligible BLOB NOT NULL,
    state INTEGER NOT NULL,
    acceptance BLOB,
    receipt INTEGER
);
CREATE INDEX assignment_task ON assignment (task);

-- Once the task was pruned, the bytes are the countersignature alone: the log has the rest.
CREATE TABLE receipt (
    leaf INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    task INTEGER,
    assignment INTEGER,
    bytes BLOB NOT NULL,
    opening BLOB,
    in_time INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    decision INTEGER,
    detail TEXT,
    log BLOB
);

-- One pair for each assignment is proof enough.
CREATE TABLE equivocation (
    assignment BLOB NOT NULL UNIQUE,
    first BLOB NOT NULL,
    second BLOB NOT NULL,
    noticed_ms INTEGER NOT NULL
);

CREATE TABLE request (
    client TEXT NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL,
    task BLOB NOT NULL,
    made_ms INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) WITHOUT ROWID;
CREATE INDEX request_made ON request (made_ms);

CREATE TABLE blob (
    hash BLOB NOT NULL UNIQUE,
    bytes BLOB NOT NULL,
    used_ms INTEGER NOT NULL
);
CREATE INDEX blob_used ON blob (used_ms);

-- kind: 1 roster, 2 membership, 3 environment.
CREATE TABLE document (hash BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL, bytes BLOB NOT NULL);

-- Memberships with the authority's signature, by the hash of the document without it.
CREATE TABLE membership (hash BLOB NOT NULL UNIQUE, signed BLOB NOT NULL);

CREATE TABLE roster (leaf INTEGER PRIMARY KEY, entry BLOB NOT NULL, root BLOB NOT NULL);

CREATE TABLE miner (
    node BLOB PRIMARY KEY,
    good INTEGER NOT NULL,
    bad INTEGER NOT NULL,
    streak INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    newest BLOB NOT NULL
) WITHOUT ROWID;
";

/// Layout 3; the log's tables are layout 2. A client's tasks of one state are found without reading
/// all that it has.
pub const BY_STATE: &str = "CREATE INDEX task_state ON task (client, state, number);";

/// Layout 4. Rosters are kept as changes of others: see [`super::rosters`].
pub const CHANGES: &str = "ALTER TABLE document ADD COLUMN base BLOB;";
