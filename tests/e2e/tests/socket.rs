//! What a stranger or a hostile client can do at the control socket: nothing
//! that harms anybody else.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_control::{Client, Event, Request, Secrets};
use colibri_e2e::host::{Host, PATIENCE};
use colibri_e2e::process::Process;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::Instant;

/// Clients that the daemon serves at once, as the protocol says.
const PLACES: usize = 128;
/// A tenant's name that is like nothing else.
const TENANT: &str = "canary-tenant";

fn started() -> Result<Host> {
    let mut host = Host::new()?;
    host.jail(TENANT)?;
    host.start()?;
    let root = host.base().join(TENANT).join("root");
    host.colibri_ok(&["register-tenant", TENANT, root.to_str().context("no UTF-8")?])?;
    Ok(host)
}

/// What the daemon keeps in memory, in KiB.
fn memory(host: &Host) -> Result<u64> {
    let daemon = Process::find(host.pid()?).context("no daemon")?;
    let field = daemon.status("VmRSS").context("no VmRSS")?;
    Ok(field.trim_end_matches("kB").trim().parse()?)
}

/// Others are served, and the daemon has not grown by more than this.
fn unharmed(host: &Host, before: u64) -> Result<()> {
    ensure!(host.colibri_ok(&["list-tenants"])?.contains(TENANT));
    let grown = memory(host)?.saturating_sub(before);
    ensure!(grown < 16 * 1024, "the daemon has grown by {grown} KiB");
    Ok(())
}

/// Runs a program as a user who has nothing to do with us.
fn stranger(program: &str, args: &[&str]) -> Result<Output> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65533", "--regid=65533", "--clear-groups", "--no-new-privs", program]).args(args);
    command.output().context("cannot run setpriv")
}

#[test]
fn a_stranger_neither_connects_nor_learns_anything() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        colibri_test_host::skip("only root can be another user");
        return Ok(());
    }
    let mut host = started()?;
    let (client, socket) = (host.path("product/bin/colibri"), host.socket());
    let (client, socket) = (client.to_str().context("no UTF-8")?, socket.to_str().context("no UTF-8")?);
    let asks = |verb: &str| stranger(client, &["--socket", socket, verb]);
    let refused = asks("list-tenants")?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(3) && refused.stdout.is_empty(), "{refused:?}");
    ensure!(said.contains("Permission denied") && !said.contains(TENANT), "{said}");

    // Everything of the daemon's but its configured base.
    for dir in ["run", "state", "log"] {
        let top = host.path(dir);
        let found = stranger("find", &[top.to_str().context("no UTF-8")?, "-type", "f", "-readable"])?;
        ensure!(found.stdout.is_empty(), "{dir}: {}", String::from_utf8_lossy(&found.stdout));
    }
    let pid = host.pid()?;
    for file in ["environ", "fd", "maps", "cwd"] {
        let path = format!("/proc/{pid}/{file}");
        let looked = stranger("ls", &["-l", &format!("{path}/")])?;
        let read = stranger("cat", &[&path])?;
        ensure!(!looked.status.success() && read.stdout.is_empty(), "{path} can be read");
    }
    // The look itself works: a stranger sees what is for everybody.
    ensure!(stranger("cat", &[&format!("/proc/{pid}/cmdline")])?.status.success());
    ensure!(stranger("ls", &[host.path("product").to_str().context("no UTF-8")?])?.status.success());

    // Were the directory open by mistake, the daemon would still refuse.
    fs::set_permissions(host.path("run/control"), fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(host.socket(), fs::Permissions::from_mode(0o666))?;
    for verb in ["list-tenants", "status", "history"] {
        let refused = asks(verb)?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
        ensure!(said.contains("NotAllowed") && !said.contains(TENANT), "{said}");
    }
    host.stop()
}

#[test]
fn a_gibibyte_without_a_newline_is_dropped() -> Result<()> {
    let mut host = started()?;
    let before = memory(&host)?;
    let mut flood = UnixStream::connect(host.socket())?;
    let chunk = vec![b'x'; 1 << 20];
    let error = (0..1024).find_map(|_| flood.write_all(&chunk).err()).context("a gibibyte was taken")?;
    ensure!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    unharmed(&host, before)?;
    host.stop()
}

#[test]
fn clients_that_come_and_go_leave_nothing() -> Result<()> {
    let mut host = started()?;
    let daemon = Process::find(host.pid()?).context("no daemon")?;
    let before = (memory(&host)?, daemon.descriptors().map(|all| all.len()).ok());
    for round in 0..300 {
        let mut client = UnixStream::connect(host.socket())?;
        match round % 3 {
            0 => {}
            1 => client.write_all(b"{\"v\":1,\"id\":1,\"ve")?,
            // It does not wait for the answer.
            _ => client.write_all(b"{\"v\":1,\"id\":1,\"verb\":\"status\"}\n")?,
        }
    }
    let closed = || daemon.descriptors().map(|all| all.len()).ok() == before.1;
    host.wait_for("an end of all connections", || closed().then_some(()))?;
    unharmed(&host, before.0)?;
    host.stop()
}

#[test]
fn a_watcher_that_does_not_read_harms_nobody() -> Result<()> {
    let mut host = started()?;
    let before = memory(&host)?;
    let mut sleeper = UnixStream::connect(host.socket())?;
    sleeper.write_all(b"{\"v\":1,\"id\":1,\"verb\":\"watch\"}\n")?;
    let mut watching = String::new();
    BufReader::new(&sleeper).read_line(&mut watching)?;
    ensure!(watching.contains("watching"), "{watching}");
    let mut awake = Client::connect(&host.socket())?;
    awake.set_timeout(Some(PATIENCE))?;
    awake.call(Request::Watch {})?;

    let (tenant, root) = ("short-lived".parse()?, host.jail("short-lived")?);
    let (tenant, root): (colibri_tenant::TenantId, _) = (tenant, root);
    let mut client = Client::connect(&host.socket())?;
    client.set_timeout(Some(PATIENCE))?;
    for _ in 0..400 {
        let register =
            Request::RegisterTenant { tenant: tenant.clone(), root: root.clone(), settings: Box::default() };
        client.call(register)?;
        client.call(Request::UnregisterTenant { tenant: tenant.clone(), secrets: Secrets::default() })?;
        // Who reads misses nothing.
        for _ in 0..2 {
            ensure!(matches!(awake.next_event()?, Event::Tenant { .. }), "another event");
        }
    }
    unharmed(&host, before)?;
    // The sleeper wakes up: it was told how much it missed, or was dropped.
    sleeper.set_read_timeout(Some(PATIENCE))?;
    let mut rest = BufReader::new(sleeper);
    let mut line = String::new();
    while rest.read_line(&mut line)? > 0 && !line.contains("\"missed\"") {
        line.clear();
    }
    ensure!(line.is_empty() || line.contains("\"missed\""), "{line}");
    host.stop()
}

#[test]
fn clients_that_say_nothing_are_dropped_and_make_room() -> Result<()> {
    if std::env::var_os("COLIBRI_FULL").is_none() {
        colibri_test_host::skip("clients that say nothing for a minute: with COLIBRI_FULL=1");
        return Ok(());
    }
    let mut host = started()?;
    let since = Instant::now();
    let silent: Result<Vec<_>, _> = (0..PLACES).map(|_| UnixStream::connect(host.socket())).collect();
    for mut client in silent? {
        client.set_read_timeout(Some(PATIENCE))?;
        ensure!(client.read(&mut [0; 1])? == 0, "an answer to nothing");
    }
    println!("the last of them was dropped after {:?}", since.elapsed());
    unharmed(&host, memory(&host)?)?;
    host.stop()
}
