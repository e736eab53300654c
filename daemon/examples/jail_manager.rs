//! A jail manager of its own that calls the hook before it starts a jail:
//! `cargo run --example jail_manager -- NAME ROOT`, with colibrid's settings in
//! the environment. A manager that need not hold the tenants itself asks a
//! running colibrid instead, with one line on its socket or `colibri hook`.

use anyhow::Context;
use clap::Parser;
use colibri_daemon::settings::{Config, Settings};
use colibri_daemon::{Daemon, Roots, credentials, provision_tenant_env};
use colibri_tenant::JailName;
use std::path::PathBuf;
use std::sync::Arc;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let name: JailName = args.next().context("which jail?")?.parse()?;
    let root = PathBuf::from(args.next().context("where is its root?")?);
    let credentials = credentials::take(None)?;
    let config = Config::new(Settings::try_parse_from(["jail_manager"])?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Containment on its own: nothing was created when this fails.
        let contained = Roots::new(Arc::new(config.clone())).check(&name, &root).await?;
        println!("{name} is {} below the base", contained.place().below().as_path().display());

        let daemon = Daemon::start(config, credentials).await?;
        let hook = provision_tenant_env(&daemon.service().provisioner, &name, &root).await;
        println!("{}", hook.result);
        if let Some(warning) = hook.warning {
            println!("{warning}: {}", warning.advice);
        }
        // Whatever the hook says, the jail is started now.
        daemon.end().await;
        Ok(())
    })
}
