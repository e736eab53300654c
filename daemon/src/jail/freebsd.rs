//! FreeBSD: jail(8), jexec(8) and jls(8), and bastille(8) for the jails that it
//! made. A jail that already runs is used as it is.

use super::{Jail, Jails, exists, run, send, words};
use crate::root::JailRoot;
use colibri_control::{AgentNetwork, ErrorName, Fault, JailName};
use colibri_order::Owner;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

const BASTILLE: &str = "/usr/local/bin/bastille";
const JAIL: &str = "/usr/sbin/jail";
const JEXEC: &str = "/usr/sbin/jexec";
const JLS: &str = "/usr/sbin/jls";

/// The system's own jails.
#[derive(Clone, Debug)]
pub struct FreeBsd {
    base: PathBuf,
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
        Self { base: config.base.clone() }
    }

    /// The jail's directory is looked into by a child, which may hang there.
    async fn keeper(&self, name: &JailName, root: Option<&JailRoot>) -> Keeper {
        let own = self.base.join(name.as_str());
        if !exists(Path::new(BASTILLE)) || root.is_none_or(|root| root.path() != own.join("root")) {
            return Keeper::Jail;
        }
        let made = run(&["/bin/test".into(), "-f".into(), own.join("jail.conf").into()]).await;
        if made.is_ok() { Keeper::Bastille } else { Keeper::Jail }
    }
}

/// Asks for the path of a running jail.
pub fn path_line(jail: &Jail) -> Vec<OsString> {
    words(&[JLS, "-j", jail.name.as_str(), "path"])
}

/// Starts a jail.
pub fn start_line(keeper: Keeper, jail: &Jail) -> Vec<OsString> {
    let name = jail.name.as_str();
    match keeper {
        Keeper::Bastille => words(&[BASTILLE, "start", name]),
        Keeper::Jail => {
            let mut path = OsString::from("path=");
            path.push(jail.root.path());
            let mut line = words(&[JAIL, "-c", &format!("name={name}")]);
            line.push(path);
            let host = format!("host.hostname={name}");
            let network = match jail.network {
                AgentNetwork::Host => "inherit",
                AgentNetwork::None => "disable",
            };
            let (ip4, ip6) = (format!("ip4={network}"), format!("ip6={network}"));
            line.extend(words(&[&host, &ip4, &ip6, "mount.devfs", "persist"]));
            line
        }
    }
}

/// Stops a jail.
pub fn stop_line(keeper: Keeper, name: &JailName) -> Vec<OsString> {
    match keeper {
        Keeper::Bastille => words(&[BASTILLE, "stop", name.as_str()]),
        Keeper::Jail => words(&[JAIL, "-r", name.as_str()]),
    }
}

/// jail(8) forgets what it mounted for a jail that no file describes.
pub fn unmount_line(root: &JailRoot) -> Vec<OsString> {
    let mut line = words(&["/sbin/umount", "-t", "devfs"]);
    line.push(root.path().join("dev").into());
    line
}

impl Jails for FreeBsd {
    const OWN_USERS: bool = false;

    async fn runs(&self, jail: &Jail) -> Result<bool, Fault> {
        // jls fails for a jail that does not run.
        let Ok(Some(path)) = run(&path_line(jail)).await else { return Ok(false) };
        if Path::new(&path) != jail.root.path() {
            let message = format!("the jail {} runs at {path}", jail.name);
            return Err(Fault::new(ErrorName::JailFailed, message));
        }
        Ok(true)
    }

    async fn start(&self, jail: &Jail) -> Result<(), Fault> {
        let keeper = self.keeper(&jail.name, Some(&jail.root)).await;
        run(&start_line(keeper, jail)).await.map(drop)
    }

    async fn stop(&self, name: &JailName, root: Option<&JailRoot>) -> Result<(), Fault> {
        let keeper = self.keeper(name, root).await;
        run(&stop_line(keeper, name)).await?;
        if keeper == Keeper::Bastille {
            return Ok(());
        }
        // Whatever a link leads to now, it is not ours to unmount.
        let unmounted = match root {
            Some(root) => run(&unmount_line(root)).await.map(drop),
            None => Err(Fault::new(ErrorName::JailFailed, format!("the root of {name} is not to be had"))),
        };
        if let Err(fault) = unmounted {
            tracing::warn!(%fault, "the jail's devfs stays mounted");
        }
        Ok(())
    }

    /// jexec(8) becomes a program inside the jail, where it would lead out.
    fn descriptor<'a>(&self, _jail: &'a Jail) -> Option<BorrowedFd<'a>> {
        None
    }

    /// chroot(8) is what the base system has to change to a numeric user.
    fn line(&self, jail: &Jail, command: &[String]) -> Vec<OsString> {
        let mut line = words(&[JEXEC, jail.name.as_str()]);
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
        let line = words(&["/bin/ps", "-o", "lstart=", "-p", &pid.to_string()]);
        run(&line).await.ok().flatten().filter(|started| !started.is_empty())
    }

    /// jexec becomes the agent, so the number is the agent's own.
    fn signal(&self, pid: u32, signal: Signal) -> bool {
        send(pid, signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jail(uid: u32) -> Jail {
        let root = JailRoot::unlooked("/usr/local/bastille/jails", "web01/root");
        let (owner, network) = (Owner { uid, gid: uid }, AgentNetwork::Host);
        Jail { name: "web01".parse().unwrap(), root, owner, user: None, network }
    }

    fn recorded(line: &[OsString], text: &str) {
        assert_eq!(line, words(&text.split_ascii_whitespace().collect::<Vec<_>>()));
    }

    #[test]
    fn a_jail_of_our_own_is_started_without_services_and_removed() {
        recorded(
            &start_line(Keeper::Jail, &jail(0)),
            "/usr/sbin/jail -c name=web01 path=/usr/local/bastille/jails/web01/root host.hostname=web01 \
             ip4=inherit ip6=inherit mount.devfs persist",
        );
        recorded(&stop_line(Keeper::Jail, &jail(0).name), "/usr/sbin/jail -r web01");
        let dev = "/sbin/umount -t devfs /usr/local/bastille/jails/web01/root/dev";
        recorded(&unmount_line(&jail(0).root), dev);
        recorded(&path_line(&jail(0)), "/usr/sbin/jls -j web01 path");
    }

    #[test]
    fn a_jail_of_bastille_is_left_to_bastille() {
        recorded(&start_line(Keeper::Bastille, &jail(0)), "/usr/local/bin/bastille start web01");
        recorded(&stop_line(Keeper::Bastille, &jail(0).name), "/usr/local/bin/bastille stop web01");
    }

    #[test]
    fn an_agent_runs_as_the_owner_of_its_file() {
        let jails = FreeBsd { base: "/usr/local/bastille/jails".into() };
        let command = ["/bin/sh".into(), "-c".into(), "id".into()];
        recorded(&jails.line(&jail(0), &command), "/usr/sbin/jexec web01 /bin/sh -c id");
        recorded(
            &jails.line(&jail(80), &command),
            "/usr/sbin/jexec web01 /usr/sbin/chroot -u 80 -g 80 -G 80 / /bin/sh -c id",
        );
    }
}
