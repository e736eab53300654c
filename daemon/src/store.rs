//! The tenants database. One thread owns it; everybody else sends it work.
//! There are no secrets in it, and nothing that is computed from one.

mod rows;
mod schema;

pub use rows::Agent;

use crate::root::Identity;
use crate::tenant::{FileState, Placed, Tenant, Turn, turn};
use colibri_control::{Provision, Reason};
use colibri_session::Fingerprint;
use colibri_tenant::{ErrorName, Fault, JailName, Settings, Status, TenantId};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use std::path::Path;
use std::sync::mpsc;
use tokio::sync::oneshot;

/// The history keeps this many provisions of a tenant.
const HISTORY: u32 = 100;
/// Bytes of a history that one answer may hold: well within what a client takes,
/// and little enough for many clients that ask for it and do not read.
const ANSWER: usize = colibri_control::MAX_ANSWER / 16;
/// How many days' logins are kept.
const KEPT_DAYS: u64 = 30;
/// Work that may wait for the thread.
const QUEUE: usize = 256;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("the database refused: {0}")]
    Sqlite(rusqlite::Error),
    /// A newer program wrote it.
    #[error("it was written by a newer colibrid: install that version again")]
    Newer,
    /// No such row.
    #[error("no tenant {0}")]
    NoTenant(TenantId),
    /// The status does not allow it.
    #[error("{0} is {1}")]
    Status(TenantId, Status),
    /// The thread is gone.
    #[error("the database is closed")]
    Closed,
}

impl StoreError {
    /// Whether no other time makes it right: the file is not what this program reads.
    pub fn is_for_an_operator(&self) -> bool {
        let code = match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            other => return matches!(other, Self::Newer),
        };
        matches!(code, Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
    }
}

/// By hand: SQLite's words are in ours already, and are not told a second time.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let name = match &error {
            StoreError::NoTenant(_) => ErrorName::TenantNotFound,
            StoreError::Status(..) => ErrorName::WrongState,
            StoreError::Sqlite(_) | StoreError::Newer | StoreError::Closed => ErrorName::StoreFailed,
        };
        Self::new(name, error.to_string())
    }
}

/// What a database call gives.
pub type Result<T> = std::result::Result<T, StoreError>;

type Work = Box<dyn FnOnce(&mut Db) + Send>;

/// A handle to the thread that owns the database.
#[derive(Clone, Debug)]
pub struct Store(mpsc::SyncSender<Work>);

impl Store {
    /// Opens the database file and starts its thread, which ends with the last
    /// handle.
    ///
    /// # Errors
    /// If it cannot be opened or brought to this program's schema.
    pub fn open(file: &Path) -> Result<Self> {
        let mut db = Db::open(file)?;
        let (sender, work) = mpsc::sync_channel::<Work>(QUEUE);
        let run = move || work.into_iter().for_each(|work| work(&mut db));
        std::thread::Builder::new().name("store".into()).spawn(run).map_err(|_| StoreError::Closed)?;
        Ok(Self(sender))
    }

    /// Runs `work` on the database's thread.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Db) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let mut work: Work = Box::new(move |db| drop(answer.send(work(db))));
        // The channel blocks when full, which would stop the whole runtime.
        loop {
            match self.0.try_send(work) {
                Ok(()) => break,
                Err(mpsc::TrySendError::Full(back)) => work = back,
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(StoreError::Closed),
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

/// The database itself.
#[derive(Debug)]
pub struct Db(Connection);

/// What becomes of the file when a tenant takes a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// It stays.
    Stays,
    /// It will be unlinked.
    Goes,
}

/// Which of a tenant's files are unlinked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// The first, which gets another place; the further ones stay in theirs.
    First,
}

/// How a provision ended, beside what the history shows.
#[derive(Clone, Debug)]
pub struct End {
    /// For the history; its number is given by the database.
    pub provision: Provision,
    /// The tenant's status when it began.
    pub began: Status,
    /// What the file now holds, if it was written or found right.
    pub held: Option<Held>,
    /// The root that it is in.
    pub identity: Option<Identity>,
    /// When to try or refresh next.
    pub next_try: Option<u64>,
    /// Whether an action waits for the change.
    pub action_due: bool,
    /// A failure after which the file may be a new one all the same.
    pub unsure: bool,
    /// How many keys the vault has, where that is many fewer than before.
    pub shrunken_to: Option<u32>,
    /// What became of the further files that it was about.
    pub files: Vec<Placed>,
    /// Further files that are gone.
    pub gone: Vec<u32>,
}

/// What became of a tenant while it was provisioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is kept up.
    GoesOn,
    /// It was stopped meanwhile, and stays so.
    Halted,
}

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Names of its keys, if they are known.
    pub keys: Option<Vec<String>>,
    /// The collection that they came from, if it is known.
    pub collection_id: Option<String>,
    /// What tells its state then apart.
    pub fingerprint: Option<Fingerprint>,
}

impl Db {
    /// Opens the database file and brings it to the newest schema.
    ///
    /// # Errors
    /// SQLite's, or `Newer`.
    pub fn open(file: &Path) -> Result<Self> {
        let mut connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // FULL: what was answered as done survives a power cut.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "cache_size", -1024)?;
        connection.set_prepared_statement_cache_capacity(32);
        if !schema::migrate(&mut connection)? {
            return Err(StoreError::Newer);
        }
        rows::forget_refused(&connection)?;
        Ok(Self(connection))
    }

    /// Moves all that was written into the database's one file, so that a copy of
    /// it is whole.
    ///
    /// # Errors
    /// SQLite's.
    pub fn settle(&mut self) -> Result<()> {
        Ok(self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    fn change<T>(&mut self, work: impl FnOnce(&Transaction) -> Result<T>) -> Result<T> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// The tenant of that name.
    ///
    /// # Errors
    /// SQLite's.
    pub fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>> {
        Ok(rows::tenant(&self.0, id)?)
    }

    /// The tenant of that name, which must be there.
    ///
    /// # Errors
    /// `NoTenant`, or SQLite's.
    pub fn known(&self, id: &TenantId) -> Result<Tenant> {
        self.tenant(id)?.ok_or_else(|| StoreError::NoTenant(id.clone()))
    }

    /// Another tenant whose root that directory was when its secrets were brought.
    ///
    /// # Errors
    /// SQLite's.
    pub fn known_as(&self, identity: &Identity, but: &TenantId) -> Result<Option<TenantId>> {
        let is = |tenant: &Tenant| tenant.identity.as_ref().is_some_and(|known| known.is(identity));
        let others = self.tenants()?.into_iter().filter(|tenant| tenant.status != Status::Destroyed);
        Ok(others.filter(|tenant| tenant.id != *but).find(is).map(|tenant| tenant.id))
    }

    /// All tenants, by name.
    ///
    /// # Errors
    /// SQLite's.
    pub fn tenants(&self) -> Result<Vec<Tenant>> {
        Ok(rows::tenants(&self.0)?)
    }

    /// The tenant, other than `id` and not destroyed, that has this root, or one
    /// above or below it: root in the outer jail could read the inner one's file.
    /// A jail within a jail, by its name `outer.inner`, is as it should be.
    ///
    /// # Errors
    /// SQLite's.
    pub fn at_root(&self, root: &Path, id: &TenantId) -> Result<Option<String>> {
        self.at_root_but(root, id, id)
    }

    /// The same of a tenant that will have the name `id` instead of `now`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn at_root_but(&self, root: &Path, id: &TenantId, now: &TenantId) -> Result<Option<String>> {
        let sql = "SELECT name FROM tenants WHERE name NOT IN (?2, ?3) AND status <> 'destroyed' AND (root = ?1
            OR (substr(root || '/', 1, length(?1) + 1) = ?1 || '/' AND substr(name, 1, length(?2) + 1) <> ?2 || '.')
            OR (substr(?1 || '/', 1, length(root) + 1) = root || '/' AND substr(?2, 1, length(name) + 1) <> name || '.'))
            LIMIT 1";
        let mut query = self.0.prepare_cached(sql)?;
        let params = params![rows::text(root), id.as_str(), now.as_str()];
        Ok(query.query_row(params, |row| row.get(0)).optional()?)
    }

    /// Until when there may be no login, and why; `None` when there may.
    ///
    /// # Errors
    /// SQLite's.
    pub fn bar(&self, now: u64) -> Result<Option<(u64, Fault)>> {
        Ok(rows::bar(&self.0)?.filter(|(until, _)| *until > now))
    }

    /// Sets or lifts that.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_bar(&mut self, bar: Option<(u64, &Fault)>) -> Result<()> {
        match bar {
            Some((until, fault)) => {
                let sql = "INSERT OR REPLACE INTO bar (one, until, error) VALUES (1, ?1, ?2)";
                self.0.execute(sql, params![until, rows::json(fault)])?;
            }
            None => drop(self.0.execute("DELETE FROM bar", [])?),
        }
        Ok(())
    }

    /// Counts a login at the vault, and gives how many there were on that day.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count_login(&mut self, day: u64) -> Result<u32> {
        self.change(|db| {
            // Nobody asks what was long ago.
            db.execute("DELETE FROM logins WHERE day < ?1", [day.saturating_sub(KEPT_DAYS)])?;
            let sql = "INSERT INTO logins (day, count) VALUES (?1, 1)
                ON CONFLICT (day) DO UPDATE SET count = count + 1 RETURNING count";
            Ok(db.query_row(sql, [day], |row| row.get(0))?)
        })
    }

    /// How many logins at the vault there were on that day.
    ///
    /// # Errors
    /// SQLite's.
    pub fn logins(&self, day: u64) -> Result<u32> {
        let mut query = self.0.prepare_cached("SELECT count FROM logins WHERE day = ?1")?;
        Ok(query.query_row([day], |row| row.get(0)).optional()?.unwrap_or_default())
    }

    /// Those have what the vault has: they are looked after by themselves only then. Who
    /// failed meanwhile, or is at work, keeps what was planned.
    ///
    /// # Errors
    /// SQLite's.
    pub fn postpone(&mut self, tenants: &[(TenantId, u64)]) -> Result<()> {
        self.change(|db| {
            let sql = "UPDATE tenants SET next_try = ?2
                WHERE name = ?1 AND error IS NULL AND unsure = 0 AND next_try IS NOT NULL";
            let mut query = db.prepare_cached(sql)?;
            for (id, next_try) in tenants {
                query.execute(params![id.as_str(), next_try])?;
            }
            Ok(())
        })
    }

    /// Adds a tenant.
    ///
    /// # Errors
    /// SQLite's.
    pub fn insert(&mut self, id: &TenantId, root: &Path, settings: &Settings, now: u64) -> Result<()> {
        let sql = "INSERT INTO tenants (name, root, settings, registered) VALUES (?1, ?2, ?3, ?4)";
        self.0.execute(sql, params![id.as_str(), rows::text(root), rows::json(settings), now])?;
        Ok(())
    }

    /// Sets root and settings; with another collection, forgets the pinned id, with
    /// another root, which directory that was.
    ///
    /// # Errors
    /// SQLite's.
    pub fn update(&mut self, id: &TenantId, root: &Path, settings: &Settings) -> Result<()> {
        let same = |keys: &[&str]| {
            let each = keys.iter().map(|key| format!("settings ->> '{key}' IS ?3 ->> '{key}'"));
            each.collect::<Vec<_>>().join(" AND ")
        };
        let place = same(&["collection", "organization", "collection-id"]);
        // Who chooses other keys may have chosen fewer: any but none is believed at once.
        let choice = format!("{place} AND {}", same(&["only", "fields", "attachments"]));
        let sql = format!(
            "UPDATE tenants SET root = ?2, settings = ?3, failures = 0,
            shrunken_since = CASE WHEN {choice} THEN NULL ELSE 0 END,
            shrunken_to = CASE WHEN {choice} THEN NULL ELSE 1 END,
            identity = CASE WHEN root = ?2 THEN identity END,
            action_error = CASE WHEN settings = ?3 THEN action_error END,
            fingerprint = CASE WHEN settings = ?3 AND root = ?2 THEN fingerprint END,
            collection_id = CASE WHEN {place} THEN collection_id END
            WHERE name = ?1"
        );
        self.0.execute(&sql, params![id.as_str(), rows::text(root), rows::json(settings)])?;
        Ok(())
    }

    /// Forgets a tenant and its history.
    ///
    /// # Errors
    /// SQLite's.
    pub fn delete(&mut self, id: &TenantId) -> Result<()> {
        self.0.execute("DELETE FROM tenants WHERE name = ?1", [id.as_str()])?;
        Ok(())
    }

    /// Notes that a provision is under way, so that it is done again if this
    /// process dies. A tenant that is not kept up by itself takes one only when
    /// somebody asks for it, and is kept up again once its jail starts.
    ///
    /// # Errors
    /// `NoTenant`, `Status`, or SQLite's.
    pub fn begin(&mut self, id: &TenantId, reason: Reason, now: u64) -> Result<Tenant> {
        self.change(|db| {
            let mut tenant = rows::tenant(db, id)?.ok_or_else(|| StoreError::NoTenant(id.clone()))?;
            match reason {
                Reason::Hook => tenant.status = step(db, &tenant, Turn::Started)?,
                Reason::Operator if tenant.status != Status::Destroyed => {}
                _ if tenant.keeps_up() => {}
                _ => return Err(StoreError::Status(id.clone(), tenant.status)),
            }
            // Whoever asks for secrets now does not want them removed any more.
            // Until it is recorded how this ends, the file may be another than before.
            let sql = "UPDATE tenants SET next_try = ?2, removal_due = 0, unsure = 1 WHERE name = ?1";
            db.prepare_cached(sql)?.execute(params![id.as_str(), now])?;
            tenant.placed = rows::begin_files(db, &tenant)?;
            Ok(tenant)
        })
    }

    /// Records how a provision ended, and what that means for its tenant. One
    /// that was stopped since the provision began is not woken by it.
    ///
    /// # Errors
    /// `NoTenant`, `Status`, or SQLite's; nothing is recorded then.
    pub fn end(&mut self, end: &End) -> Result<(u64, Life)> {
        self.change(|db| {
            let id = &end.provision.tenant;
            let tenant = rows::tenant(db, id)?.ok_or_else(|| StoreError::NoTenant(id.clone()))?;
            let halted =
                tenant.removal_due || (tenant.status == Status::Stopped && end.began != tenant.status);
            match &end.held {
                Some(held) => {
                    if !halted {
                        step(db, &tenant, Turn::Provisioned)?;
                    }
                    rows::succeeded(db, end, held)?;
                    if let Some(fault) = &end.provision.error {
                        // Of another file.
                        let sql = "UPDATE tenants SET error = ?2, failures = ?3 WHERE name = ?1";
                        let failures = tenant.failures.saturating_add(1);
                        db.execute(sql, params![id.as_str(), rows::json(fault), failures])?;
                    }
                }
                None => rows::failed(db, end)?,
            }
            for file in &end.files {
                let owed = tenant.placed.iter().find(|placed| placed.id == file.id);
                let owed = owed.filter(|_| !halted).map_or(0, |placed| placed.state.action_due);
                let action_due = if halted { 0 } else { owed.saturating_add(file.state.action_due) };
                rows::put_file(db, file.id, &FileState { action_due, ..file.state.clone() })?;
            }
            rows::delete_files(db, &end.gone)?;
            if halted {
                let sql = "UPDATE tenants SET next_try = NULL, action_due = 0 WHERE name = ?1";
                db.prepare_cached(sql)?.execute([id.as_str()])?;
            }
            let number = rows::append(db, &end.provision, HISTORY)?;
            Ok((number, if halted { Life::Halted } else { Life::GoesOn }))
        })
    }

    /// Records that the file is gone, that there was none, or that it could not be
    /// removed and is still to be; then it is tried again at `next_try`.
    ///
    /// # Errors
    /// `NoTenant`, or SQLite's.
    pub fn removed(&mut self, provision: &Provision, which: Which, next_try: Option<u64>) -> Result<u64> {
        self.change(|db| {
            let id = provision.tenant.as_str();
            match &provision.error {
                None => gone(db, id, which, provision.at)?,
                Some(fault) => {
                    let sql = "UPDATE tenants SET error = ?2, failures = failures + 1, next_try = ?3
                        WHERE name = ?1";
                    db.execute(sql, params![id, rows::json(fault), next_try])?;
                }
            }
            Ok(rows::append(db, provision, HISTORY)?)
        })
    }

    /// Records which further files are gone that the settings do not have any more.
    ///
    /// # Errors
    /// SQLite's.
    pub fn dropped(&mut self, provision: &Provision, gone: &[u32]) -> Result<u64> {
        self.change(|db| {
            rows::delete_files(db, gone)?;
            Ok(rows::append(db, provision, HISTORY)?)
        })
    }

    /// Notes that a further file's own action was run for so many changes.
    ///
    /// # Errors
    /// SQLite's.
    pub fn acted_on_file(&mut self, id: &TenantId, file: u32, done: u32) -> Result<()> {
        self.change(|db| {
            let found = rows::tenant(db, id)?.and_then(|tenant| {
                tenant.placed.into_iter().find(|placed| placed.id == file).map(|placed| placed.state)
            });
            match found {
                Some(state) => {
                    let action_due = state.action_due.saturating_sub(done);
                    Ok(rows::put_file(db, file, &FileState { action_due, ..state })?)
                }
                None => Ok(()),
            }
        })
    }

    /// Records that the operator says that the file is gone.
    ///
    /// # Errors
    /// SQLite's.
    pub fn given_up(&mut self, id: &TenantId, which: Which, now: u64) -> Result<()> {
        self.change(|db| Ok(gone(db, id.as_str(), which, now)?))
    }

    /// Takes a directory for the tenant's root from now on.
    ///
    /// # Errors
    /// SQLite's.
    pub fn accept(&mut self, id: &TenantId, identity: &Identity) -> Result<()> {
        let sql = "UPDATE tenants SET identity = ?2, failures = 0 WHERE name = ?1";
        self.0.execute(sql, params![id.as_str(), rows::json(identity)])?;
        Ok(())
    }

    /// Records that the tenant's root, as it is known, has another path now.
    ///
    /// # Errors
    /// SQLite's.
    pub fn moved(&mut self, id: &TenantId, root: &Path) -> Result<()> {
        let sql = "UPDATE tenants SET root = ?2 WHERE name = ?1";
        self.0.execute(sql, params![id.as_str(), rows::text(root)])?;
        Ok(())
    }

    /// Gives a tenant another name, root and settings; its row goes on, and so do its
    /// history, its collection's id and its jail's user. What was destroyed under the
    /// new name is forgotten, and its user is nobody's.
    ///
    /// # Errors
    /// `NoTenant`, or SQLite's.
    pub fn rename(
        &mut self,
        id: &TenantId,
        to: &TenantId,
        root: &Path,
        settings: &Settings,
        moved: bool,
    ) -> Result<()> {
        let (root, settings) = (rows::text(root), rows::json(settings));
        self.change(|db| {
            if to != id {
                db.execute("DELETE FROM tenants WHERE name = ?1", [to.as_str()])?;
                db.execute("DELETE FROM agents WHERE jail = ?1", [to.as_str()])?;
                // No jail has a blank in its name.
                let sql = "UPDATE agent_users SET jail = 'was ' || jail || ' ' || uid WHERE jail = ?1";
                db.execute(sql, [to.as_str()])?;
                db.execute("UPDATE agent_users SET jail = ?2 WHERE jail = ?1", [id.as_str(), to.as_str()])?;
                // Its mark is that of a jail under the old name.
                db.execute("DELETE FROM agents WHERE jail = ?1", [id.as_str()])?;
            }
            let sql = "UPDATE tenants SET name = ?2, root = ?3, settings = ?4, failures = 0,
                identity = CASE WHEN ?5 THEN identity END WHERE name = ?1";
            match db.execute(sql, params![id.as_str(), to.as_str(), root, settings, moved])? {
                0 => Err(StoreError::NoTenant(id.clone())),
                _ => Ok(()),
            }
        })
    }

    /// Takes a turn; a tenant that is not active any more is not tried again.
    /// A removal that is to follow is done after a crash too.
    ///
    /// # Errors
    /// `NoTenant`, `Status`, or SQLite's.
    pub fn turn(&mut self, id: &TenantId, event: Turn, file: File) -> Result<Status> {
        self.change(|db| {
            let tenant = rows::tenant(db, id)?.ok_or_else(|| StoreError::NoTenant(id.clone()))?;
            let status = step(db, &tenant, event)?;
            let sql = "UPDATE tenants SET next_try = NULL, action_due = 0, removal_due = ?2 WHERE name = ?1";
            db.execute(sql, params![id.as_str(), file == File::Goes])?;
            let sql = "UPDATE files SET state = json_set(state, '$.action-due', 0)
                WHERE tenant = (SELECT id FROM tenants WHERE name = ?1)";
            db.execute(sql, [id.as_str()])?;
            Ok(status)
        })
    }

    /// Asks for the removal of what a provision may have left, or may be about to
    /// write, for a tenant that has not got its secrets or is stopped. Tells whether
    /// there can be any.
    ///
    /// # Errors
    /// `NoTenant`, or SQLite's.
    pub fn withdraw(&mut self, id: &TenantId) -> Result<bool> {
        self.change(|db| {
            let tenant = rows::tenant(db, id)?.ok_or_else(|| StoreError::NoTenant(id.clone()))?;
            let due = tenant.status != Status::Active && tenant.keys.is_empty() && !tenant.is_clean();
            if due {
                let sql = "UPDATE tenants SET next_try = NULL, removal_due = 1 WHERE name = ?1";
                db.execute(sql, [id.as_str()])?;
            }
            Ok(due)
        })
    }

    /// Notes how an action after so many changes ended: a failure is kept with the
    /// tenant and with the provision that brought the change. What has changed since
    /// it began stays to be done.
    ///
    /// # Errors
    /// SQLite's.
    pub fn acted(&mut self, id: &TenantId, done: u32, failure: Option<&Fault>) -> Result<()> {
        self.change(|db| {
            let tenant = "UPDATE tenants SET action_due = max(action_due - ?2, 0), action_error = ?3
                WHERE name = ?1";
            db.execute(tenant, params![id.as_str(), done, failure.map(rows::json)])?;
            if let Some(fault) = failure {
                let sql = "UPDATE provisions SET error = ?2 WHERE number = (
                    SELECT max(number) FROM provisions WHERE outcome = 'written'
                    AND tenant = (SELECT id FROM tenants WHERE name = ?1))";
                db.execute(sql, params![id.as_str(), rows::json(fault)])?;
            }
            Ok(())
        })
    }

    /// The newest provisions, newest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn history(&self, id: Option<&TenantId>, limit: u32) -> Result<Vec<Provision>> {
        Ok(rows::history(&self.0, id, limit, ANSWER)?)
    }

    /// All agents, by jail.
    ///
    /// # Errors
    /// SQLite's.
    pub fn agents(&self) -> Result<Vec<Agent>> {
        Ok(rows::agents(&self.0, None)?)
    }

    /// The newest agent of a jail.
    ///
    /// # Errors
    /// SQLite's.
    pub fn agent(&self, jail: &JailName) -> Result<Option<Agent>> {
        Ok(rows::agents(&self.0, Some(jail))?.pop())
    }

    /// Writes a jail's agent over the one there was.
    ///
    /// # Errors
    /// SQLite's.
    pub fn put_agent(&mut self, agent: &Agent) -> Result<()> {
        Ok(rows::put_agent(&self.0, agent)?)
    }

    /// The user that a jail's agents are on the host.
    ///
    /// # Errors
    /// SQLite's.
    pub fn agent_uid(&self, jail: &JailName) -> Result<Option<u32>> {
        let sql = "SELECT uid FROM agent_users WHERE jail = ?1";
        Ok(self.0.query_row(sql, [jail.as_str()], |row| row.get(0)).optional()?)
    }

    /// The lowest within these bounds that is above all that were given there.
    ///
    /// # Errors
    /// SQLite's.
    pub fn next_agent_uid(&self, first: u32, last: u32) -> Result<Option<u32>> {
        let sql = "SELECT coalesce(max(uid) + 1, ?1) FROM agent_users WHERE uid BETWEEN ?1 AND ?2";
        let next: u32 = self.0.query_row(sql, params![first, last], |row| row.get(0))?;
        Ok(Some(next).filter(|next| *next <= last))
    }

    /// Gives a user to a jail that has none; the jail's, whichever it is then, or
    /// `None` if this one was just given to another.
    ///
    /// # Errors
    /// SQLite's.
    pub fn give_agent_uid(&mut self, jail: &JailName, uid: u32) -> Result<Option<u32>> {
        let sql = "INSERT OR IGNORE INTO agent_users (uid, jail) VALUES (?1, ?2)";
        self.0.execute(sql, params![uid, jail.as_str()])?;
        self.agent_uid(jail)
    }
}

/// A tenant that is kept up gets a new file, after a crash too.
fn gone(db: &Connection, id: &str, which: Which, now: u64) -> rusqlite::Result<()> {
    let all = which == Which::All;
    let sql = "UPDATE tenants SET keys = '[]', removal_due = removal_due AND NOT ?3, unsure = 0, error = NULL, action_error = NULL, failures = 0,
        shrunken_since = NULL, shrunken_to = NULL,
        next_try = CASE WHEN status = 'active' THEN ?2 END WHERE name = ?1";
    db.execute(sql, params![id, now, all])?;
    if !all {
        return Ok(());
    }
    db.execute("DELETE FROM files WHERE tenant = (SELECT id FROM tenants WHERE name = ?1)", [id])?;
    Ok(())
}

fn step(db: &Connection, tenant: &Tenant, event: Turn) -> Result<Status> {
    let status =
        turn(tenant.status, event).ok_or_else(|| StoreError::Status(tenant.id.clone(), tenant.status))?;
    let sql = "UPDATE tenants SET status = ?2 WHERE name = ?1";
    db.prepare_cached(sql)?.execute(params![tenant.id.as_str(), status.as_str()])?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_control::Outcome;

    fn db() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let mut db = Db::open(&dir.path().join("tenants.db")).unwrap();
        db.insert(&id("web"), Path::new("/j/web"), &Settings::default(), 1).unwrap();
        (dir, db)
    }

    fn id(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn end(error: Option<ErrorName>, warnings: Vec<String>) -> End {
        let outcome = if error.is_some() { Outcome::Failed } else { Outcome::Written };
        let held = error.is_none().then(|| Held { keys: Some(vec!["A".into()]), ..Held::default() });
        let error = error.map(|name| Fault::new(name, "why"));
        let (tenant, reason) = (id("web"), Reason::Hook);
        let (number, at, ms, keys, steps) = (0, 5, 2, 1, Vec::new());
        let provision = Provision {
            number,
            tenant,
            reason,
            at,
            ms,
            outcome,
            error,
            keys,
            steps,
            warnings,
            files: Vec::new(),
        };
        End {
            provision,
            began: Status::Provisioned,
            held,
            identity: None,
            next_try: Some(9),
            action_due: false,
            unsure: false,
            shrunken_to: None,
            files: Vec::new(),
            gone: Vec::new(),
        }
    }

    #[test]
    fn a_name_that_an_earlier_program_took_and_this_one_refuses_is_forgotten() {
        let (dir, db) = db();
        let tenant =
            "INSERT INTO tenants (name, root, settings, registered) VALUES ('colibri-bw', '/j/x', '{}', 1)";
        db.0.execute(tenant, []).unwrap();
        let agent = "INSERT INTO agents (jail, root, command, state, pid, identity, jail_ours, started, log)
            VALUES ('colibri-bw', '/j/x', '[]', 'running', 1, '', 0, 1, '/l')";
        db.0.execute(agent, []).unwrap();
        assert!(db.tenants().is_err() && db.agents().is_err(), "no list can be read");
        drop(db);
        let db = Db::open(&dir.path().join("tenants.db")).unwrap();
        assert_eq!(db.tenants().unwrap().iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["web"]);
        assert!(db.agents().unwrap().is_empty());
    }

    #[test]
    fn the_history_is_bounded_and_its_numbers_go_on() {
        let (_dir, mut db) = db();
        let numbers: Vec<u64> = (0..HISTORY + 5).map(|_| db.end(&end(None, Vec::new())).unwrap().0).collect();
        let history = db.history(Some(&id("web")), 0).unwrap();
        assert_eq!(history.len(), HISTORY as usize);
        assert_eq!(Some(&history[0].number), numbers.last());
        assert_eq!(db.history(None, 3).unwrap().len(), 3);
    }

    #[test]
    fn a_history_that_is_too_long_for_one_answer_begins_with_the_newest() {
        let (_dir, mut db) = db();
        let long = end(None, vec!["\"".repeat(500); 10]);
        let numbers: Vec<u64> = (0..10).map(|_| db.end(&long).unwrap().0).collect();
        let room = 50_000;
        let history = rows::history(&db.0, None, 0, room).unwrap();
        assert!((1..10).contains(&history.len()) && Some(&history[0].number) == numbers.last());
        assert!(serde_json::to_vec(&history).unwrap().len() < room);
    }

    #[test]
    fn a_provision_that_was_not_recorded_leaves_a_doubt_that_a_success_ends() {
        let (_dir, mut db) = db();
        let mut begin = || db.begin(&id("web"), Reason::Operator, 1).map(|tenant| tenant.unsure).unwrap();
        assert_eq!((begin(), begin()), (false, true));
        db.end(&end(Some(ErrorName::VaultTimeout), Vec::new())).unwrap();
        assert!(!db.known(&id("web")).unwrap().unsure);
        db.end(&End { unsure: true, ..end(Some(ErrorName::WriteFailed), Vec::new()) }).unwrap();
        assert!(db.known(&id("web")).unwrap().unsure);
        db.end(&end(None, Vec::new())).unwrap();
        assert!(!db.known(&id("web")).unwrap().unsure);
    }

    #[test]
    fn what_changes_while_an_action_runs_stays_to_be_done() {
        let (_dir, mut db) = db();
        let due = |db: &Db| db.known(&id("web")).unwrap().action_due;
        let changed = || End { action_due: true, ..end(None, Vec::new()) };
        db.end(&changed()).unwrap();
        let begun = due(&db);
        db.end(&changed()).unwrap();
        db.end(&changed()).unwrap();
        db.acted(&id("web"), begun, None).unwrap();
        assert_eq!(due(&db), 2);
        let begun = due(&db);
        // A tenant that is stopped owes nothing.
        db.turn(&id("web"), Turn::Stopped, File::Stays).unwrap();
        db.acted(&id("web"), begun, None).unwrap();
        assert_eq!(due(&db), 0);
    }

    #[test]
    fn logins_are_counted_by_the_day_and_forgotten_after_a_while() {
        let (_dir, mut db) = db();
        assert_eq!([7, 7, 8].map(|day| db.count_login(day).unwrap()), [1, 2, 1]);
        assert_eq!([6, 7, 8].map(|day| db.logins(day).unwrap()), [0, 2, 1]);
        db.count_login(8 + KEPT_DAYS).unwrap();
        assert_eq!([7, 8].map(|day| db.logins(day).unwrap()), [0, 1]);
    }

    #[test]
    fn what_a_tenant_got_last_is_known_until_other_settings_ask_for_more() {
        let (_dir, mut db) = db();
        let got = |db: &Db| db.known(&id("web")).unwrap().fingerprint;
        let brought = |fingerprint| {
            let mut success = end(None, Vec::new());
            success.held = Some(Held { fingerprint, ..Held::default() });
            success.next_try = Some(5);
            success
        };
        db.end(&brought(Some([7; 16]))).unwrap();
        assert_eq!(got(&db), Some([7; 16]));
        // It is looked after later; who has failed meanwhile is not.
        let planned = |db: &Db| db.known(&id("web")).unwrap().next_try;
        db.postpone(&[(id("web"), 9), (id("nobody"), 9)]).unwrap();
        assert_eq!(planned(&db), Some(9));
        let failed = End { next_try: Some(6), ..end(Some(ErrorName::VaultTimeout), Vec::new()) };
        db.end(&failed).unwrap();
        db.postpone(&[(id("web"), 9)]).unwrap();
        assert_eq!((planned(&db), got(&db)), (Some(6), Some([7; 16])));
        let root = db.known(&id("web")).unwrap().root;
        db.update(&id("web"), &root, &Settings { fields: true, ..Settings::default() }).unwrap();
        assert_eq!(got(&db), None);
        // What came without a word of what it was is not known either.
        db.end(&brought(Some([8; 16]))).unwrap();
        db.end(&brought(None)).unwrap();
        assert_eq!(got(&db), None);
    }

    #[test]
    fn a_root_within_another_is_taken_unless_the_names_say_so() {
        let (_dir, mut db) = db();
        db.insert(&id("in.ner"), Path::new("/j/in%"), &Settings::default(), 1).unwrap();
        let at = |root: &str, name: &str| db.at_root(Path::new(root), &id(name)).unwrap();
        for root in ["/j/web", "/j/web/root", "/j"] {
            assert!(at(root, "other").is_some(), "{root}");
        }
        for root in ["/j/web2", "/j/we", "/j/inn", "/k"] {
            assert_eq!(at(root, "other"), None, "{root}");
        }
        assert_eq!(at("/j/web/jails/x", "web.x"), None);
        assert_eq!(at("/j/in%/x", "in"), Some("in.ner".into()));
    }

    #[test]
    fn a_failure_is_shown_until_the_next_success() {
        let (_dir, mut db) = db();
        let shrunken = |to, at| {
            let mut end = End { shrunken_to: Some(to), ..end(Some(ErrorName::AnswerShrunken), Vec::new()) };
            end.provision.at = at;
            end
        };
        db.end(&shrunken(3, 5)).unwrap();
        let failed = db.known(&id("web")).unwrap();
        assert_eq!((failed.status, failed.failures), (Status::Provisioned, 1));
        assert_eq!((failed.shrunken_since, failed.last_success), (Some(5), None));
        // What is not smaller confirms it, what is smaller has to be seen again.
        for (to, at, since) in [(3, 6, 5), (4, 7, 5), (2, 8, 8)] {
            db.end(&shrunken(to, at)).unwrap();
            db.end(&end(Some(ErrorName::VaultTimeout), Vec::new())).unwrap();
            let seen = db.known(&id("web")).unwrap();
            assert_eq!((seen.shrunken_to, seen.shrunken_since), (Some(to), Some(since)));
        }
        db.end(&end(None, Vec::new())).unwrap();
        let healed = db.known(&id("web")).unwrap();
        assert_eq!((healed.status, healed.failures, healed.error), (Status::Active, 0, None));
        assert_eq!((healed.shrunken_since, healed.shrunken_to), (None, None));
        assert_eq!(healed.last_success, Some(7));
    }

    #[test]
    fn a_stopped_tenant_is_kept_up_again_from_its_next_start_even_if_that_fails() {
        let (_dir, mut db) = db();
        db.end(&end(None, Vec::new())).unwrap();
        db.turn(&id("web"), Turn::Stopped, File::Goes).unwrap();
        assert!(matches!(db.begin(&id("web"), Reason::Refresh, 1), Err(StoreError::Status(..))));
        assert_eq!(db.begin(&id("web"), Reason::Operator, 1).unwrap().status, Status::Stopped);
        assert_eq!(db.begin(&id("web"), Reason::Hook, 1).unwrap().status, Status::Active);
        db.end(&end(Some(ErrorName::VaultUnreachable), Vec::new())).unwrap();
        assert!(db.begin(&id("web"), Reason::Retry, 1).is_ok());
    }

    #[test]
    fn a_tenant_that_was_stopped_meanwhile_is_not_woken_by_the_provision() {
        let (_dir, mut db) = db();
        db.end(&end(None, Vec::new())).unwrap();
        db.begin(&id("web"), Reason::Refresh, 1).unwrap();
        db.turn(&id("web"), Turn::Stopped, File::Goes).unwrap();
        let late = End { began: Status::Active, ..end(None, Vec::new()) };
        assert_eq!(db.end(&late).unwrap().1, Life::Halted);
        let web = db.known(&id("web")).unwrap();
        assert_eq!((web.status, web.next_try, web.removal_due), (Status::Stopped, None, true));
        db.begin(&id("web"), Reason::Operator, 1).unwrap();
        let asked = End { began: Status::Stopped, ..end(None, Vec::new()) };
        assert_eq!(db.end(&asked).unwrap().1, Life::GoesOn);
        let web = db.known(&id("web")).unwrap();
        assert_eq!((web.status, web.removal_due), (Status::Active, false));
    }

    #[test]
    fn another_collection_forgets_the_pinned_one_and_other_settings_do_not() {
        let (_dir, mut db) = db();
        let mut success = end(None, Vec::new());
        success.held = Some(Held { collection_id: Some("c".into()), ..Held::default() });
        db.end(&success).unwrap();
        let pinned = |db: &Db| db.known(&id("web")).unwrap().collection_id;
        let mut settings = Settings { fields: true, ..Settings::default() };
        db.update(&id("web"), Path::new("/j/web"), &settings).unwrap();
        assert_eq!(pinned(&db).as_deref(), Some("c"));
        settings.collection = Some("other".parse().unwrap());
        db.update(&id("web"), Path::new("/j/web"), &settings).unwrap();
        assert_eq!(pinned(&db), None);
    }

    #[test]
    fn a_bar_holds_until_its_time_or_until_it_is_lifted() {
        let (_dir, mut db) = db();
        assert_eq!(db.bar(0).unwrap(), None);
        let fault = Fault::new(ErrorName::RateLimited, "slow down");
        for until in [3, 5] {
            db.set_bar(Some((until, &fault))).unwrap();
        }
        assert_eq!(db.bar(4).unwrap(), Some((5, fault)));
        assert_eq!(db.bar(5).unwrap(), None);
        db.set_bar(None).unwrap();
        assert_eq!(db.bar(0).unwrap(), None);
    }

    #[test]
    fn a_full_disk_is_an_error_and_loses_no_row() {
        let (_dir, mut db) = db();
        let pages: u32 = db.0.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        db.0.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, u32>(0)).unwrap();
        let before = db.known(&id("web")).unwrap();
        let large = end(None, vec!["x".repeat(100_000)]);
        let refused = Fault::from(db.end(&large).unwrap_err());
        assert_eq!(refused.name, ErrorName::StoreFailed);
        assert_eq!(db.known(&id("web")).unwrap(), before);
        db.0.query_row("PRAGMA max_page_count = 1000000", [], |row| row.get::<_, u32>(0)).unwrap();
        db.end(&large).unwrap();
    }

    #[test]
    fn a_database_of_a_newer_program_is_refused() {
        let (dir, db) = db();
        db.0.pragma_update(None, "user_version", 1000).unwrap();
        drop(db);
        assert!(matches!(Db::open(&dir.path().join("tenants.db")), Err(StoreError::Newer)));
    }
}
