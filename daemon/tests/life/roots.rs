//! Whose root an agent gets: what a member of the socket's group and root in an
//! outer jail may try.

use crate::agents::{agent, jail, output, prints, spawn};
use crate::host::{Host, SOON, wait};
use crate::stand_in::Collection;
use crate::system;
use colibri_control::AgentState;
use colibri_tenant::ErrorName;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A jail whose agents can leave a mark in their root.
fn marked(host: &Host, name: &str) {
    jail(host, name);
    fs::set_permissions(host.root(name), Permissions::from_mode(0o777)).unwrap();
}

/// Spawns an agent that leaves a mark in its root.
fn refused(host: &Host, name: &str, root: &Path) -> ErrorName {
    let request = serde_json::json!({
        "verb": "spawn-agent", "jail": name, "root": root, "command": ["/bin/sh", "-c", "echo in > /mark"],
    });
    host.failure(&request.to_string())
}

/// A jail within a jail, and what root in the outer one makes of its root: a link
/// to another directory, in which all that an agent needs is there too.
struct Nested {
    host: Host,
    root: std::path::PathBuf,
}

impl Nested {
    fn new(settings: &str) -> Self {
        let host = Host::new();
        marked(&host, "outer/root/inner");
        marked(&host, "elsewhere");
        host.secrets("inner", &[("A", "1")]);
        let root = host.root("outer/root/inner");
        let request = format!(
            r#"{{"verb":"register-tenant","tenant":"inner","root":"{}","settings":{settings}}}"#,
            root.display()
        );
        host.say(&request).unwrap();
        Self { host, root }
    }

    fn swap(&self) {
        fs::rename(&self.root, self.root.with_file_name("before")).unwrap();
        symlink(self.host.root("elsewhere"), &self.root).unwrap();
    }

    /// Nothing ran where the link leads.
    fn stayed_out(&self) {
        assert!(!self.host.root("elsewhere").join("mark").exists(), "{}", self.host.log());
    }

    /// What the last change asks for is done by the next daemon.
    fn owe_an_action(&mut self) {
        assert!(self.host.terminate());
        let db = rusqlite::Connection::open(self.host.path("state/tenants.db")).unwrap();
        db.execute("UPDATE tenants SET action_due = 1", []).unwrap();
        drop(db);
        self.swap();
        self.host.start();
        let told = "after a change: TargetEscapesRoot";
        wait(SOON, || self.host.log().contains(told), || self.host.log());
        self.stayed_out();
    }
}

#[test]
fn no_agent_is_started_at_a_root_that_is_not_strictly_below_the_base() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    marked(&host, "elsewhere");
    symlink(host.root("elsewhere"), host.path("jails/link")).unwrap();
    let outside = host.path("outside");
    fs::create_dir(&outside).unwrap();
    for (root, name) in [
        (Path::new("/"), ErrorName::TargetEscapesRoot),
        (&outside, ErrorName::TargetEscapesRoot),
        (&host.path("jails"), ErrorName::TargetEscapesRoot),
        (&host.path("jails/elsewhere/root/../../.."), ErrorName::TargetEscapesRoot),
        (&host.path("jails/link"), ErrorName::TargetEscapesRoot),
        (&host.path("jails/nowhere"), ErrorName::RootNotMounted),
    ] {
        assert_eq!(refused(&host, "web", root), name, "{}", root.display());
    }
    assert!(!host.root("elsewhere").join("mark").exists());
    // The control: strictly below it, and through no link.
    spawn(&host, "elsewhere", "echo in > /mark");
    wait(SOON, || host.root("elsewhere").join("mark").exists(), || host.log());
}

#[test]
fn a_tenant_s_agent_is_started_in_its_registered_root_only() {
    let host = Host::new();
    host.register("web");
    marked(&host, "other");
    assert_eq!(refused(&host, "web", &host.root("other")), ErrorName::RootMismatch);
    assert!(!host.root("other").join("mark").exists());
}

/// Beside a root is what the host starts the jail by: whoever may write there may run
/// programs on the host.
#[test]
fn no_agent_and_no_tenant_is_where_the_host_keeps_a_jail() {
    let host = Host::new();
    marked(&host, "web01");
    let kept = host.path("jails/web01");
    fs::write(kept.join("jail.conf"), "web01 {}\n").unwrap();
    for dir in ["dev", "bin"] {
        fs::create_dir(kept.join(dir)).unwrap();
    }
    let group = host.path("jails/group");
    for dir in ["web02/root", "web02/bin"] {
        fs::create_dir_all(group.join(dir)).unwrap();
    }
    fs::write(group.join("web02/fstab"), "").unwrap();
    for root in [&kept, &kept.join("dev"), &group, &group.join("web02"), &group.join("web02/bin")] {
        assert_eq!(refused(&host, "x", root), ErrorName::TargetEscapesRoot, "{}", root.display());
        let request = serde_json::json!({ "verb": "register-tenant", "tenant": "x", "root": root });
        let told = host.failure(&request.to_string());
        assert_eq!(told, ErrorName::TargetEscapesRoot, "{}", root.display());
    }
    // The control: the root itself is one, and then that tenant's.
    host.register("web01");
    let request =
        serde_json::json!({ "verb": "update-tenant", "tenant": "web01", "root": kept, "changes": {} });
    assert_eq!(host.failure(&request.to_string()), ErrorName::TargetEscapesRoot);
    for root in [host.root("web01"), host.root("web01").join("bin")] {
        assert_eq!(refused(&host, "x", &root), ErrorName::TenantConflict, "{}", root.display());
    }
}

#[test]
fn a_root_that_an_outer_jail_made_a_link_gets_no_agent() {
    let nested = Nested::new("{}");
    nested.swap();
    assert_eq!(refused(&nested.host, "inner", &nested.root), ErrorName::TargetEscapesRoot);
    nested.stayed_out();
}

#[test]
fn a_root_that_an_outer_jail_made_a_link_gets_no_command_after_a_change() {
    if !system::may_make_jails() {
        return;
    }
    let mut nested = Nested::new(r#"{"on-change":{"command":["/bin/sh","-c","echo in > /mark"]}}"#);
    system::start_jail("inner", &nested.root);
    nested.host.provision("inner");
    wait(SOON, || nested.root.join("mark").exists(), || nested.host.log());
    nested.owe_an_action();
}

#[test]
fn a_root_that_an_outer_jail_made_a_link_gets_no_restarted_agent() {
    if !system::may_make_jails() {
        return;
    }
    let mut nested = Nested::new(r#"{"on-change":"restart-agent"}"#);
    let script = "echo up; echo in > /mark; exec sleep 1000";
    let request = serde_json::json!({
        "verb": "spawn-agent", "jail": "inner", "root": nested.root,
        "command": ["/bin/sh", "-c", script],
    });
    nested.host.say(&request.to_string()).unwrap();
    prints(&nested.host, "inner", "up");
    nested.owe_an_action();
    assert_eq!(agent(&nested.host, "inner").state, AgentState::Stopped);
}

/// Root in an outer jail puts one inner jail in another's place, and an operator who is
/// told that the root is another accepts it.
#[test]
fn no_word_of_an_operator_s_brings_a_tenant_s_secrets_into_another_s_jail() {
    let host = Host::new();
    let names = ["one", "two"];
    let secrets = |name: &str| Collection::Secrets([("A".to_owned(), format!("of-{name}"))].into());
    host.vault(names.map(|name| (name.to_owned(), secrets(name))).into());
    let root = |name: &str| host.path("jails/outer/root").join(name).join("root");
    for name in names {
        marked(&host, &format!("outer/root/{name}"));
        let request = serde_json::json!({ "verb": "register-tenant", "tenant": name, "root": root(name) });
        host.say(&request.to_string()).unwrap();
        assert_eq!(host.provision(name).error, None);
    }
    let content =
        |name: &str| fs::read_to_string(root(name).join("usr/local/etc/colibri/env")).unwrap_or_default();
    fs::rename(root("two"), host.path("jails/outer/root/aside")).unwrap();
    fs::rename(root("one"), root("two")).unwrap();
    assert_eq!(host.provision("two").error.unwrap().name, ErrorName::RootNotMounted);
    let accept = r#"{"verb":"accept-root","tenant":"two"}"#;
    let refused = host.say(accept).unwrap_err();
    assert_eq!(refused.name, ErrorName::TenantConflict);
    assert!(refused.message.contains("one's secrets"), "{refused}");
    assert!(content("two").ends_with("A=of-one\n"));
    // The control: one that is nobody's is the operator's to accept.
    fs::rename(root("two"), root("one")).unwrap();
    fs::create_dir_all(root("two").join("etc")).unwrap();
    host.say(accept).unwrap();
    wait(SOON, || content("two").ends_with("A=of-two\n"), || host.log());
    assert!(host.log().contains("its root was accepted"), "{}", host.log());
}

/// The control: where the root's path is bound, and nobody walks there, the same agent
/// runs where the link leads, and in the host's `/`.
#[test]
#[cfg(target_os = "linux")]
fn by_its_path_a_root_is_whatever_an_outer_jail_made_of_it() {
    let nested = Nested::new("{}");
    marked(&nested.host, "web");
    spawn(&nested.host, "web", "exec sleep 1000");
    let line = crate::confinement::line(&nested.host, "web");
    let at = line.iter().position(|word| word == "--bind").unwrap() + 1;
    let shell = line.iter().rposition(|word| word == "-c").unwrap() + 1;
    let run = |root: &Path, script: String| {
        let mut words = line.clone();
        (words[at], words[shell]) = (root.to_str().unwrap().to_owned(), script);
        let mut command = std::process::Command::new(&words[0]);
        let ran = command.args(&words[1..]).stdin(std::process::Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    nested.swap();
    run(&nested.root, "echo in > /mark".into());
    assert!(nested.host.root("elsewhere").join("mark").exists());
    let outside = nested.host.path("outside");
    run(Path::new("/"), format!("echo in > {}", outside.display()));
    assert!(outside.exists());
}

#[test]
fn an_agent_has_no_descriptor_of_the_host_s() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    jail(&host, "web");
    let script = r#"for n in 3 4 5 6 7 8 9 10 11 12; do
        (eval ": <&$n") 2>/dev/null && echo "open: $n"; done; echo looked; eval ": <&2" && echo control"#;
    spawn(&host, "web", script);
    prints(&host, "web", "control");
    assert!(!output(&host, "web").contains("open:"), "{}", output(&host, "web"));
}
