//! What each request does. It knows nothing of sockets.

use crate::action;
use crate::agent::Agents;
use crate::bell::Bell;
use crate::clock;
use crate::confinement;
use crate::events::Events;
use crate::hook::provision_tenant_env;
use crate::provision::{Provisioner, Work, plain};
use crate::session::{Reload, Session};
use crate::settings::Config;
use crate::store::{Db, File, Store, Which};
use crate::tenant::{Target, Tenant, Turn, check};
use colibri_control::{Answer, Event, Reason, Registration, Request, Secrets, SetupView, StatusView};
use colibri_tenant::{
    ErrorName, Fault, FilePath, FileSettings, JailName, OnChange, Settings, Status, TenantId,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Everything that a request may touch.
#[derive(Clone, Debug)]
pub struct Service {
    /// Checked settings.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// The vault session.
    pub session: Session,
    /// What tells of changes at the vault.
    pub bell: Bell,
    /// The provisioner.
    pub provisioner: Provisioner,
    /// The agents.
    pub agents: Agents,
    /// What happens.
    pub events: Events,
    /// When the daemon started.
    pub started: u64,
}

/// Between two looks at files that the session fails by.
const LOOK: Duration = Duration::from_secs(2);

type Answered = Result<Answer, Fault>;

impl Service {
    /// Does what is asked. `watch` is the server's own business.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn answer(&self, request: Request) -> Answered {
        match request {
            Request::RegisterTenant { tenant, root, settings } => {
                self.register(tenant, &root, *settings).await
            }
            Request::UpdateTenant { tenant, root: None, changes, dry_run: true, .. } => {
                self.preview(tenant, changes).await
            }
            Request::UpdateTenant { dry_run: true, .. } => {
                Err(bad("a move of the jail cannot be tried: only settings can"))
            }
            Request::UpdateTenant { tenant, root, changes, secrets, dry_run: false } => {
                Box::pin(self.update(tenant, root, changes, secrets)).await
            }
            Request::ListFiles { tenant } => {
                let tenant = self.tenant(&tenant).await?;
                let view = tenant.view(self.config.owner, self.config.settings.deadline, false);
                Ok(Answer::Files(view.files))
            }
            Request::AddFile { tenant, file, settings, dry_run } => {
                Box::pin(self.add_file(tenant, file, *settings, dry_run)).await
            }
            Request::UpdateFile { tenant, file, changes, dry_run } => {
                Box::pin(self.update_file(tenant, file, changes, dry_run)).await
            }
            Request::RemoveFile { tenant, file, secrets } => {
                Box::pin(self.remove_file(tenant, file, secrets)).await
            }
            Request::AcceptRoot { tenant } => self.accept(tenant).await,
            Request::CheckRoot { tenant } => {
                let tenant = self.tenant(&tenant).await?;
                self.provisioner.roots().of(&tenant).await.map(|_| Answer::Done)
            }
            Request::ShowTenant { tenant } => self.show(&tenant).await,
            Request::ListTenants {} => self.list().await,
            Request::ListRegistrations {} => self.registrations().await,
            Request::UnregisterTenant { tenant, secrets } => self.unregister(tenant, secrets).await,
            Request::RemoveTenant { tenant, secrets } => self.remove(tenant, secrets).await,
            Request::RenameTenant { tenant, to, root, secrets } => {
                Box::pin(self.rename(&tenant, to, root, secrets)).await
            }
            Request::Provision { tenant } => self.provision(tenant).await,
            Request::Hook { jail, root } => {
                let hook = provision_tenant_env(&self.provisioner, &jail, &root).await;
                Ok(Answer::Hook(Box::new(hook)))
            }
            Request::SpawnAgent { jail, root, command } => {
                let spawned = self.agents.spawn(&jail, &root, command).await?;
                Ok(Answer::Spawned(Box::new(spawned)))
            }
            Request::ListAgents {} => {
                let agents = self.store.with(|db| db.agents()).await?;
                Ok(Answer::Agents(agents.into_iter().map(|agent| agent.view).collect()))
            }
            Request::StopAgent { jail, remove_secrets } => self.stop(jail, remove_secrets).await,
            Request::DestroyTenant { tenant, secrets } => self.destroy(tenant, secrets).await,
            Request::Diff { tenant } => {
                let diff = self.provisioner.compare(&tenant).await?;
                Ok(Answer::Diff(Box::new(diff)))
            }
            Request::History { tenant, limit } => {
                let history = self.store.with(move |db| {
                    tenant.as_ref().map(|id| db.known(id)).transpose()?;
                    db.history(tenant.as_ref(), limit)
                });
                let history = history.await?;
                Ok(Answer::Provisions(history))
            }
            Request::Status {} => self.status().await,
            Request::CheckVault {} => {
                let time = self.config.settings.deadline;
                self.session
                    .check(time)
                    .await
                    .map_err(|failure| Fault::new(failure.name, plain(&failure.message)))?;
                self.status().await
            }
            Request::Collections {} => {
                let seen = self.session.collections(self.config.settings.deadline).await;
                seen.map(Answer::Collections)
                    .map_err(|failure| Fault::new(failure.name, plain(&failure.message)))
            }
            Request::KnownCollections {} => self.known_collections().await,
            Request::Reload {} => self.reload(Reload::Asked).await,
            Request::Watch {} => Ok(Answer::Watching),
        }
    }

    /// Takes up other credentials and another CA.
    ///
    /// # Errors
    /// `CredentialsUnreadable`.
    pub async fn reload(&self, why: Reload) -> Answered {
        if self.session.reload(why).await? {
            self.provisioner.wake();
        }
        Ok(Answer::Done)
    }

    /// While the session fails by a file, waits for another: nobody has to say so.
    pub async fn watch_files(self) {
        loop {
            sleep(LOOK).await;
            if self.session.status().awaits_operator() {
                // What went wrong is in the log.
                drop(self.reload(Reload::Watched).await);
            }
        }
    }

    async fn tenant(&self, id: &TenantId) -> Result<Tenant, Fault> {
        let id = id.clone();
        Ok(self.store.with(move |db| db.known(&id)).await?)
    }

    async fn show(&self, id: &TenantId) -> Answered {
        let known = id.clone();
        let found = self.store.with(move |db| Ok((db.known(&known)?, db.history(Some(&known), 1)?)));
        let (tenant, newest) = found.await?;
        let busy = self.provisioner.busy().await.contains(id);
        let mut view = tenant.view(self.config.owner, self.config.settings.deadline, busy);
        view.warnings = newest.into_iter().next().map(|attempt| attempt.warnings).unwrap_or_default();
        Ok(Answer::Tenant(Box::new(view)))
    }

    async fn list(&self) -> Answered {
        let tenants = self.store.with(|db| db.tenants()).await?;
        let busy = self.provisioner.busy().await;
        let (owner, deadline) = (self.config.owner, self.config.settings.deadline);
        let view = |tenant: Tenant| {
            let busy = busy.contains(&tenant.id);
            tenant.view(owner, deadline, busy)
        };
        Ok(Answer::Tenants(tenants.into_iter().map(view).collect()))
    }

    async fn known_collections(&self) -> Answered {
        let tenants = self.store.with(|db| db.tenants()).await?;
        let mut known = self.session.status().collections;
        known.names.extend(tenants.iter().map(|tenant| plain(tenant.collection())));
        known.names.sort_unstable();
        known.names.dedup();
        Ok(Answer::Collections(known))
    }

    async fn registrations(&self) -> Answered {
        let mut tenants = self.store.with(|db| db.tenants()).await?;
        tenants.retain(|tenant| tenant.status != Status::Destroyed);
        let all = tenants
            .into_iter()
            .map(|tenant| (tenant.id, Registration { root: tenant.root, settings: tenant.settings }));
        Ok(Answer::Registrations(all.collect()))
    }

    /// Whether these can be a tenant's settings on this host.
    fn admit(&self, settings: &Settings) -> Result<(), Fault> {
        check(settings, self.config.owner)?;
        let files = settings.files.values().filter_map(|file| file.on_change.as_ref());
        files.chain([&settings.on_change]).try_for_each(|on_change| match on_change {
            OnChange::Action(name) => action::find(&self.config.settings.actions, name)
                .map(drop)
                .map_err(|error| bad(&plain(&format!("on-change: {error:#}")))),
            OnChange::None | OnChange::RestartAgent | OnChange::Signal(_) | OnChange::Command(_) => Ok(()),
        })
    }

    /// Where a tenant's root is, or is to be.
    async fn place(&self, id: &TenantId, root: &Path) -> Result<PathBuf, Fault> {
        let roots = self.provisioner.roots();
        let place = match roots.check(id, root).await {
            Ok(there) => there.place().clone(),
            // A jail that is not there yet.
            Err(fault) if fault.name == ErrorName::RootNotMounted => roots.place(root)?,
            Err(fault) => return Err(fault),
        };
        roots.is_root(id, &place).await?;
        Ok(place.path())
    }

    async fn register(&self, id: TenantId, root: &Path, settings: Settings) -> Answered {
        self.admit(&settings)?;
        let root = self.place(&id, root).await?;
        let refresh = u64::from(settings.refresh) * 1000;
        let name = id.clone();
        let inserted = self.store.with(move |db| match db.tenant(&name)? {
            Some(there) if there.is(&root, &settings) => Ok(Ok(false)),
            Some(there) if there.status != Status::Destroyed => Ok(Err(conflict(&there))),
            // A jail of that name is made anew: what was destroyed is forgotten.
            there => match db.at_root(&root, &name)? {
                Some(other) => Ok(Err(taken(&root, &other))),
                None => {
                    there.map_or(Ok(()), |_| db.delete(&name))?;
                    db.insert(&name, &root, &settings, clock::now()).map(|()| Ok(true))
                }
            },
        });
        if inserted.await?? {
            self.announce(&id, Some(Status::Provisioned));
            if refresh > 0 {
                // Kept up by itself from the beginning, also when nobody asks first.
                self.provisioner.schedule(&id, Some(clock::now() + refresh));
            }
        }
        self.show(&id).await
    }

    async fn update(
        &self,
        id: TenantId,
        root: Option<PathBuf>,
        changes: Map<String, Value>,
        secrets: Secrets,
    ) -> Answered {
        let tenant = self.tenant(&id).await?;
        Box::pin(self.change(tenant, root, changes, secrets)).await
    }

    /// The tenant is as it was looked at: if it is another by the time that everything is
    /// checked and unlinked, nothing is changed.
    async fn change(
        &self,
        mut tenant: Tenant,
        root: Option<PathBuf>,
        changes: Map<String, Value>,
        secrets: Secrets,
    ) -> Answered {
        let id = tenant.id.clone();
        if tenant.status == Status::Destroyed {
            return Err(Fault::new(ErrorName::WrongState, format!("{id} is destroyed: register it anew")));
        }
        let settings = merge(&tenant.settings, changes)?;
        self.admit(&settings)?;
        let root = match root {
            Some(root) => self.place(&id, &root).await?,
            None => tenant.root.clone(),
        };
        let place = root.clone();
        let name = id.clone();
        if let Some(other) = self.store.with(move |db| db.at_root(&place, &name)).await? {
            return Err(taken(&root, &other));
        }
        if root != tenant.root && self.has_moved(&tenant, &root).await {
            let (name, place) = (id.clone(), root.clone());
            self.store.with(move |db| db.moved(&name, &place)).await?;
            tenant.root.clone_from(&root);
        }
        let left = self.leave(&tenant, &root, &settings, secrets).await?;
        let updated = self.store.with(move |db| {
            if let Some(other) = db.at_root(&root, &tenant.id)? {
                return Ok(Err(taken(&root, &other)));
            }
            let now = db.known(&tenant.id)?;
            if !now.is_set_as(&tenant) || left.is_some_and(|left| !now.is_clean_of(left)) {
                return Ok(Err(meanwhile(&now.id)));
            }
            db.update(&now.id, &root, &settings).map(|()| Ok(now))
        });
        let updated = match updated.await? {
            Ok(updated) => updated,
            Err(fault) => {
                self.put_back(&id).await;
                return Err(fault);
            }
        };
        self.drop_files(&id, secrets).await?;
        // What has secrets shall have them as they are set now.
        if updated.status == Status::Active {
            self.provisioner.schedule(&id, Some(clock::now()));
        }
        self.show(&id).await
    }

    /// Unlinks the further files that the settings do not have any more. What cannot be
    /// unlinked now is tried again with the tenant's next provision.
    async fn drop_files(&self, id: &TenantId, secrets: Secrets) -> Result<(), Fault> {
        if self.tenant(id).await?.stray().next().is_none() {
            return Ok(());
        }
        let provision = self.provisioner.run(id, Work::Drop).await?;
        let Some(fault) = provision.error.clone() else { return Ok(()) };
        if secrets == Secrets::There || !fault.is_out_of_reach() {
            return Err(fault);
        }
        tracing::warn!(tenant = %id, "{fault}; the operator says that the secrets are gone");
        let gone: Vec<_> = self.tenant(id).await?.stray().map(|placed| placed.id).collect();
        self.store.with(move |db| db.dropped(&provision, &gone)).await?;
        Ok(())
    }

    async fn add_file(
        &self,
        id: TenantId,
        file: FilePath,
        settings: FileSettings,
        dry_run: bool,
    ) -> Answered {
        let tenant = self.tenant(&id).await?;
        let mut files = tenant.settings.files.clone();
        if files.get(&file).is_some_and(|there| *there != settings) {
            let message = format!("{id} has {file} with other settings: `colibri update-file`");
            return Err(Fault::new(ErrorName::TenantConflict, message));
        }
        files.insert(file, settings);
        self.set_files(tenant, &files, dry_run, Secrets::There).await
    }

    async fn update_file(
        &self,
        id: TenantId,
        file: FilePath,
        changes: Map<String, Value>,
        dry_run: bool,
    ) -> Answered {
        let tenant = self.tenant(&id).await?;
        let mut files = tenant.settings.files.clone();
        let there = files.get_mut(&file).ok_or_else(|| no_file(&id, &file))?;
        *there = merge(there, changes)?;
        self.set_files(tenant, &files, dry_run, Secrets::There).await
    }

    /// One that is not in the settings any more may still have to be unlinked.
    async fn remove_file(&self, id: TenantId, file: FilePath, secrets: Secrets) -> Answered {
        let tenant = self.tenant(&id).await?;
        let mut files = tenant.settings.files.clone();
        if files.remove(&file).is_none() && !tenant.stray().any(|placed| placed.path == file) {
            return Err(no_file(&id, &file));
        }
        self.set_files(tenant, &files, false, secrets).await
    }

    async fn set_files(
        &self,
        tenant: Tenant,
        files: &BTreeMap<FilePath, FileSettings>,
        dry_run: bool,
        secrets: Secrets,
    ) -> Answered {
        let files = serde_json::to_value(files).map_err(|error| bad(&error.to_string()))?;
        let changes = Map::from_iter([("files".to_owned(), files)]);
        match dry_run {
            true => self.preview(tenant.id, changes).await,
            false => Box::pin(self.change(tenant, None, changes, secrets)).await,
        }
    }

    /// What a provision would change with other settings.
    async fn preview(&self, id: TenantId, changes: Map<String, Value>) -> Answered {
        let settings = merge(&self.tenant(&id).await?.settings, changes)?;
        self.admit(&settings)?;
        Ok(Answer::Diff(Box::new(self.provisioner.preview(&id, settings).await?)))
    }

    /// Whether that is the tenant's own jail at another path.
    async fn has_moved(&self, tenant: &Tenant, root: &Path) -> bool {
        let moved = Tenant { root: root.into(), ..tenant.clone() };
        tenant.identity.is_some() && self.provisioner.roots().of(&moved).await.is_ok()
    }

    /// A file that will be written elsewhere from now on is not left behind. Tells which
    /// those are.
    async fn leave(
        &self,
        tenant: &Tenant,
        root: &Path,
        settings: &Settings,
        secrets: Secrets,
    ) -> Result<Option<Which>, Fault> {
        let owner = self.config.owner;
        let (old, new) = (Target::new(&tenant.settings, owner)?, Target::new(settings, owner)?);
        let stays = root == tenant.root;
        if stays && old.same_place(&new) {
            return Ok(None);
        }
        let which = if stays && !tenant.removal_due { Which::First } else { Which::All };
        if !tenant.is_clean_of(which) {
            self.unlink(&tenant.id, which, secrets).await?;
        }
        Ok(Some(which))
    }

    /// Removes the tenant's files.
    async fn clear(&self, id: &TenantId, secrets: Secrets) -> Result<(), Fault> {
        self.unlink(id, Which::All, secrets).await
    }

    /// One that is not to be found is still to be removed, unless the operator says that
    /// it is gone.
    async fn unlink(&self, id: &TenantId, which: Which, secrets: Secrets) -> Result<(), Fault> {
        let provision = self.provisioner.run(id, Work::Remove(which)).await?;
        let Some(fault) = provision.error else { return Ok(()) };
        if secrets == Secrets::There || !fault.is_out_of_reach() {
            return Err(fault);
        }
        tracing::warn!(tenant = %id, "{fault}; the operator says that the secrets are gone");
        let name = id.clone();
        Ok(self.store.with(move |db| db.given_up(&name, which, clock::now())).await?)
    }

    async fn accept(&self, id: TenantId) -> Answered {
        let tenant = self.tenant(&id).await?;
        if tenant.status == Status::Destroyed {
            return Err(Fault::new(ErrorName::WrongState, format!("{id} is destroyed: register it anew")));
        }
        let root = self.provisioner.roots().check(&id, &tenant.root).await?;
        root.filled()?;
        let (name, identity, path) = (id.clone(), root.identity().clone(), root.path());
        let accepted = self.store.with(move |db| match db.known_as(&identity, &name)? {
            Some(other) => {
                let message =
                    format!("{} is the directory that {other}'s secrets were brought to", path.display());
                Ok(Err(Fault::new(ErrorName::TenantConflict, message)))
            }
            None => db.accept(&name, &identity).map(Ok),
        });
        accepted.await??;
        tracing::info!(tenant = %id, directory = root.inode(), "its root was accepted");
        if tenant.removal_due {
            self.clear(&id, Secrets::There).await?;
        } else if tenant.keeps_up() {
            self.provisioner.schedule(&id, Some(clock::now()));
        }
        self.show(&id).await
    }

    async fn unregister(&self, id: TenantId, secrets: Secrets) -> Answered {
        // A provision that was cut off, or is under way, may have written.
        let name = id.clone();
        if self.store.with(move |db| db.withdraw(&name)).await? {
            self.clear(&id, secrets).await?;
        }
        let name = id.clone();
        let removed = self.store.with(move |db| {
            let tenant = db.known(&name)?;
            if tenant.status == Status::Active || !tenant.is_clean() {
                let message = format!("{name} still has secrets in its jail: destroy it first");
                return Ok(Err(Fault::new(ErrorName::WrongState, message)));
            }
            db.delete(&name).map(Ok)
        });
        removed.await??;
        self.provisioner.schedule(&id, None);
        self.announce(&id, None);
        Ok(Answer::Done)
    }

    async fn remove(&self, id: TenantId, secrets: Secrets) -> Answered {
        if self.tenant(&id).await?.status == Status::Provisioned {
            // Its agent may run, though its secrets never came.
            self.agents.stop(&id).await?;
            self.provisioner.schedule(&id, None);
            let name = id.clone();
            self.store.with(move |db| db.withdraw(&name)).await?;
        }
        // They may have come meanwhile.
        if matches!(self.tenant(&id).await?.status, Status::Active | Status::Stopped) {
            self.destroy(id.clone(), secrets).await?;
        }
        self.unregister(id, secrets).await
    }

    /// The jail has another name now. Where the root is another directory than before,
    /// what was written in the old one is removed first.
    async fn rename(&self, id: &TenantId, to: TenantId, root: Option<PathBuf>, secrets: Secrets) -> Answered {
        let tenant = self.tenant(id).await?;
        if tenant.status == Status::Destroyed {
            return Err(Fault::new(ErrorName::WrongState, format!("{id} is destroyed: register {to} anew")));
        }
        self.have_no_agent(id, &to)?;
        let root = match root {
            Some(root) => self.place(&to, &root).await?,
            None => tenant.root.clone(),
        };
        let moved = root == tenant.root || self.has_moved(&tenant, &root).await;
        let (from, name, place) = (id.clone(), to.clone(), root.clone());
        let free = move |db: &mut Db| free(db, &from, &name, &place);
        self.store.with(free.clone()).await??;
        if !moved && !tenant.is_clean() {
            self.clear(id, secrets).await?;
        }
        // From here on nothing writes under the old name.
        let held = self.provisioner.hold(id).await?;
        self.have_no_agent(id, &to)?;
        let (from, name) = (id.clone(), to.clone());
        let renamed = self.store.with(move |db| {
            if let Err(fault) = free(db)? {
                return Ok(Err(fault));
            }
            let now = db.known(&from)?;
            if !now.is_set_as(&tenant) || (!moved && !now.is_clean()) {
                return Ok(Err(meanwhile(&from)));
            }
            db.rename(&from, &name, &root, &now.renamed(&name), moved)?;
            db.known(&name).map(Ok)
        });
        let renamed = match renamed.await? {
            Ok(renamed) => renamed,
            Err(fault) => {
                self.put_back(id).await;
                return Err(fault);
            }
        };
        drop(held);
        self.provisioner.schedule(id, None);
        self.announce(id, None);
        self.announce(&to, Some(renamed.status));
        match renamed.status {
            Status::Active => self.provisioner.schedule(&to, Some(clock::now())),
            Status::Provisioned | Status::Stopped | Status::Destroyed => self.provisioner.resume(&renamed),
        }
        self.show(&to).await
    }

    fn have_no_agent(&self, id: &TenantId, to: &TenantId) -> Result<(), Fault> {
        if self.agents.has(id) || self.agents.has(to) {
            let message = format!("an agent runs in {id} or {to}: stop it first");
            return Err(Fault::new(ErrorName::WrongState, message));
        }
        Ok(())
    }

    /// What was unlinked for a change that did not come about comes back.
    async fn put_back(&self, id: &TenantId) {
        if self.tenant(id).await.is_ok_and(|tenant| tenant.status == Status::Active) {
            self.provisioner.schedule(id, Some(clock::now()));
        }
    }

    async fn provision(&self, tenant: Option<TenantId>) -> Answered {
        let ids = match tenant {
            Some(id) => vec![id],
            None => {
                let tenants = self.store.with(|db| db.tenants()).await?;
                tenants.into_iter().filter(Tenant::keeps_up).map(|tenant| tenant.id).collect()
            }
        };
        let mut runs = tokio::task::JoinSet::new();
        let one = ids.len() == 1;
        for id in ids {
            let provisioner = self.provisioner.clone();
            runs.spawn(async move { provisioner.run(&id, Work::Put(Reason::Operator)).await });
        }
        let mut provisions = Vec::with_capacity(runs.len());
        for ended in runs.join_all().await {
            match ended {
                Ok(provision) => provisions.push(provision),
                Err(fault) if one => return Err(fault),
                // It was unregistered or destroyed meanwhile.
                Err(fault) => tracing::info!("{fault}"),
            }
        }
        provisions.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        Ok(Answer::Provisions(provisions))
    }

    async fn stop(&self, jail: JailName, remove_secrets: bool) -> Answered {
        let stopped = self.agents.stop(&jail).await?;
        let name = jail.clone();
        let (tenant, agent) = self.store.with(move |db| Ok((db.tenant(&name)?, db.agent(&name)?))).await?;
        let stops = tenant.as_ref().is_some_and(|tenant| {
            tenant.status == Status::Active || (remove_secrets && tenant.status == Status::Stopped)
        });
        if !stopped && !stops {
            return Err(Fault::new(ErrorName::AgentNotFound, format!("no agent runs in {jail}")));
        }
        match (stops, remove_secrets) {
            (true, true) => {
                self.halt(&jail, File::Goes).await?;
                self.clear(&jail, Secrets::There).await?;
            }
            (true, false) => self.halt(&jail, File::Stays).await?,
            (false, _) => {}
        }
        Ok(agent.map_or(Answer::Done, |agent| Answer::Agent(Box::new(agent.view))))
    }

    /// From now on nothing puts the tenant's file back by itself.
    async fn halt(&self, id: &TenantId, file: File) -> Result<(), Fault> {
        let name = id.clone();
        self.store.with(move |db| db.turn(&name, Turn::Stopped, file)).await?;
        self.provisioner.schedule(id, None);
        self.announce(id, Some(Status::Stopped));
        Ok(())
    }

    async fn destroy(&self, id: TenantId, secrets: Secrets) -> Answered {
        let tenant = self.tenant(&id).await?;
        match tenant.status {
            Status::Destroyed => return self.show(&id).await,
            Status::Provisioned => {
                let message = format!("{id} has no secrets yet: unregister it");
                return Err(Fault::new(ErrorName::WrongState, message));
            }
            Status::Active | Status::Stopped => {}
        }
        self.agents.stop(&id).await?;
        self.halt(&id, File::Goes).await?;
        self.clear(&id, secrets).await?;
        let name = id.clone();
        self.store.with(move |db| db.turn(&name, Turn::Destroyed, File::Stays)).await?;
        self.announce(&id, Some(Status::Destroyed));
        self.show(&id).await
    }

    fn announce(&self, id: &TenantId, status: Option<Status>) {
        self.events.announce(Event::Tenant { tenant: id.clone(), status });
    }

    async fn status(&self) -> Answered {
        let tenants = self.store.with(|db| db.tenants()).await?;
        let count = |wanted: &dyn Fn(&Tenant) -> bool| {
            u32::try_from(tenants.iter().filter(|tenant| wanted(tenant)).count()).unwrap_or(u32::MAX)
        };
        let session = self.session.status();
        let logins = session.logins_today();
        Ok(Answer::Status(Box::new(StatusView {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: self.started,
            base: self.config.base.clone(),
            sandbox: !self.config.settings.insecure_no_sandbox,
            session: session.state,
            fetcher: session.fetcher,
            fetcher_user: self.config.fetcher_user_name(),
            bw_version: session.bw_version,
            logins_today: Some(logins),
            device: Some(session.device),
            bell: self.bell.view(),
            session_error: session.error,
            provisioned: count(&|tenant| tenant.status == Status::Provisioned),
            active: count(&|tenant| tenant.status == Status::Active),
            stopped: count(&|tenant| tenant.status == Status::Stopped),
            destroyed: count(&|tenant| tenant.status == Status::Destroyed),
            failing: count(&|tenant| tenant.fault().is_some()),
            under_way: u32::try_from(self.provisioner.busy().await.len()).unwrap_or(u32::MAX),
            agents: self.agents.running(),
            retrying: count(&Tenant::waits_for_retry),
            unbounded: self.agents.unbounded(),
            not_mounted: count(&Tenant::is_not_mounted),
            removals_due: count(&|tenant| tenant.removal_due),
            confinement: confinement::now(&self.config, &session.confined),
            setup: SetupView { credentials: session.has_credentials, ..self.config.view() },
        })))
    }
}

/// A merge patch (RFC 7396), one level deep: a change names all of a setting, all of
/// a tenant's files too. One file is changed by its own requests.
fn merge<T: Serialize + DeserializeOwned>(settings: &T, changes: Map<String, Value>) -> Result<T, Fault> {
    let Ok(Value::Object(mut merged)) = serde_json::to_value(settings) else {
        return Err(bad("the settings cannot be changed"));
    };
    for (name, value) in changes {
        match value {
            Value::Null => merged.remove(&name),
            value => merged.insert(name, value),
        };
    }
    serde_json::from_value(Value::Object(merged)).map_err(|error| bad(&error.to_string()))
}

fn conflict(there: &Tenant) -> Fault {
    let message = format!(
        "{} is registered with other settings, at {}, {}",
        there.id,
        there.root.display(),
        there.status
    );
    Fault::new(ErrorName::TenantConflict, message)
}

/// What was looked at is not so any more.
fn meanwhile(id: &TenantId) -> Fault {
    Fault::new(ErrorName::Busy, format!("{id} was changed or provisioned meanwhile"))
}

fn no_file(id: &TenantId, file: &FilePath) -> Fault {
    Fault::new(ErrorName::FileNotFound, format!("{id} has no further file {file}"))
}

/// Whether a tenant can have that name and root instead of its own.
fn free(db: &Db, from: &TenantId, to: &TenantId, root: &Path) -> crate::store::Result<Result<(), Fault>> {
    let named = db.tenant(to)?.filter(|there| there.status != Status::Destroyed && there.id != *from);
    if let Some(there) = named {
        return Ok(Err(conflict(&there)));
    }
    let other = db.at_root_but(root, to, from)?;
    Ok(other.map_or(Ok(()), |other| Err(taken(root, &other))))
}

/// That a root belongs to another tenant.
pub(crate) fn taken(root: &Path, other: &str) -> Fault {
    Fault::new(
        ErrorName::TenantConflict,
        format!("{} is the root of {other}, or within or around it", root.display()),
    )
}

fn bad(message: &str) -> Fault {
    Fault::new(ErrorName::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_touches_what_it_names_and_null_brings_the_default_back() {
        let settings = Settings { refresh: 900, fields: true, ..Settings::default() };
        let changes = |text: &str| serde_json::from_str(text).unwrap();
        let merged = merge(&settings, changes(r#"{"refresh":null,"prefix":"P_"}"#)).unwrap();
        assert_eq!(merged, Settings { fields: true, prefix: "P_".into(), ..Settings::default() });
        assert!(merge(&settings, changes(r#"{"fefresh":1}"#)).is_err());
    }
}
