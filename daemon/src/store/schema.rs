//! The database's schema, as numbered steps from every earlier one.

use rusqlite::{Connection, Result, TransactionBehavior};

/// Step N makes schema N + 1 of schema N. A step that was released is never
/// changed again.
pub const STEPS: &[&str] = &["
    CREATE TABLE tenants (
        id             INTEGER PRIMARY KEY,
        name           TEXT NOT NULL UNIQUE,
        root           TEXT NOT NULL,
        status         TEXT NOT NULL DEFAULT 'provisioned'
                       CHECK (status IN ('provisioned', 'active', 'stopped', 'destroyed')),
        settings       TEXT NOT NULL CHECK (json_valid(settings)),
        collection_id  TEXT,
        keys           TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(keys)),
        registered     INTEGER NOT NULL,
        last_success   INTEGER,
        error          TEXT CHECK (json_valid(error)),
        failures       INTEGER NOT NULL DEFAULT 0,
        next_try       INTEGER,
        shrunken_since INTEGER,
        action_due     INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    -- Two tenants with one root would write over each other's file.
    CREATE UNIQUE INDEX tenants_root ON tenants (root) WHERE status <> 'destroyed';
    CREATE TRIGGER tenants_status BEFORE UPDATE OF status ON tenants
        WHEN old.status <> new.status AND old.status || '>' || new.status NOT IN (
            'provisioned>active', 'active>stopped', 'stopped>active', 'stopped>destroyed')
        BEGIN SELECT RAISE (ABORT, 'no such change of status'); END;

    CREATE TABLE provisions (
        number   INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant   INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        reason   TEXT NOT NULL,
        at       INTEGER NOT NULL,
        ms       INTEGER NOT NULL,
        outcome  TEXT NOT NULL,
        error    TEXT CHECK (json_valid(error)),
        keys     INTEGER NOT NULL,
        steps    TEXT NOT NULL CHECK (json_valid(steps)),
        warnings TEXT NOT NULL CHECK (json_valid(warnings))
    ) STRICT;
    CREATE INDEX provisions_tenant ON provisions (tenant, number);

    CREATE TABLE agents (
        jail      TEXT PRIMARY KEY,
        root      TEXT NOT NULL,
        command   TEXT NOT NULL CHECK (json_valid(command)),
        state     TEXT NOT NULL CHECK (state IN ('running', 'exited', 'stopped', 'lost')),
        pid       INTEGER NOT NULL,
        identity  TEXT NOT NULL,
        jail_ours INTEGER NOT NULL,
        started   INTEGER NOT NULL,
        ended     INTEGER,
        exit_code INTEGER,
        signal    INTEGER,
        log       TEXT NOT NULL
    ) STRICT;
"];

/// Brings the database to the newest schema, each step whole or not at all.
/// Returns `false`, with nothing changed, if it is newer than this program.
pub fn migrate(connection: &mut Connection) -> Result<bool> {
    let version: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > STEPS.len() {
        return Ok(false);
    }
    for (number, step) in STEPS.iter().enumerate().skip(version) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number + 1)?;
        transaction.commit()?;
    }
    Ok(true)
}
