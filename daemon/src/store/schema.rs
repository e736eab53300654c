//! The database's schema, as numbered steps from every earlier one.

use rusqlite::{Connection, Result, TransactionBehavior};

/// Step N makes schema N + 1 of schema N. A step that was released is never
/// changed again.
pub const STEPS: &[&str] = &[
    "
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
        action_due     INTEGER NOT NULL DEFAULT 0,
        removal_due    INTEGER NOT NULL DEFAULT 0
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
    ",
    "
    -- A provision may have written without having been recorded.
    ALTER TABLE tenants ADD COLUMN unsure INTEGER NOT NULL DEFAULT 0;
",
    "
    -- What a smaller answer than this has to confirm anew.
    ALTER TABLE tenants ADD COLUMN shrunken_to INTEGER;
    -- No login before then, whatever restarts in between; one row at most.
    CREATE TABLE bar (
        one   INTEGER PRIMARY KEY CHECK (one = 1),
        until INTEGER NOT NULL,
        error TEXT NOT NULL CHECK (json_valid(error))
    ) STRICT;
",
    "
    -- Whom the host knows a jail's agents as. A row stays for ever: its number is
    -- never another jail's.
    CREATE TABLE agent_users (
        uid  INTEGER PRIMARY KEY,
        jail TEXT NOT NULL UNIQUE
    ) STRICT;
",
    "
    -- The root that the secrets were brought to last, as the system knows it again.
    ALTER TABLE tenants ADD COLUMN identity TEXT CHECK (json_valid(identity));
",
    "
    -- What the jail bears that was made for the agent; with none it is not ours.
    ALTER TABLE agents ADD COLUMN mark TEXT;
",
    "
    -- How what was to follow a change failed, until it succeeds.
    ALTER TABLE tenants ADD COLUMN action_error TEXT CHECK (json_valid(action_error));
",
    "
    -- The state of the collection that the tenant got last: of ids, dates and encrypted
    -- names, of no secret.
    ALTER TABLE tenants ADD COLUMN fingerprint BLOB;
    -- Logins at the vault by the day, in days since 1970.
    CREATE TABLE logins (
        day   INTEGER PRIMARY KEY,
        count INTEGER NOT NULL
    ) STRICT;
",
    "
    -- Files that may be in the jail beside the tenant's first: what a file is to be is in
    -- the settings, what it is, here. A number is never another file's.
    CREATE TABLE files (
        id     INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
        path   TEXT NOT NULL,
        state  TEXT NOT NULL CHECK (json_valid(state)),
        UNIQUE (tenant, path)
    ) STRICT;
    ALTER TABLE provisions ADD COLUMN files TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(files));
",
];

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema that each number stood for when it was released, as its
    /// tables' and columns' names.
    const RELEASED: &[&str] = &[
        "agents(jail,root,command,state,pid,identity,jail_ours,started,ended,exit_code,\
        signal,log) provisions(number,tenant,reason,at,ms,outcome,error,keys,steps,warnings) \
        tenants(id,name,root,status,settings,collection_id,keys,registered,last_success,error,failures,\
        next_try,shrunken_since,action_due,removal_due)",
        "agents(jail,root,command,state,pid,identity,jail_ours,started,ended,exit_code,\
        signal,log) provisions(number,tenant,reason,at,ms,outcome,error,keys,steps,warnings) \
        tenants(id,name,root,status,settings,collection_id,keys,registered,last_success,error,failures,\
        next_try,shrunken_since,action_due,removal_due,unsure)",
        "agents(jail,root,command,state,pid,identity,jail_ours,started,ended,exit_code,\
        signal,log) bar(one,until,error) \
        provisions(number,tenant,reason,at,ms,outcome,error,keys,steps,warnings) \
        tenants(id,name,root,status,settings,collection_id,keys,registered,last_success,error,failures,\
        next_try,shrunken_since,action_due,removal_due,unsure,shrunken_to)",
        "agent_users(uid,jail) \
        agents(jail,root,command,state,pid,identity,jail_ours,started,ended,exit_code,\
        signal,log) bar(one,until,error) \
        provisions(number,tenant,reason,at,ms,outcome,error,keys,steps,warnings) \
        tenants(id,name,root,status,settings,collection_id,keys,registered,last_success,error,failures,\
        next_try,shrunken_since,action_due,removal_due,unsure,shrunken_to)",
        "agent_users(uid,jail) \
        agents(jail,root,command,state,pid,identity,jail_ours,started,ended,exit_code,\
        signal,log) bar(one,until,error) \
        provisions(number,tenant,reason,at,ms,outcome,error,keys,steps,warnings) \
        tenants(id,name,root,status,settings,collection_id,keys,registered,last_success,error,failures,\
        next_try,shrunken_since,action_due,removal_due,unsure,shrunken_to,identity)",
        "agent_users(uid,jail) \
        agents(jail,root,command,state,pid,identity,jail_ours,started,ended,exit_code,\
        signal,log,mark) bar(one,until,error) \
        provisions(number,tenant,reason,at,ms,outcome,error,keys,steps,warnings) \
        tenants(id,name,root,status,settings,collection_id,keys,registered,last_success,error,failures,\
        next_try,shrunken_since,action_due,removal_due,unsure,shrunken_to,identity)",
        "agent_users(uid,jail) \
        agents(jail,root,command,state,pid,identity,jail_ours,started,ended,exit_code,\
        signal,log,mark) bar(one,until,error) \
        provisions(number,tenant,reason,at,ms,outcome,error,keys,steps,warnings) \
        tenants(id,name,root,status,settings,collection_id,keys,registered,last_success,error,failures,\
        next_try,shrunken_since,action_due,removal_due,unsure,shrunken_to,identity,action_error)",
        "agent_users(uid,jail) \
        agents(jail,root,command,state,pid,identity,jail_ours,started,ended,exit_code,\
        signal,log,mark) bar(one,until,error) logins(day,count) \
        provisions(number,tenant,reason,at,ms,outcome,error,keys,steps,warnings) \
        tenants(id,name,root,status,settings,collection_id,keys,registered,last_success,error,failures,\
        next_try,shrunken_since,action_due,removal_due,unsure,shrunken_to,identity,action_error,fingerprint)",
        "agent_users(uid,jail) \
        agents(jail,root,command,state,pid,identity,jail_ours,started,ended,exit_code,\
        signal,log,mark) bar(one,until,error) files(id,tenant,path,state) logins(day,count) \
        provisions(number,tenant,reason,at,ms,outcome,error,keys,steps,warnings,files) \
        tenants(id,name,root,status,settings,collection_id,keys,registered,last_success,error,failures,\
        next_try,shrunken_since,action_due,removal_due,unsure,shrunken_to,identity,action_error,fingerprint)",
    ];

    fn shape(db: &Connection) -> String {
        let sql = "SELECT group_concat(shape, ' ') FROM (SELECT name || '(' || (
            SELECT group_concat(name) FROM pragma_table_info(tables.name)) || ')' AS shape
            FROM sqlite_schema AS tables WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name)";
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn at(version: usize) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        STEPS[..version].iter().for_each(|step| db.execute_batch(step).unwrap());
        db.pragma_update(None, "user_version", version).unwrap();
        db
    }

    #[test]
    fn every_earlier_schema_becomes_the_newest_one() {
        assert_eq!(RELEASED.len(), STEPS.len(), "a new step records what it makes");
        for version in 0..=STEPS.len() {
            let mut db = at(version);
            if version > 0 {
                assert_eq!(shape(&db), RELEASED[version - 1]);
            }
            assert!(migrate(&mut db).unwrap());
            assert_eq!(shape(&db), RELEASED[STEPS.len() - 1], "from {version}");
        }
    }

    #[test]
    fn a_newer_schema_is_left_alone() {
        let mut db = at(STEPS.len());
        db.pragma_update(None, "user_version", STEPS.len() + 1).unwrap();
        assert!(!migrate(&mut db).unwrap());
    }

    #[test]
    fn the_table_refuses_a_change_of_status_that_is_none() {
        let db = at(STEPS.len());
        let sql = "INSERT INTO tenants (name, root, settings, registered) VALUES ('a', '/a', '{}', 0)";
        db.execute(sql, []).unwrap();
        let set = |status: &str| db.execute("UPDATE tenants SET status = ?1", [status]).is_ok();
        for (status, allowed) in [
            ("stopped", false),
            ("destroyed", false),
            ("active", true),
            ("provisioned", false),
            ("destroyed", false),
            ("stopped", true),
            ("active", true),
            ("stopped", true),
            ("destroyed", true),
            ("active", false),
            ("gone", false),
        ] {
            assert_eq!(set(status), allowed, "{status}");
        }
    }
}
