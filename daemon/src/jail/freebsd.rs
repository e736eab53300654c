//! FreeBSD: jail(8), jexec(8) and jls(8), and bastille(8) for the jails that it
//! made. A jail that already runs is used as it is.

use super::{Jail, Jails, Process, Works, exists, run, send, words};
use crate::device::uuid;
use crate::root::boot;
use colibri_pair::Owner;
use colibri_tenant::{AgentNetwork, ErrorName, Fault, JailName};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use rand::random;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const BASTILLE: &str = "/usr/local/bin/bastille";
const JAIL: &str = "/usr/sbin/jail";
const JEXEC: &str = "/usr/sbin/jexec";
const JLS: &str = "/usr/sbin/jls";
const MOUNT: &str = "/sbin/mount";
const UMOUNT: &str = "/sbin/umount";
const PS: &str = "/bin/ps";
/// How long a jail's processes, which are dying, may hold its devfs.
const DYING: Duration = Duration::from_secs(5);
/// Between two tries to unmount it.
const PAUSE: Duration = Duration::from_millis(100);
/// How far two looks at the same process's start may be apart, in seconds: ps
/// and the clock are asked one after the other, each in whole seconds.
const BLUR: u64 = 2;

/// The system's own jails.
#[derive(Clone, Debug)]
pub struct FreeBsd {
    base: PathBuf,
    works: Works,
    /// What no other boot has.
    boot: Arc<str>,
}

/// Who starts and stops a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// jail(8), for an agent only and without services.
    Jail,
    /// bastille(8), which made it, with all that is in its jail.conf.
    Bastille,
}

impl FreeBsd {
    /// The jails below the configured base.
    pub fn new(config: &crate::settings::Config) -> Self {
        Self {
            base: config.base.clone(),
            works: Works::new(&config.settings.state_dir),
            boot: boot().unwrap_or_default().into(),
        }
    }

    /// What bastille(8) starts has services, which would hold the lock.
    async fn run(&self, keeper: Keeper, line: &[OsString]) -> Result<(), Fault> {
        match keeper {
            Keeper::Jail => self.works.run(line).await.map(drop),
            Keeper::Bastille => run(line).await.map(drop),
        }
    }

    /// The mark of a jail that was just started, with its devfs: the one that was not
    /// there before.
    async fn with_devfs(&self, name: &JailName, mark: &str, before: &[Devfs]) -> Result<String, Fault> {
        let Some(running) = look(name).await?.filter(|running| running.uuid == mark) else {
            return Err(Fault::new(ErrorName::JailFailed, format!("{name} is another jail by now")));
        };
        let at = running.path.join("dev");
        let made = devfs().await?.into_iter().rfind(|devfs| devfs.at == at && !before.contains(devfs));
        let devfs = made.filter(|_| !self.boot.is_empty());
        Ok(devfs.map_or_else(|| mark.to_owned(), |devfs| format!("{mark} {} {}", devfs.fsid, self.boot)))
    }

    /// The number of the devfs that was mounted for the jail, in this boot.
    fn devfs<'a>(&self, mark: &'a Mark) -> Option<&'a str> {
        mark.devfs.as_ref().filter(|(_, boot)| **boot == *self.boot).map(|(fsid, _)| fsid.as_str())
    }

    /// Unmounts what is left of a jail that runs no more: colibrid was killed between
    /// the two, or a process of the jail held it.
    async fn clear(&self, mark: &Mark, path: &Path) -> Result<(), Fault> {
        if mark.keeper == Keeper::Bastille {
            return Ok(());
        }
        let known = self.devfs(mark);
        // Killed before it wrote down which: there is nobody else's where no jail runs.
        let here = mark.devfs.is_none() && !inhabited(path).await?;
        let left = devfs().await?.into_iter().rev();
        for devfs in left.filter(|devfs| known == Some(&devfs.fsid) || (here && devfs.at == path.join("dev")))
        {
            unmount(&devfs.fsid).await?;
        }
        Ok(())
    }

    /// The jail's directory is looked into by a child, which may hang there.
    async fn keeper(&self, jail: &Jail) -> Keeper {
        let own = self.base.join(jail.name.as_str());
        if !exists(Path::new(BASTILLE)) || jail.root.path() != own.join("root") {
            return Keeper::Jail;
        }
        let made = run(&["/bin/test".into(), "-f".into(), own.join("jail.conf").into()]).await;
        if made.is_ok() { Keeper::Bastille } else { Keeper::Jail }
    }
}

/// A jail that runs under the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number, which no other jail has until the next boot.
    pub jid: String,
    uuid: String,
    /// Where its root is, as the kernel has it.
    pub path: PathBuf,
}

impl Running {
    /// The one of that name that jls(8) shows, if one runs.
    ///
    /// # Errors
    /// What jls(8) says otherwise.
    pub async fn find(jls: &Path, name: &str) -> Result<Option<Self>, Fault> {
        match run(&look_line(jls, name)).await {
            Ok(line) => Ok(line.and_then(|line| Self::read(&line))),
            Err(fault) if fault.message.ends_with("not found") => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Reads a line of jls(8).
    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let (jid, uuid, path) = (words.next()?, words.next()?, words.next()?);
        Some(Self { jid: jid.to_owned(), uuid: uuid.to_owned(), path: path.into() })
    }

    /// Who started it, if it is the one that was started with this mark. Nobody
    /// guesses a UUID; where the jail is says nothing: the kernel follows a link.
    fn ours(&self, mark: &Mark, boot: &str) -> Option<Keeper> {
        match mark.keeper {
            Keeper::Jail if mark.text == self.uuid => Some(Keeper::Jail),
            Keeper::Bastille if !boot.is_empty() && mark.text == by_number(&self.jid, boot) => {
                Some(Keeper::Bastille)
            }
            _ => None,
        }
    }
}

/// What a jail of an agent's was written down with, and the devfs that was mounted
/// for it, which outlives the jail.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    keeper: Keeper,
    text: String,
    /// By number, of this boot alone.
    devfs: Option<(String, String)>,
}

impl Mark {
    fn read(mark: &str) -> Self {
        if mark.starts_with("jid ") {
            return Self { keeper: Keeper::Bastille, text: mark.to_owned(), devfs: None };
        }
        let mut words = mark.split(' ').map(str::to_owned);
        let text = words.next().unwrap_or_default();
        Self { keeper: Keeper::Jail, text, devfs: words.next().zip(words.next()) }
    }
}

/// A devfs and where it was mounted, by the number that umount(8) takes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Devfs {
    fsid: String,
    at: PathBuf,
}

impl Devfs {
    /// Reads a line of mount(8) with -v; the point may have blanks and parentheses.
    fn read(line: &str) -> Option<Self> {
        let (at, about) = line.strip_prefix("devfs on ")?.rsplit_once(" (")?;
        let fsid = about.split(", ").find_map(|word| word.strip_prefix("fsid "))?;
        let fsid = fsid.trim_end_matches(')').trim().to_owned();
        Some(Self { fsid, at: at.into() })
    }
}

/// The mark of a jail that another program made: no other has its number until
/// the next boot.
fn by_number(jid: &str, boot: &str) -> String {
    format!("jid {jid} of boot {boot}")
}

/// Asks for what tells a running jail from others of its name; the path last,
/// which may have blanks.
pub fn look_line(jls: &Path, name: &str) -> Vec<OsString> {
    let mut line = vec![jls.into()];
    line.extend(words(&["-j", name, "jid", "host.hostuuid", "path"]));
    line
}

/// Starts a jail. Its host's UUID is the mark, and nobody inside can change it.
pub fn start_line(keeper: Keeper, jail: &Jail, mark: &str) -> Vec<OsString> {
    let name = jail.name.as_str();
    match keeper {
        Keeper::Bastille => words(&[BASTILLE, "start", name]),
        Keeper::Jail => {
            let mut path = OsString::from("path=");
            path.push(jail.root.path());
            let mut line = words(&[JAIL, "-c", &format!("name={name}")]);
            line.push(path);
            let (host, uuid) = (format!("host.hostname={name}"), format!("host.hostuuid={mark}"));
            let network = match jail.network {
                AgentNetwork::Host => "inherit",
                AgentNetwork::None => "disable",
            };
            let (ip4, ip6) = (format!("ip4={network}"), format!("ip6={network}"));
            line.extend(words(&[&host, &uuid, "allow.noset_hostname"]));
            line.extend(words(&[&ip4, &ip6, "mount.devfs", "persist"]));
            line
        }
    }
}

/// Stops a jail. By its number, so that it is the one that was looked at, and
/// without what jail.conf(5) may say of another jail of its name.
pub fn stop_line(keeper: Keeper, name: &JailName, jid: &str) -> Vec<OsString> {
    match keeper {
        Keeper::Bastille => words(&[BASTILLE, "stop", name.as_str()]),
        Keeper::Jail => words(&[JAIL, "-R", jid]),
    }
}

/// jail(8) forgets what it mounted for a jail that no file describes. By its number,
/// since whatever the path leads to now is not ours to unmount.
pub fn unmount_line(fsid: &str) -> Vec<OsString> {
    words(&[UMOUNT, "-t", "devfs", fsid])
}

/// Every devfs, those on top of others last.
async fn devfs() -> Result<Vec<Devfs>, Fault> {
    let listed = run(&words(&[MOUNT, "-v", "-t", "devfs"])).await?.unwrap_or_default();
    Ok(listed.lines().filter_map(Devfs::read).collect())
}

/// The one that is seen in the jail there.
async fn top(path: &Path) -> Result<Option<Devfs>, Fault> {
    let at = path.join("dev");
    Ok(devfs().await?.into_iter().rfind(|devfs| devfs.at == at))
}

/// Unmounts a devfs, which processes of its jail hold until they are dead.
async fn unmount(fsid: &str) -> Result<(), Fault> {
    let end = Instant::now() + DYING;
    loop {
        match run(&unmount_line(fsid)).await {
            Ok(_) => return Ok(()),
            Err(_) if !devfs().await?.iter().any(|devfs| devfs.fsid == fsid) => return Ok(()),
            Err(fault) if Instant::now() > end => return Err(fault),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// The names and roots of all jails that run.
async fn all() -> Result<Vec<(String, PathBuf)>, Fault> {
    let listed = run(&words(&[JLS, "name", "path"])).await?.unwrap_or_default();
    let split = |line: &str| line.split_once(' ').map(|(name, path)| (name.to_owned(), path.into()));
    Ok(listed.lines().filter_map(split).collect())
}

/// Whether a jail runs there, under whatever name.
async fn inhabited(path: &Path) -> Result<bool, Fault> {
    Ok(all().await?.iter().any(|(_, at)| at == path))
}

/// The jail of somebody else whose root would be within this one's. A jail within a
/// jail has the outer one's name before its own.
fn within<'a>(jail: &Jail, all: &'a [(String, PathBuf)]) -> Option<&'a str> {
    let (root, own) = (jail.root.path(), format!("{}.", jail.name));
    let inner =
        |(name, at): &&(String, PathBuf)| at.starts_with(&root) && *at != root && !name.starts_with(&own);
    all.iter().find(inner).map(|(name, _)| name.as_str())
}

/// The jail that runs under the name, if one does.
async fn look(name: &JailName) -> Result<Option<Running>, Fault> {
    Running::find(Path::new(JLS), name.as_str()).await
}

/// The number of a jail that was found where it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jid(String);

/// The jail to be entered, if what runs under its name is that: at its root and, where
/// there is a mark, the one that was started with it.
fn entered(found: Option<Running>, jail: &Jail, mark: Option<&str>, boot: &str) -> Result<Jid, Fault> {
    let name = &jail.name;
    let failed = |message: String| Err(Fault::new(ErrorName::JailFailed, message));
    let Some(running) = found else { return failed(format!("the jail {name} does not run")) };
    if running.path != jail.root.path() {
        return failed(runs_at(jail, &running));
    }
    if mark.is_some_and(|mark| running.ours(&Mark::read(mark), boot).is_none()) {
        return failed(format!("{name} is another jail by now"));
    }
    Ok(Jid(running.jid))
}

fn runs_at(jail: &Jail, running: &Running) -> String {
    format!(
        "the jail {} runs at {}, not at {}",
        jail.name,
        running.path.display(),
        jail.root.path().display()
    )
}

/// Seconds from the boot to a process's start, and its jail. Nobody who sets the
/// clock moves these, as the start that ps(1) shows is moved.
async fn started(pid: u32) -> Option<(u64, String)> {
    let line = words(&[PS, "-o", "etimes=", "-o", "jail=", "-p", &pid.to_string()]);
    let found = run(&line).await.ok().flatten()?;
    let (age, jail) = found.split_once(' ')?;
    let uptime: u64 = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?.tv_sec().try_into().ok()?;
    Some((uptime.saturating_sub(age.parse().ok()?), jail.trim().to_owned()))
}

/// Whether an identity that was written down is that of a process that started
/// so many seconds after this boot.
fn same(identity: &str, boot: &str, start: u64) -> bool {
    let known = identity.rsplit_once(' ').and_then(|(known, at)| Some((known, at.parse::<u64>().ok()?)));
    known.is_some_and(|(known, at)| known == boot && at.abs_diff(start) <= BLUR)
}

impl Jails for FreeBsd {
    const OWN_USERS: bool = false;
    type Entry = Jid;

    async fn runs(&self, jail: &Jail) -> Result<bool, Fault> {
        if let Some(inner) = within(jail, &all().await?) {
            let message = format!("{} is around the root of the jail {inner}", jail.root.path().display());
            return Err(Fault::new(ErrorName::TargetEscapesRoot, message));
        }
        let Some(running) = look(&jail.name).await? else { return Ok(false) };
        if running.path != jail.root.path() {
            return Err(Fault::new(ErrorName::JailFailed, runs_at(jail, &running)));
        }
        Ok(true)
    }

    /// A UUID that the jail's host can have for its own.
    fn mark(&self) -> String {
        uuid(random())
    }

    async fn start(&self, jail: &Jail, mark: &str) -> Result<String, Fault> {
        let keeper = self.keeper(jail).await;
        let before = devfs().await?;
        self.run(keeper, &start_line(keeper, jail, mark)).await?;
        if keeper == Keeper::Jail {
            return self.with_devfs(&jail.name, mark, &before).await;
        }
        // bastille ends with 0 when it has started nothing, too.
        let running = look(&jail.name).await?.filter(|running| running.path == jail.root.path());
        let message = || format!("bastille did not start {}", jail.name);
        let running = running.ok_or_else(|| Fault::new(ErrorName::JailFailed, message()))?;
        Ok(by_number(&running.jid, &self.boot))
    }

    async fn stop(&self, name: &JailName, path: &Path, mark: &str) -> Result<(), Fault> {
        let mark = Mark::read(mark);
        let Some(running) = look(name).await? else { return self.clear(&mark, path).await };
        let keeper = running.ours(&mark, &self.boot);
        let Some(keeper) = keeper.filter(|keeper| *keeper == Keeper::Jail || running.path == path) else {
            tracing::info!(jail = %name, jid = running.jid, "left alone: not started for its last agent");
            return Ok(());
        };
        let devfs = match (keeper, self.devfs(&mark)) {
            (Keeper::Bastille, _) => None,
            (Keeper::Jail, Some(fsid)) => Some(fsid.to_owned()),
            (Keeper::Jail, None) => top(&running.path).await?.map(|devfs| devfs.fsid),
        };
        self.run(keeper, &stop_line(keeper, name, &running.jid)).await?;
        match devfs {
            Some(fsid) => unmount(&fsid).await,
            None => Ok(()),
        }
    }

    /// jexec(8) becomes a program inside the jail, where it would lead out.
    fn descriptor<'a>(&self, _jail: &'a Jail) -> Option<BorrowedFd<'a>> {
        None
    }

    async fn entry(&self, jail: &Jail, mark: Option<&str>) -> Result<Jid, Fault> {
        entered(look(&jail.name).await?, jail, mark, &self.boot)
    }

    /// By the jail's number: the name may be another jail's by now. chroot(8) is what
    /// the base system has to change to a numeric user.
    fn line(&self, jail: &Jail, entry: &Jid, command: &[String]) -> Vec<OsString> {
        let mut line = words(&[JEXEC, &entry.0]);
        if jail.owner.uid != 0 {
            let (uid, gid) = (jail.owner.uid.to_string(), jail.owner.gid.to_string());
            line.extend(words(&["/usr/sbin/chroot", "-u", &uid, "-g", &gid, "-G", &gid, "/"]));
        }
        line.extend(command.iter().map(OsString::from));
        line
    }

    /// The line itself changes the user, since only root enters a jail.
    fn user(&self, _jail: &Jail) -> Option<Owner> {
        None
    }

    async fn identity(&self, pid: u32) -> Option<String> {
        let (start, _) = started(pid).await?;
        Some(format!("{} {start}", &self.boot))
    }

    /// ps(1) shows no jail for what has not entered one yet.
    async fn is(&self, process: &Process) -> bool {
        let Some((start, jail)) = started(process.pid).await else { return false };
        let there = jail == "-" || jail == process.jail.as_str();
        there && same(&process.identity, &self.boot, start)
    }

    /// jexec becomes the agent, so the number is the agent's own.
    async fn signal(&self, process: &Process, signal: Signal) -> bool {
        self.is(process).await && send(process.pid, signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::JailRoot;

    fn jail(uid: u32) -> Jail {
        let root = JailRoot::unlooked("/usr/local/bastille/jails", "web01/root");
        let (owner, network) = (Owner { uid, gid: uid }, AgentNetwork::Host);
        Jail { name: "web01".parse().unwrap(), root, owner, user: None, network }
    }

    fn here() -> FreeBsd {
        let works = Works::new(Path::new("/var/db/colibri"));
        FreeBsd { base: "/usr/local/bastille/jails".into(), works, boot: "aa".into() }
    }

    fn recorded(line: &[OsString], text: &str) {
        assert_eq!(line, words(&text.split_ascii_whitespace().collect::<Vec<_>>()));
    }

    #[test]
    fn a_jail_of_our_own_is_started_without_services_and_removed() {
        recorded(
            &start_line(Keeper::Jail, &jail(0), "0-4"),
            "/usr/sbin/jail -c name=web01 path=/usr/local/bastille/jails/web01/root host.hostname=web01 \
             host.hostuuid=0-4 allow.noset_hostname ip4=inherit ip6=inherit mount.devfs persist",
        );
        recorded(&stop_line(Keeper::Jail, &jail(0).name, "7"), "/usr/sbin/jail -R 7");
        recorded(&unmount_line("04ff007171000000"), "/sbin/umount -t devfs 04ff007171000000");
        recorded(&look_line(Path::new(JLS), "web01"), "/usr/sbin/jls -j web01 jid host.hostuuid path");
    }

    #[test]
    fn a_jail_of_bastille_is_left_to_bastille() {
        recorded(&start_line(Keeper::Bastille, &jail(0), ""), "/usr/local/bin/bastille start web01");
        recorded(&stop_line(Keeper::Bastille, &jail(0).name, "7"), "/usr/local/bin/bastille stop web01");
    }

    /// In namespaces where stand-ins have the places of bastille(8) and jls(8), and the
    /// base is empty.
    #[cfg(target_os = "linux")]
    fn among_stand_ins(test: &str) {
        let dir = tempfile::tempdir().unwrap();
        let stand_in = |name: &str, script: &str| {
            use std::os::unix::fs::PermissionsExt;
            let at = dir.path().join(name);
            std::fs::write(&at, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).unwrap();
            at
        };
        let bastille =
            stand_in("bastille", "cd /usr/local/bastille/jails; [ ! -e starts ] || cp starts runs");
        let jls = stand_in(
            "jls",
            "cat /usr/local/bastille/jails/runs 2>/dev/null || { echo \"jls: jail \\\"$2\\\" not found\" >&2; exit 1; }",
        );
        let mount = stand_in("mount", "");
        let mut command = std::process::Command::new("bwrap");
        command.args(["--unshare-user", "--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/"]);
        command.args(["--tmpfs", "/usr/local", "--tmpfs", "/usr/sbin"]);
        command.arg("--ro-bind").arg(std::env::current_exe().unwrap()).arg("/usr/local/test");
        for (program, at) in [(bastille, BASTILLE), (jls, JLS), (mount, "/usr/sbin/mount")] {
            command.arg("--ro-bind").arg(program).arg(at);
        }
        command.args([
            "--dir",
            "/usr/local/bastille/jails/web01",
            "--chdir",
            "/",
            "--setenv",
            "STAND_INS",
            "1",
        ]);
        command.args(["--", "/usr/local/test", "--exact", test, "--nocapture"]);
        let output = command.output().expect("bwrap is not here: run `make setup`");
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_start_of_bastille_that_starts_nothing_is_an_error() {
        if std::env::var_os("STAND_INS").is_none() {
            return among_stand_ins(
                "jail::freebsd::tests::a_start_of_bastille_that_starts_nothing_is_an_error",
            );
        }
        let base = Path::new("/usr/local/bastille/jails");
        std::fs::write(base.join("web01/jail.conf"), "").unwrap();
        // bastille ends with 0 each time. What runs then: nothing, a jail elsewhere, the jail.
        for (runs, told) in [
            (None, Err("bastille did not start web01")),
            (Some("7 uuid /elsewhere/root\n"), Err("bastille did not start web01")),
            (Some("7 uuid /usr/local/bastille/jails/web01/root\n"), Ok("jid 7 of boot aa")),
        ] {
            if let Some(line) = runs {
                std::fs::write(base.join("starts"), line).unwrap();
            }
            let started = here().start(&jail(0), "mark").await;
            let started = started.as_deref().map_err(|fault| (fault.name, fault.message.as_str()));
            assert_eq!(started, told.map_err(|message| (ErrorName::JailFailed, message)), "{runs:?}");
        }
    }

    #[test]
    fn a_jail_is_ours_only_by_the_mark_that_it_was_started_with() {
        let mark = uuid(random());
        assert_eq!((mark.len(), &mark[14..15], mark.split('-').count()), (36, "4", 5), "{mark}");
        assert!("89ab".contains(&mark[19..20]) && mark != uuid(random()), "{mark}");
        let ours = Running::read(&format!("7 {mark} /jails/a b/root")).unwrap();
        assert_eq!((ours.jid.as_str(), ours.path.as_path()), ("7", Path::new("/jails/a b/root")));
        let by = |running: &Running, mark: &str, boot| running.ours(&Mark::read(mark), boot);
        assert_eq!(by(&ours, &mark, "aa"), Some(Keeper::Jail));
        // The kernel has the path that a link led to: the mark alone counts.
        let elsewhere = Running { path: "/elsewhere".into(), ..ours.clone() };
        assert_eq!(by(&elsewhere, &format!("{mark} 04ff aa"), "bb"), Some(Keeper::Jail));
        for uuid in ["00000000-0000-0000-0000-000000000000", "", &uuid(random())] {
            assert_eq!(by(&Running { uuid: uuid.to_owned(), ..ours.clone() }, &mark, "aa"), None);
        }
        // bastille's have no mark of ours: the number, in this boot, is what there is.
        let started = by_number("7", "aa");
        assert_eq!(by(&ours, &started, "aa"), Some(Keeper::Bastille));
        assert_eq!(by(&ours, &started, "bb"), None);
        assert_eq!(by(&ours, &by_number("7", ""), ""), None);
        assert_eq!(by(&Running { jid: "8".into(), ..ours }, &started, "aa"), None);
    }

    #[test]
    fn only_the_jail_at_its_root_and_with_its_mark_is_entered() {
        let (mark, root) = (uuid(random()), "/usr/local/bastille/jails/web01/root");
        let running = Running::read(&format!("7 {mark} {root}")).unwrap();
        let enter = |found: Option<&Running>, mark| entered(found.cloned(), &jail(0), mark, "aa");
        let (marked, started) = (format!("{mark} 04ff aa"), by_number("7", "aa"));
        for known in [None, Some(marked.as_str()), Some(started.as_str())] {
            assert_eq!(enter(Some(&running), known).unwrap(), Jid("7".into()), "{known:?}");
        }
        // Another jail of the name: the operator's, or bw's own.
        for path in ["/usr/local/jails/mail", "/var/db/colibri/bw-jail", &format!("{root}/x"), "/"] {
            let other = Running { path: path.into(), ..running.clone() };
            for known in [None, Some(marked.as_str()), Some(started.as_str())] {
                let fault = enter(Some(&other), known).unwrap_err();
                assert_eq!(fault.name, ErrorName::JailFailed, "{path} {known:?}");
            }
        }
        // One that was made there meanwhile, by somebody else.
        for other in [
            Running { uuid: uuid(random()), ..running.clone() },
            Running { jid: "8".into(), uuid: String::new(), ..running.clone() },
        ] {
            assert!(enter(Some(&other), Some(&marked)).is_err(), "{other:?}");
        }
        assert!(enter(Some(&Running { jid: "8".into(), ..running }), Some(&started)).is_err());
        assert!(enter(None, None).unwrap_err().message.contains("does not run"));
    }

    #[test]
    fn a_devfs_is_known_by_its_number_in_this_boot() {
        let line = "devfs on /jails/a (b)/root/dev (devfs, fsid 04ff007171000000)";
        let read = Devfs::read(line).unwrap();
        let at = Path::new("/jails/a (b)/root/dev");
        assert_eq!((read.fsid.as_str(), read.at.as_path()), ("04ff007171000000", at));
        assert_eq!(Devfs::read(&format!("{}, vnodes: count 3 )", &line[..line.len() - 1])), Some(read));
        assert_eq!(Devfs::read("tmpfs on /tmp (tmpfs, fsid 04ff)"), None);
        let marked = Mark::read("uuid 04ff aa");
        assert_eq!(here().devfs(&marked), Some("04ff"));
        assert_eq!(FreeBsd { boot: "bb".into(), ..here() }.devfs(&marked), None);
        assert_eq!(here().devfs(&Mark::read("uuid")), None);
    }

    #[test]
    fn a_root_around_another_jail_s_is_none() {
        let root = "/usr/local/bastille/jails/web01/root";
        let other = |name: &str, path: &str| [(name.to_owned(), PathBuf::from(path))];
        assert_eq!(within(&jail(0), &other("db", &format!("{root}/jails/db"))), Some("db"));
        assert_eq!(within(&jail(0), &other("web01.db", &format!("{root}/jails/db"))), None);
        for path in [root, "/usr/local/bastille/jails/web01/root2", "/usr/local/bastille/jails"] {
            assert_eq!(within(&jail(0), &other("db", path)), None, "{path}");
        }
    }

    #[test]
    fn a_process_is_known_by_its_boot_and_its_start() {
        assert!(same("aa 100", "aa", 100) && same("aa 100", "aa", 102) && same("aa 100", "aa", 98));
        assert!(!same("aa 100", "aa", 103) && !same("aa 100", "bb", 100));
        assert!(!same("", "", 0) && !same("aa", "aa", 0));
    }

    #[test]
    fn an_agent_runs_as_the_owner_of_its_file() {
        let jails = here();
        let command = ["/bin/sh".into(), "-c".into(), "id".into()];
        let jid = Jid("7".into());
        recorded(&jails.line(&jail(0), &jid, &command), "/usr/sbin/jexec 7 /bin/sh -c id");
        recorded(
            &jails.line(&jail(80), &jid, &command),
            "/usr/sbin/jexec 7 /usr/sbin/chroot -u 80 -g 80 -G 80 / /bin/sh -c id",
        );
    }
}
