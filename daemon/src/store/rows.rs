//! Rows to values and back. Lists and settings are JSON in their column.

use super::End;
use super::Held;
use crate::root::Identity;
use crate::tenant::{FileState, Placed, Tenant};
use colibri_control::{AgentView, FileProvision, Provision, Reason};
use colibri_tenant::{Fault, JailName, TenantId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;
use std::str::FromStr;

/// A row of the agents table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// What is shown of it.
    pub view: AgentView,
    /// Tells its process from a later one of the same number.
    pub identity: String,
    /// What the jail bears, if it was started for it.
    pub mark: Option<String>,
}

pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

pub fn json(value: &impl Serialize) -> String {
    // Of our own types, only a path that is not UTF-8 cannot be JSON, and such
    // paths are refused at the edge.
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}

fn from_json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| broken(row, column, error))
}

fn word<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(row: &Row, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| broken(row, column, error))
}

/// A fault whose name a later program made up is shown as none.
fn fault(row: &Row, column: &str) -> Result<Option<Fault>> {
    let text: Option<String> = row.get(column)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// One that cannot be read is learned anew.
fn identity(row: &Row) -> Result<Option<Identity>> {
    let text: Option<String> = row.get("identity")?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn broken(row: &Row, column: &str, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    let number = row.as_ref().column_index(column).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(number, Type::Text, Box::new(error))
}

fn read_tenant(row: &Row) -> Result<Tenant> {
    Ok(Tenant {
        id: word(row, "name")?,
        root: row.get::<_, String>("root")?.into(),
        status: word(row, "status")?,
        settings: from_json(row, "settings")?,
        collection_id: row.get("collection_id")?,
        keys: from_json(row, "keys")?,
        registered: row.get("registered")?,
        last_success: row.get("last_success")?,
        error: fault(row, "error")?,
        action_error: fault(row, "action_error")?,
        failures: row.get("failures")?,
        next_try: row.get("next_try")?,
        shrunken_since: row.get("shrunken_since")?,
        shrunken_to: row.get("shrunken_to")?,
        action_due: row.get("action_due")?,
        removal_due: row.get("removal_due")?,
        unsure: row.get("unsure")?,
        agent_uid: row.get("agent_uid")?,
        identity: identity(row)?,
        fingerprint: row.get::<_, Option<Vec<u8>>>("fingerprint")?.and_then(|bytes| bytes.try_into().ok()),
        placed: from_json(row, "placed")?,
    })
}

/// Forgets tenants and agents whose name an earlier program took and this one refuses:
/// with one of them no list could be read.
pub fn forget_refused(db: &Connection) -> Result<()> {
    for (table, column) in [("agents", "jail"), ("tenants", "name")] {
        let listed = format!("SELECT {column}, root FROM {table}");
        let rows = db
            .prepare(&listed)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<Vec<(String, String)>>>()?;
        for (name, root) in rows.iter().filter(|(name, _)| name.parse::<JailName>().is_err()) {
            tracing::warn!(
                "{name} of {table} is forgotten, since no jail may have that name; what was written below {root} stays"
            );
            db.execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [name])?;
        }
    }
    Ok(())
}

const TENANTS: &str = "SELECT tenants.*, agent_users.uid AS agent_uid,
    (SELECT json_group_array(json_object('id', id, 'path', path, 'state', json(state)))
        FROM (SELECT * FROM files WHERE tenant = tenants.id ORDER BY path)) AS placed
    FROM tenants LEFT JOIN agent_users ON jail = name";

/// Notes that files may be about to be written, each with the owner that it gets; gives
/// them as they were before.
pub fn begin_files(db: &Connection, tenant: &Tenant) -> Result<Vec<Placed>> {
    let insert = "INSERT OR IGNORE INTO files (tenant, path, state)
        SELECT id, ?2, '{}' FROM tenants WHERE name = ?1";
    for path in tenant.settings.files.keys() {
        db.prepare_cached(insert)?.execute(params![tenant.id.as_str(), path.as_str()])?;
    }
    let before = self::tenant(db, &tenant.id)?.map(|tenant| tenant.placed).unwrap_or_default();
    for placed in &before {
        if let Some(file) = tenant.settings.files.get(&placed.path) {
            let state = FileState { owner: file.owner.clone(), unsure: true, ..placed.state.clone() };
            put_file(db, placed.id, &state)?;
        }
    }
    Ok(before)
}

pub fn put_file(db: &Connection, id: u32, state: &FileState) -> Result<()> {
    let sql = "UPDATE files SET state = ?2 WHERE id = ?1";
    db.prepare_cached(sql)?.execute(params![id, json(state)])?;
    Ok(())
}

pub fn delete_files(db: &Connection, ids: &[u32]) -> Result<()> {
    for id in ids {
        db.prepare_cached("DELETE FROM files WHERE id = ?1")?.execute([id])?;
    }
    Ok(())
}

pub fn tenant(db: &Connection, id: &TenantId) -> Result<Option<Tenant>> {
    let mut query = db.prepare_cached(&format!("{TENANTS} WHERE name = ?1"))?;
    query.query_row([id.as_str()], read_tenant).optional()
}

pub fn tenants(db: &Connection) -> Result<Vec<Tenant>> {
    db.prepare_cached(&format!("{TENANTS} ORDER BY name"))?.query_map([], read_tenant)?.collect()
}

pub fn bar(db: &Connection) -> Result<Option<(u64, Fault)>> {
    let mut query = db.prepare_cached("SELECT until, error FROM bar")?;
    query.query_row([], |row| Ok((row.get("until")?, from_json(row, "error")?))).optional()
}

pub fn succeeded(db: &Connection, end: &End, held: &Held) -> Result<()> {
    let sql = "UPDATE tenants SET keys = coalesce(?2, keys), collection_id = coalesce(?3, collection_id), last_success = ?4,
        next_try = ?5, action_due = action_due + ?6, error = NULL, failures = 0, shrunken_since = NULL,
        shrunken_to = NULL, unsure = 0, identity = coalesce(?7, identity),
        action_error = CASE WHEN ?8 THEN NULL ELSE action_error END, fingerprint = ?9 WHERE name = ?1";
    let provision = &end.provision;
    let at = provision.at.saturating_add(provision.ms);
    let id = provision.tenant.as_str();
    let keys = held.keys.as_ref().map(json);
    db.prepare_cached(sql)?.execute(params![
        id,
        keys,
        held.collection_id,
        at,
        end.next_try,
        end.action_due,
        end.identity.as_ref().map(json),
        // A jail that starts reads what it has got.
        provision.reason == Reason::Hook,
        held.fingerprint,
    ])?;
    Ok(())
}

pub fn failed(db: &Connection, end: &End) -> Result<()> {
    // An answer that is smaller still has to be seen again, a while later.
    let sql = "UPDATE tenants SET error = ?2, failures = failures + 1, next_try = ?3, unsure = ?6,
        shrunken_since = CASE WHEN ?4 IS NULL THEN shrunken_since
            WHEN shrunken_since IS NULL OR ?4 < shrunken_to THEN ?5 ELSE shrunken_since END,
        shrunken_to = coalesce(?4, shrunken_to)
        WHERE name = ?1";
    let provision = &end.provision;
    let id = provision.tenant.as_str();
    let error = provision.error.as_ref().map(json);
    db.prepare_cached(sql)?.execute(params![
        id,
        error,
        end.next_try,
        end.shrunken_to,
        provision.at,
        end.unsure
    ])?;
    Ok(())
}

/// Adds to the history and forgets what is older than its bound.
pub fn append(db: &Connection, provision: &Provision, keep: u32) -> Result<u64> {
    let sql = "INSERT INTO provisions (tenant, reason, at, ms, outcome, error, keys, steps, warnings, files)
        SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM tenants WHERE name = ?1";
    db.prepare_cached(sql)?.execute(params![
        provision.tenant.as_str(),
        provision.reason.as_str(),
        provision.at,
        provision.ms,
        provision.outcome.as_str(),
        provision.error.as_ref().map(json),
        provision.keys,
        json(&provision.steps),
        json(&provision.warnings),
        json(&provision.files),
    ])?;
    let number = db.last_insert_rowid();
    let sql = "DELETE FROM provisions WHERE tenant = (SELECT id FROM tenants WHERE name = ?1) AND number <= (
        SELECT number FROM provisions WHERE tenant = (SELECT id FROM tenants WHERE name = ?1)
        ORDER BY number DESC LIMIT 1 OFFSET ?2)";
    db.prepare_cached(sql)?.execute(params![provision.tenant.as_str(), keep])?;
    Ok(u64::try_from(number).unwrap_or_default())
}

/// The newest first, as many as there is room for, in bytes.
pub fn history(
    db: &Connection,
    id: Option<&TenantId>,
    limit: u32,
    mut room: usize,
) -> Result<Vec<Provision>> {
    let sql = "SELECT provisions.*, name FROM provisions JOIN tenants ON tenants.id = tenant
        WHERE ?1 IS NULL OR name = ?1 ORDER BY number DESC LIMIT ?2";
    let limit = if limit == 0 { -1 } else { i64::from(limit) };
    let read = |row: &Row| {
        Ok(Provision {
            number: row.get("number")?,
            tenant: word(row, "name")?,
            reason: word(row, "reason")?,
            at: row.get("at")?,
            ms: row.get("ms")?,
            outcome: word(row, "outcome")?,
            error: fault(row, "error")?,
            keys: row.get("keys")?,
            steps: from_json(row, "steps")?,
            warnings: from_json(row, "warnings")?,
            files: from_json(row, "files")?,
        })
    };
    let mut query = db.prepare_cached(sql)?;
    let mut found = Vec::new();
    for provision in query.query_map(params![id.map(JailName::as_str), limit], read)? {
        let provision = provision?;
        let Some(left) = room.checked_sub(size(&provision)) else { break };
        room = left;
        found.push(provision);
    }
    Ok(found)
}

/// About how long it is in an answer, or longer.
fn size(provision: &Provision) -> usize {
    let steps = provision.steps.iter().map(|step| step.name.len() + 32).sum::<usize>();
    let warnings = provision.warnings.iter().map(|line| 2 * line.len() + 4).sum::<usize>();
    let error = provision.error.as_ref().map_or(0, |fault| 2 * fault.message.len() + fault.advice.len());
    let file = |file: &FileProvision| {
        let error = file.error.as_ref().map_or(0, |fault| 2 * fault.message.len() + fault.advice.len());
        128 + 2 * file.file.as_str().len() + error
    };
    512 + steps + warnings + error + provision.files.iter().map(file).sum::<usize>()
}

pub fn agents(db: &Connection, jail: Option<&JailName>) -> Result<Vec<Agent>> {
    let read = |row: &Row| {
        let view = AgentView {
            jail: word(row, "jail")?,
            root: row.get::<_, String>("root")?.into(),
            command: from_json(row, "command")?,
            state: word(row, "state")?,
            pid: row.get("pid")?,
            started: row.get("started")?,
            ended: row.get("ended")?,
            exit_code: row.get("exit_code")?,
            signal: row.get("signal")?,
            log: row.get::<_, String>("log")?.into(),
        };
        Ok(Agent { view, identity: row.get("identity")?, mark: row.get("mark")? })
    };
    let sql = "SELECT * FROM agents WHERE ?1 IS NULL OR jail = ?1 ORDER BY jail";
    db.prepare_cached(sql)?.query_map([jail.map(JailName::as_str)], read)?.collect()
}

pub fn put_agent(db: &Connection, agent: &Agent) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO agents (jail, root, command, state, pid, identity, jail_ours, started,
        ended, exit_code, signal, log, mark)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    let view = &agent.view;
    db.prepare_cached(sql)?.execute(params![
        view.jail.as_str(),
        text(&view.root),
        json(&view.command),
        view.state.as_str(),
        view.pid,
        agent.identity,
        agent.mark.is_some(),
        view.started,
        view.ended,
        view.exit_code,
        view.signal,
        text(&view.log),
        agent.mark,
    ])?;
    Ok(())
}
