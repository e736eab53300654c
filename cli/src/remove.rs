//! `colibri remove`: tenants one after another, and what became of each. One that
//! cannot be removed does not keep the others.

use crate::arguments::id;
use crate::failure::{Failure, Work};
use colibri_control::{Answer, Client, ClientError, Request, Secrets, TenantView};
use colibri_tenant::{Fault, TenantId};
use std::path::Path;

/// Whom, and how.
pub struct Plan {
    /// Their names; with none, all.
    pub tenants: Vec<String>,
    /// All are removed, and not only named.
    pub yes: bool,
    /// What is said of secrets that are not found.
    pub secrets: Secrets,
}

impl Plan {
    /// Removes them.
    ///
    /// # Errors
    /// The daemon's, or `Several`, naming those that are still there.
    pub fn run(self, socket: &Path, json: bool) -> Result<(), Failure> {
        let all = self.tenants.is_empty();
        let names: Vec<_> = self.tenants.into_iter().map(id).collect::<Result<_, _>>()?;
        let mut client = crate::connect(socket)?;
        let names = if all { everybody(&mut client)? } else { names };
        if all && !self.yes {
            return preview(&names, json);
        }
        let of = names.len();
        let (mut removed, mut failed) = (Vec::new(), Vec::new());
        for tenant in names {
            match client.call(Request::RemoveTenant { tenant: tenant.clone(), secrets: self.secrets }) {
                Ok(_) => {
                    if !json {
                        crate::print(&format!("{tenant}: removed\n"))?;
                    }
                    removed.push(tenant);
                }
                Err(ClientError::Refused(fault)) => failed.push((tenant, fault)),
                Err(error) => return Err(error.into()),
            }
        }
        told(&removed, failed, of, json)
    }
}

fn everybody(client: &mut Client) -> Result<Vec<TenantId>, Failure> {
    match client.call(Request::ListTenants {})? {
        Answer::Tenants(tenants) => Ok(tenants.into_iter().map(|TenantView { tenant, .. }| tenant).collect()),
        _ => Err(ClientError::Protocol.into()),
    }
}

fn preview(names: &[TenantId], json: bool) -> Result<(), Failure> {
    if json {
        let plan = serde_json::json!({ "would-remove": names });
        return crate::print(&format!("{}\n", serde_json::to_string_pretty(&plan)?));
    }
    let lines: String = names.iter().map(|name| format!("{name}: would be removed\n")).collect();
    crate::print(&format!("{lines}nothing was changed: add --yes to remove {} tenants\n", names.len()))
}

fn told(removed: &[TenantId], failed: Vec<(TenantId, Fault)>, of: usize, json: bool) -> Result<(), Failure> {
    if json {
        let done = serde_json::json!({ "removed": removed });
        crate::print(&format!("{}\n", serde_json::to_string_pretty(&done)?))?;
    }
    match failed.as_slice() {
        [(_, fault)] if of == 1 => Err(ClientError::Refused(fault.clone()).into()),
        _ => Work::Remove.all(of, failed),
    }
}
