//! Settings that change after a provision, tried first or not; and what is told when
//! the jail's file system does not let the file be written.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, bail, ensure};
use colibri_control::{Answer, Diff, Outcome, Provision, Request};
use colibri_e2e::host::{Account, Host};
use colibri_tenant::{ErrorName, TenantId};
use colibri_test_vault::{Collection, Content, Fixture, Item, Login, Organization, Vault};
use nix::unistd::geteuid;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

const DIR: &str = "usr/local/etc/colibri";

fn web() -> Result<TenantId> {
    Ok("web".parse()?)
}

/// A host with the tenant `web`, of these items and these settings, provisioned.
fn provisioned(items: Vec<Item>, settings: &[&str]) -> Result<(Host, Vault, PathBuf)> {
    let mut fixture = Fixture::machine();
    let id = fixture.add_collection("web");
    items.into_iter().for_each(|item| drop(fixture.add(item.within(&id))));
    let (mut host, vault) = Host::with_vault(fixture)?;
    host.set_account(&Account::of(&vault)?);
    host.set("COLIBRI_SESSION_IDLE", "60");
    host.set("COLIBRI_DEADLINE", "110");
    host.start()?;
    let root = host.jail("web")?;
    let line = ["register-tenant", "web", root.to_str().context("no UTF-8")?];
    host.colibri_ok(&[&line[..], settings].concat())?;
    host.colibri_ok(&["provision", "web"])?;
    Ok((host, vault, root))
}

fn logins() -> Vec<Item> {
    vec![Item::login("A", "a"), Item::login("B", "b"), Item::login("lower", "l")]
}

fn tried(host: &Host, changes: Value) -> Result<Diff> {
    let changes: Map<String, Value> = serde_json::from_value(changes)?;
    let secrets = Default::default();
    match host.ask(Request::UpdateTenant { tenant: web()?, root: None, changes, secrets, dry_run: true })? {
        Answer::Diff(diff) => Ok(*diff),
        other => bail!("no difference in {other:?}"),
    }
}

/// The newest provision, once it is another than that one.
fn next(host: &Host, before: u64) -> Result<Provision> {
    host.wait_for("a provision", || {
        let history = host.ask(Request::History { tenant: Some(web().ok()?), limit: 1 }).ok()?;
        let Answer::Provisions(history) = history else { return None };
        history.into_iter().find(|provision| provision.number > before)
    })
}

#[test]
fn what_settings_would_change_is_shown_and_nothing_is_changed() -> Result<()> {
    let (mut host, vault, root) = provisioned(logins(), &[])?;
    let file = root.join(DIR).join("env");
    let (old, before) = (fs::read_to_string(&file)?, next(&host, 0)?.number);
    vault.edit(|fixture| fixture.item_named("A").map(|item| item.set_value("new")))?;
    let mut changes = json!({ "key-case": "upper", "only": ["A", "LOWER"] });
    if geteuid().is_root() {
        changes["owner"] = json!("77:78");
    } else {
        // A user cannot give files away, and is told before.
        let told = tried(&host, json!({ "owner": "77:78" })).err().context("files were given away")?;
        ensure!(told.to_string().contains("neither root's nor the file's owner's"), "{told}");
    }
    let diff = tried(&host, changes)?;
    ensure!(
        (diff.added, diff.removed, diff.changed)
            == (vec!["LOWER".into()], vec!["B".into()], vec!["A".into()])
    );
    let owner = diff.file.iter().filter(|line| line.ends_with("becomes 77:78")).count();
    ensure!(diff.file.len() == owner && (owner == 1) == geteuid().is_root(), "{:?}", diff.file);
    // What would be skipped is said, and what would fail fails.
    let same = tried(&host, json!({}))?;
    ensure!(same.warnings.iter().any(|line| line.contains("rename it LOWER")), "{:?}", same.warnings);
    let missing = tried(&host, json!({ "expect": ["MISSING"] }));
    ensure!(missing.is_err_and(|error| error.to_string().contains("MISSING")));
    ensure!(tried(&host, json!({ "owner": "root" })).is_err());
    let moved = tried(&host, json!({ "dir": "etc/x", "format": "json" }))?;
    ensure!(moved.file.len() == 2 && moved.changed == ["A"] && !moved.intact, "{moved:?}");
    // By the command line, with the same words.
    let said = host.colibri(&["update-tenant", "web", "--only", "A", "--dry-run"])?;
    ensure!(String::from_utf8_lossy(&said.stdout) == "- B\n~ A\n0 the same\n", "{said:?}");
    let said = host.colibri(&["provision", "web", "--dry-run"])?;
    ensure!(String::from_utf8_lossy(&said.stdout) == "~ A\n1 the same\n", "{said:?}");
    ensure!(String::from_utf8_lossy(&said.stderr).contains("rename it LOWER"), "{said:?}");
    ensure!(fs::read_to_string(&file)? == old, "the file changed");
    let tenant = host.tenant("web")?;
    ensure!(tenant.keys == ["A", "B"] && tenant.settings.only.is_empty() && tenant.last_error.is_none());
    let newest = host.ask(Request::History { tenant: Some(web()?), limit: 1 })?;
    ensure!(matches!(&newest, Answer::Provisions(all) if all[0].number == before), "it was recorded");
    host.stop()
}

/// Root's directory goes along with the file; another user's is not ours to give, so
/// the provision fails by name; and doctor sees a directory that keeps the owner out.
#[test]
fn a_changed_owner_takes_the_directory_along_or_fails_by_name() -> Result<()> {
    let (mut host, _vault, root) = provisioned(logins(), &[])?;
    let (dir, before) = (root.join(DIR), next(&host, 0)?.number);
    host.colibri_ok(&["update-tenant", "web", "--owner", "1001:1002"])?;
    let first = next(&host, before)?;
    if !geteuid().is_root() {
        let error = first.error.context("a user cannot give files away")?;
        ensure!(error.name == ErrorName::WriteFailed, "{error}");
        return host.stop();
    }
    ensure!(first.outcome == Outcome::Written, "{first:?}");
    for path in [&dir, &dir.join("env")] {
        let found = path.metadata()?;
        ensure!((found.uid(), found.gid()) == (1001, 1002), "{} is {}'s", path.display(), found.uid());
    }
    let doctor = |host: &Host| -> Result<String> {
        let output = host.colibri(&["doctor"])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    ensure!(doctor(&host)?.contains("which its owner 1001:1002 can read"), "{}", doctor(&host)?);
    // A directory above that lets nobody through.
    let etc = root.join("usr/local/etc");
    set_mode(&etc, 0o700)?;
    ensure!(doctor(&host)?.contains("its owner 1001:1002 cannot read"), "{}", doctor(&host)?);
    set_mode(&etc, 0o755)?;
    host.colibri_ok(&["update-tenant", "web", "--owner", "1003:1003"])?;
    let second = next(&host, first.number)?;
    let error = second.error.context("it was written in another user's directory")?;
    ensure!(
        error.name == ErrorName::WriteFailed && error.message.contains("chown it in the jail"),
        "{error}"
    );
    ensure!(doctor(&host)?.contains("chown it in the jail"), "{}", doctor(&host)?);
    ensure!(dir.metadata()?.uid() == 1001 && dir.join("env").metadata()?.uid() == 1001);
    host.stop()
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// In the Handbook's thin jails `usr/local` is a link.
#[test]
fn a_link_on_the_way_to_the_file_is_named_and_so_is_what_to_do() -> Result<()> {
    let (mut host, _vault, root) = provisioned(logins(), &["--dir", "etc/colibri"])?;
    fs::create_dir_all(root.join("skeleton/local"))?;
    fs::create_dir(root.join("usr"))?;
    symlink("../skeleton/local", root.join("usr/local"))?;
    let before = next(&host, 0)?.number;
    // Tried, it is told before anything is changed.
    let told = tried(&host, json!({ "dir": DIR })).err().context("a link was followed")?.to_string();
    ensure!(told.contains("without following a link"), "{told}");
    host.colibri_ok(&["update-tenant", "web", "--dir", DIR])?;
    let error = next(&host, before + 1)?.error.context("a link was followed")?;
    ensure!(error.name == ErrorName::WriteFailed && error.message.contains("following a link"), "{error}");
    ensure!(error.advice.contains("symbolic link") && error.advice.contains("--dir"), "{}", error.advice);
    let doctor = host.colibri(&["doctor"])?;
    ensure!(String::from_utf8_lossy(&doctor.stdout).contains(&error.advice), "doctor says otherwise");
    ensure!(fs::read_dir(root.join("skeleton/local"))?.count() == 0);
    host.colibri_ok(&["update-tenant", "web", "--dir", "etc/colibri"])?;
    host.colibri_ok(&["provision", "web"])?;
    host.stop()
}

/// The collection is chosen at registering, attachments are carried, and both stay.
#[test]
fn a_tenant_chooses_its_collection_and_its_attachments() -> Result<()> {
    let login = Login { password: Some("a".into()), ..Login::default() };
    let item = Item::new("A", Content::Login(login)).with_file("ca.pem", b"-----BEGIN X-----\nAA==\n");
    let choice = ["--organization", "fleet", "--attachments", "--key-case", "upper"];
    let (mut host, vault, root) = provisioned(vec![item], &choice)?;
    ensure!(host.tenant("web")?.keys == ["A", "A_CA_PEM"]);
    let text = fs::read_to_string(root.join(DIR).join("env"))?;
    ensure!(text.contains("A_CA_PEM='-----BEGIN X-----\nAA==\n'"), "{text}");
    let twin = vault.edit(|fixture| {
        let mut other = Organization::new("other");
        let twin = Collection::new("web");
        let id = twin.id.clone();
        other.collections.push(twin);
        other.items.push(Item::login("OTHER", "o").within(&id));
        fixture.organizations.push(other);
        id
    })?;
    host.colibri_ok(&["provision", "web"])?;
    ensure!(host.tenant("web")?.keys == ["A", "A_CA_PEM"]);
    // Another choice forgets which one it was.
    host.colibri_ok(&["update-tenant", "web", "--collection-id", &twin])?;
    host.colibri_ok(&["provision", "web"])?;
    let tenant = host.tenant("web")?;
    ensure!(tenant.keys == ["OTHER"] && tenant.collection_id == Some(twin), "{tenant:?}");
    // Without any, the two cannot be told apart, and both are named.
    host.colibri_ok(&["update-tenant", "web", "--collection-id", "", "--organization", ""])?;
    let failed = host.colibri(&["provision", "web"])?;
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    for part in ["CollectionAmbiguous", "organization \"fleet\"", "organization \"other\"", "--collection-id"]
    {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    ensure!(host.tenant("web")?.keys == ["OTHER"], "the old file stays");
    host.stop()
}
