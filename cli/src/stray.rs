//! A file of ours in a jail that is no tenant: the jail is a clone, or has another
//! name now. Only the file's first lines are read, and no link of the jail's followed.

use colibri_control::{Answer, Client, Request, TenantView};
use colibri_envfile::HEADER;
use colibri_pair::{TEMPORARY, TENANT};
use colibri_tenant::TenantId;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Where a file is unless its tenant's settings say otherwise.
const FILE: &str = "usr/local/etc/colibri/env";
/// The file's header, and the longest name that a tenant can have behind it.
const MOST: u64 = 512;
/// How a directory in a jail is opened: it is not a link, and nothing is waited for.
pub const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_CLOEXEC);
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// What was found in a jail that is no tenant.
#[derive(Debug, PartialEq, Eq)]
pub struct Stray {
    root: PathBuf,
    /// Below the root.
    file: PathBuf,
    /// Whose it is, as it says itself: a hostile jail can say anything.
    tenant: Option<TenantId>,
}

/// What is known of the tenant that a file names.
enum Source {
    /// Its root is this very one: the jail has another name.
    Here,
    /// Its own root is there: this is another jail.
    Elsewhere,
    /// Its root is not to be found, or may not be looked at.
    Unseen,
    /// There is no such tenant, or the file does not say.
    Unknown,
}

impl Stray {
    /// What it is, in a line.
    pub fn found(&self) -> String {
        let whose = self.tenant.as_ref().map(|tenant| format!(", for the tenant {tenant}"));
        format!("{} in its root is a file of colibri's{}", self.file.display(), whose.unwrap_or_default())
    }

    /// What to do about it.
    pub fn advice(&self, jail: &str, tenants: &[TenantView], daemon: Option<&mut Client>) -> String {
        let (file, root) = (self.root.join(&self.file), self.root.display());
        let old = self.tenant.as_ref().map_or("OLD", TenantId::as_str);
        let rename = format!("`colibri rename-tenant {old} {jail} --jail-root {root}`");
        let remove = format!("rm {}, and `colibri register-tenant` it", file.display());
        match self.source(tenants, daemon) {
            Source::Here => format!("the jail of {old} has another name now: {rename}"),
            Source::Elsewhere => {
                format!("{old} has its own jail, so this is a clone with its secrets: {remove}")
            }
            Source::Unseen | Source::Unknown => {
                format!("a clone has its source's secrets: {remove}; a renamed jail: {rename}")
            }
        }
    }

    /// The daemon looks at the other root: it does not hang there.
    fn source(&self, tenants: &[TenantView], daemon: Option<&mut Client>) -> Source {
        let Some(tenant) = tenants.iter().find(|one| Some(&one.tenant) == self.tenant.as_ref()) else {
            return Source::Unknown;
        };
        if tenant.root == self.root {
            return Source::Here;
        }
        let look = Request::CheckRoot { tenant: tenant.tenant.clone() };
        match daemon.map(|daemon| daemon.call(look)) {
            Some(Ok(Answer::Done)) => Source::Elsewhere,
            _ => Source::Unseen,
        }
    }
}

/// The file in that root, if there is one of ours where a tenant has its own.
pub fn in_root(root: &Path, tenants: &[TenantView]) -> Option<Stray> {
    let own = |tenant: &TenantView| Some(tenant.settings.dir.as_ref()?.join(tenant.settings.file.as_ref()?));
    let files: BTreeSet<_> = tenants.iter().filter_map(own).chain([PathBuf::from(FILE)]).collect();
    let look = |file: PathBuf| {
        let tenant = owner(root, &file).ok().flatten()?;
        Some(Stray { root: root.to_owned(), file, tenant })
    };
    files.into_iter().find_map(look)
}

/// Jails below the base that are no tenants and have a file of a tenant's, by name.
pub fn below(base: &Path, tenants: &[TenantView]) -> Vec<(String, Stray)> {
    let is_tenant = |root: &PathBuf| tenants.iter().any(|tenant| tenant.root == *root);
    let places = places(base, tenants);
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    let roots = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        // Put together by names: a path that ends with a slash is followed through a link.
        let root = |place: &PathBuf| entry.path().components().chain(place.components()).collect();
        let mut roots = places.iter().map(root).filter(|root| !is_tenant(root));
        Some((name, roots.find_map(|root| in_root(&root, tenants))?))
    };
    let mut found: Vec<_> = entries.filter_map(roots).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// Where a jail's root is below the jail's directory: bastille says `root`, AppJail
/// `jail`, and each tenant as it was registered.
fn places(base: &Path, tenants: &[TenantView]) -> BTreeSet<PathBuf> {
    let below = |tenant: &TenantView| {
        let mut parts = tenant.root.strip_prefix(base).ok()?.components();
        parts.next()?;
        Some(parts.as_path().to_owned())
    };
    tenants.iter().filter_map(below).chain(["root".into(), "jail".into()]).collect()
}

/// Whose file that is; the inner `None` where it does not say. An error or `None`
/// where it is none of ours.
fn owner(root: &Path, file: &Path) -> Result<Option<Option<TenantId>>, Errno> {
    let (dir, name) = (file.parent().unwrap_or(Path::new("")), file.file_name().unwrap_or_default());
    let mut at = open(root, DIRECTORY, Mode::empty())?;
    for part in dir.components() {
        let Component::Normal(part) = part else { return Ok(None) };
        at = openat(&at, part, DIRECTORY, Mode::empty())?;
    }
    match readlinkat(&at, name) {
        // A directory of files is behind a link of the writer's.
        Ok(to) => Ok(to.as_bytes().starts_with(TEMPORARY.0.as_bytes()).then_some(None)),
        Err(_) => Ok(header(openat(&at, name, READ, Mode::empty())?)),
    }
}

fn header(file: OwnedFd) -> Option<Option<TenantId>> {
    let kind = SFlag::from_bits_truncate(fstat(&file).ok()?.st_mode) & SFlag::S_IFMT;
    let mut text = Vec::new();
    if kind != SFlag::S_IFREG || File::from(file).take(MOST).read_to_end(&mut text).is_err() {
        return None;
    }
    let rest = text.strip_prefix(HEADER.as_bytes())?;
    let name = rest.strip_prefix(TENANT.as_bytes()).and_then(|rest| rest.split(|&byte| byte == b'\n').next());
    Some(name.and_then(|name| TenantId::try_from(String::from_utf8(name.to_vec()).ok()?).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tenant(name: &str, root: &Path, dir: &str) -> TenantView {
        let view = serde_json::json!({
            "tenant": name, "root": root, "status": "active", "settings": { "dir": dir, "file": "env" },
            "collection-id": null, "keys": [], "registered": 0, "last-success": null, "last-error": null,
            "next-try": null, "busy": false,
        });
        serde_json::from_value(view).unwrap()
    }

    fn put(root: &Path, file: &str, text: &str) -> PathBuf {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        file
    }

    fn whose(root: &Path) -> Option<Option<String>> {
        in_root(root, &[]).map(|stray| stray.tenant.map(|tenant| tenant.to_string()))
    }

    #[test]
    fn a_file_of_ours_is_known_by_its_first_lines_and_no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(whose(root.path()), None);
        let file = put(root.path(), FILE, "A=1\n");
        assert_eq!(whose(root.path()), None);
        for (line, name) in [
            ("A=1", None),
            ("# Tenant: web01", Some("web01")),
            ("# Tenant: web01 \u{1b}[2J", None),
            ("# Tenant: $(reboot)", None),
            ("# Tenant: ", None),
        ] {
            fs::write(&file, format!("{HEADER}{line}\nB=2\n")).unwrap();
            assert_eq!(whose(root.path()), Some(name.map(Into::into)), "{line:?}");
        }
        fs::rename(&file, root.path().join("elsewhere")).unwrap();
        symlink(root.path().join("elsewhere"), &file).unwrap();
        assert_eq!(whose(root.path()), None, "a link");
        fs::remove_file(&file).unwrap();
        symlink(".colibri-abc", &file).unwrap();
        assert_eq!(whose(root.path()), Some(None), "a directory of files");
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
        assert_eq!(whose(root.path()), None, "a pipe is not waited for");
    }

    #[test]
    fn jails_are_found_wherever_the_tenants_have_their_roots_and_files() {
        let base = tempfile::tempdir().unwrap();
        let own = tenant("web01", &base.path().join("web01/fs/root"), "run/secrets");
        put(&own.root, "run/secrets/env", HEADER);
        put(&base.path().join("b/fs/root"), "run/secrets/env", &format!("{HEADER}{TENANT}web01\n"));
        put(&base.path().join("a/jail"), FILE, HEADER);
        put(&base.path().join("c/fs/root"), "etc/other", HEADER);
        // A root that is the jail's own directory, and a link beside it.
        let flat = tenant("flat", &base.path().join("flat"), "run/secrets");
        put(&base.path().join("d"), FILE, HEADER);
        symlink("d", base.path().join("link")).unwrap();
        let found = below(base.path(), &[own, flat]);
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "d"]);
        assert!(
            found[1]
                .1
                .found()
                .ends_with("run/secrets/env in its root is a file of colibri's, for the tenant web01")
        );
    }

    #[test]
    fn the_advice_tells_a_renamed_jail_from_others_where_that_is_known() {
        let root = Path::new("/jails/www/root");
        let stray = |name: Option<&str>| Stray {
            root: root.into(),
            file: FILE.into(),
            tenant: name.map(|name| name.parse().unwrap()),
        };
        let advice = |name, own: &Path| stray(name).advice("www", &[tenant("web01", own, "d")], None);
        assert_eq!(
            advice(Some("web01"), root),
            "the jail of web01 has another name now: `colibri rename-tenant web01 www --jail-root /jails/www/root`"
        );
        let unsure = advice(Some("web01"), Path::new("/jails/web01/root"));
        assert!(unsure.contains("rm /jails/www/root/usr/local/etc/colibri/env, and"), "{unsure}");
        assert!(unsure.contains("rename-tenant web01 www --jail-root"), "{unsure}");
        assert!(advice(None, root).contains("rename-tenant OLD www"));
    }
}
