//! What a jail's agents can do in it on Linux: on the host they are a user of the
//! jail's own, who owns the env file there and nothing else. Asked as that user, by
//! a child that may hang with the jail's file system.

use super::Finding;
use colibri_control::{SetupView, TenantView};
use nix::unistd::geteuid;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a jail may take to be looked through.
const PATIENCE: Duration = Duration::from_secs(20);
/// So many names are shown of each kind.
const SHOWN: usize = 5;
/// A line for each thing: its kind, and its name in the jail.
const LOOK: &str = r#"cd "$1" || { echo "shut /"; exit; }
for dir in dev proc; do [ -d "$dir" ] || echo "lacks /$dir"; done
for dir in tmp run var/tmp var/run var/lib var/log var/cache; do
	[ ! -d "$dir" ] || [ -w "$dir" ] || echo "unwritable /$dir"
done
find . -xdev \( -path ./proc -o -path ./dev \) -prune -o \
	\( ! -readable -o -type d ! -executable \) -print 2>/dev/null |
	sed -n 's|^\.|unreadable |p' | head -n 1000"#;

/// Says whether a file in a directory can be read.
const READ: &str = r#"cd "$1" && [ -r "$2" ] && echo readable || echo unreadable"#;

/// Looks through the jail of a tenant that had an agent; only root can.
pub fn finding(setup: &SetupView, base: &Path, tenant: &TenantView) -> Option<Finding> {
    let uid = tenant.agent_uid.filter(|_| geteuid().is_root())?;
    let name = format!("agent of {}", tenant.tenant);
    Some(match look(setup, base, &tenant.root, uid) {
        Some(told) => judge(&name, uid, &tenant.root, &told),
        None => Finding::warning(
            &name,
            format!("user {uid} did not get through the jail in {PATIENCE:?}"),
            "see whether the jail's file system answers",
        ),
    })
}

/// Whether the file's owner can read it: the file is that user's, but perhaps not a
/// directory above it. Only root can ask as another user.
pub fn owner(setup: &SetupView, base: &Path, tenant: &TenantView) -> Option<Finding> {
    let settings = &tenant.settings;
    let (uid, gid) = settings.owner.as_deref().and_then(|owner| owner.split_once(':'))?;
    let (uid, gid) = (uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?);
    let owner = tenant.agent_uid.map_or((uid, gid), |uid| (uid, uid));
    let asked = geteuid().is_root() && owner.0 != 0 && !tenant.keys.is_empty();
    let file = settings.dir.as_ref()?.join(settings.file.as_ref()?);
    let name = format!("file of {}", tenant.tenant);
    let told = asked.then(|| ask(setup, base, owner, READ, &[&tenant.root, &file]))??;
    let (shown, user) = (tenant.root.join(&file), format!("{}:{}", owner.0, owner.1));
    Some(match told.trim() {
        "readable" => Finding::ok(&name, format!("{}, which its owner {user} can read", shown.display())),
        _ => Finding::failure(
            &name,
            format!("its owner {user} cannot read {}", shown.display()),
            format!(
                "let {user} through the directories above it: chmod o+x, or chown, from {} on",
                tenant.root.display()
            ),
        ),
    })
}

fn look(setup: &SetupView, base: &Path, root: &Path, uid: u32) -> Option<String> {
    ask(setup, base, (uid, uid), LOOK, &[root])
}

/// Runs a script as somebody else, on these paths.
fn ask(
    setup: &SetupView,
    base: &Path,
    (uid, gid): (u32, u32),
    script: &str,
    paths: &[&Path],
) -> Option<String> {
    let group = base.metadata().ok().filter(|found| found.mode() & 0o011 == 0o010);
    let group = group.map_or_else(|| "-".into(), |found| found.gid().to_string());
    let mut child = Command::new(setup.writer.with_file_name("colibri-shim"))
        .args(["run", &format!("{uid}:{gid}"), &group, "-", "/bin/sh", "-c", script, "sh"])
        .args(paths)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(b"go\n").ok()?;
    let mut output = child.stdout.take()?;
    let (told, tell) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.read_to_end(&mut text);
        let _late = told.send(read.map(|_| String::from_utf8_lossy(&text).into_owned()));
    });
    let text = tell.recv_timeout(PATIENCE);
    if text.is_err() {
        // Perhaps it cannot even die: it is not waited for.
        let _gone = child.kill();
        return None;
    }
    let _status = child.wait();
    text.ok()?.ok()
}

fn judge(name: &str, uid: u32, root: &Path, told: &str) -> Finding {
    let all = |kind: &str| -> Vec<String> {
        let names = told.lines().filter_map(|line| line.split_once(' ').filter(|(word, _)| *word == kind));
        names.map(|(_, name)| name.chars().filter(|c| !c.is_control()).collect()).collect()
    };
    let shown = root.display();
    if !all("shut").is_empty() {
        let mend =
            format!("let it through the directories above {shown}, or make COLIBRI_JAIL_ROOT_BASE 0711");
        return Finding::failure(name, format!("user {uid} cannot enter {shown}"), mend);
    }
    let lacks = all("lacks");
    if !lacks.is_empty() {
        let dirs: Vec<_> = lacks.iter().map(|dir| format!("{shown}{dir}")).collect();
        let mend = format!("mkdir {}", dirs.join(" "));
        return Finding::failure(name, format!("its root lacks {}", lacks.join(" and ")), mend);
    }
    let mut found = format!("user {uid} on the host");
    for (kind, cannot) in [("unreadable", "read"), ("unwritable", "write to")] {
        let names = all(kind);
        if !names.is_empty() {
            let more = names.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let few: Vec<_> = names.into_iter().take(SHOWN).collect();
            found.push_str(&format!("; cannot {cannot} {}{more}", few.join(" ")));
        }
    }
    Finding::ok(name, found)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn judged(told: &str) -> (Verdict, String) {
        let finding = judge("agent of web01", 1_900_000_000, Path::new("/srv/jails/web01/root"), told);
        (finding.verdict, finding.found)
    }

    #[test]
    fn what_an_agent_cannot_do_is_listed_and_what_keeps_it_from_starting_is_a_failure() {
        assert_eq!(judged(""), (Verdict::Ok, "user 1900000000 on the host".into()));
        let (verdict, found) = judged("unwritable /run\nunreadable /etc/shadow\nunreadable /a\u{1b}[31mb\n");
        assert_eq!(verdict, Verdict::Ok);
        assert_eq!(
            found,
            "user 1900000000 on the host; cannot read /etc/shadow /a[31mb; cannot write to /run"
        );
        let many: String = (0..9).map(|number| format!("unreadable /{number}\n")).collect();
        assert!(judged(&many).1.ends_with("/4 and 4 more"));
        assert_eq!(judged("lacks /proc\n").0, Verdict::Failure);
        assert_eq!(judged("shut /\n").0, Verdict::Failure);
    }
}
