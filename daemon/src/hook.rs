//! The hook: what happens before a jail's services start. It can be called by
//! another Rust daemon, and it never keeps a jail from starting.

use crate::provision::{Ended, Provisioner, Work};
use crate::root::Place;
use crate::store::StoreError;
use crate::tenant::Tenant;
use colibri_control::{HookResult, HookView, Reason};
use colibri_tenant::{ErrorName, Fault, JailName, Status};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Brings the secrets of the tenant that is named like the jail into its root.
/// Without such a tenant, or with another root than the registered one, it does
/// nothing. It returns at the latest when the tenant's deadline is over; what
/// failed is in the answer, is recorded, and is tried again.
pub async fn provision_tenant_env(provisioner: &Provisioner, jail: &JailName, root: &Path) -> HookView {
    let _starting = provisioner.roots().starting(jail);
    match find(provisioner, jail, root).await {
        Ok(None) => HookView { result: HookResult::NoTenant, warning: None, provision: None },
        Ok(Some(tenant)) => provision(provisioner, &tenant).await,
        Err((result, warning)) => {
            tracing::warn!(tenant = %jail, "{warning}");
            HookView { result, warning: Some(warning), provision: None }
        }
    }
}

async fn find(
    provisioner: &Provisioner,
    jail: &JailName,
    root: &Path,
) -> Result<Option<Tenant>, (HookResult, Fault)> {
    let tools = provisioner.tools();
    let id = jail.clone();
    let found = tools.store.with(move |db| db.tenant(&id)).await;
    let Some(tenant) = found.map_err(|error: StoreError| (HookResult::Failed, error.into()))? else {
        return Ok(None);
    };
    if tenant.status == Status::Destroyed {
        let message = format!("{jail} was destroyed and gets no secrets");
        return Err((HookResult::Destroyed, Fault::new(ErrorName::WrongState, message)));
    }
    if root != tenant.root {
        compare(provisioner, root, &tenant)?;
    }
    // What the registered root itself leads to, the attempt finds and records.
    Ok(Some(tenant))
}

/// By the path alone: nothing is looked at that is not registered.
fn compare(provisioner: &Provisioner, root: &Path, tenant: &Tenant) -> Result<(), (HookResult, Fault)> {
    let place = provisioner.roots().place(root).map_err(|fault| (HookResult::Failed, fault))?;
    same_root(&place, tenant).map_err(|fault| (HookResult::RootMismatch, fault))
}

/// Proceeds only in the tenant's registered root.
///
/// # Errors
/// `RootMismatch`.
pub fn same_root(place: &Place, tenant: &Tenant) -> Result<(), Fault> {
    if place.path() == tenant.root {
        return Ok(());
    }
    let (given, stored) = (place.path(), tenant.root.display());
    let message = format!("{} is at {}, but {stored} is registered", tenant.id, given.display());
    Err(Fault::new(ErrorName::RootMismatch, message))
}

async fn provision(provisioner: &Provisioner, tenant: &Tenant) -> HookView {
    let tools = provisioner.tools();
    let deadline = tenant.deadline(tools.config.settings.deadline);
    let silent = tools.silence.room(deadline, Instant::now());
    if let Some(left) = silent {
        return beside_silence(provisioner, tenant, left).await;
    }
    let run = provisioner.run(&tenant.id, Work::Put(Reason::Hook));
    let ended = timeout(deadline, run).await.unwrap_or_else(|_| {
        Err(Fault::new(ErrorName::DeadlineExceeded, "the secrets did not come before the deadline"))
    });
    view(ended)
}

/// The vault answers nobody: who has secrets starts with them at once, and the others
/// share what is `left` of one deadline. All are tried behind the jail's start, as a
/// retry, so that what comes then is a change for who runs.
async fn beside_silence(provisioner: &Provisioner, tenant: &Tenant, left: Duration) -> HookView {
    let (left, with) = match tenant.has_secrets() {
        true => (Duration::ZERO, "with the secrets that it has"),
        false => (left, "without secrets"),
    };
    let run = provisioner.run(&tenant.id, Work::Put(Reason::Retry));
    let ended = timeout(left, run).await.unwrap_or_else(|_| {
        let message = format!("the vault has answered nobody for a while: the jail starts {with}");
        Err(Fault::new(ErrorName::VaultTimeout, message))
    });
    view(ended)
}

fn view(ended: Ended) -> HookView {
    match ended {
        Ok(provision) => HookView {
            result: if provision.error.is_none() { HookResult::Provisioned } else { HookResult::Failed },
            warning: provision.error.clone(),
            provision: Some(provision),
        },
        Err(fault) => HookView { result: HookResult::Failed, warning: Some(fault), provision: None },
    }
}
