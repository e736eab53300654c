//! Jail roots. A path becomes a [`JailRoot`] only when a child process has walked
//! to it, name by name below the base and through no link; nothing else starts
//! an agent, orders a writer or binds a mount. The daemon itself opens no path of
//! a jail's: a file system that does not answer holds up that child alone.

mod identity;
mod layout;
mod looks;

pub use identity::{Identity, boot};
pub use looks::Starting;

use self::looks::Looks;

use crate::leaving::Leaving;
use crate::settings::Config;
use crate::tenant::Tenant;
use crate::turns::Turns;
use crate::writer;
use colibri_pair::{ANY, FileMode, FileName, Format, Medium, Order, RelPath, Report, Verb};
use colibri_tenant::{ErrorName, Fault, JailName};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A look takes milliseconds, on a loaded host a second or two.
const LOOK: Duration = Duration::from_secs(10);

/// Where a jail's root is to be: strictly under the base, as far as the path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    base: PathBuf,
    below: RelPath,
}

impl Place {
    /// The base, which is canonical.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The root as seen from the base.
    pub fn below(&self) -> &RelPath {
        &self.below
    }

    /// The whole path.
    pub fn path(&self) -> PathBuf {
        self.base.join(self.below.as_path())
    }
}

/// A jail's root that was looked at: a directory strictly under the base, without
/// a link on the way, and open.
#[derive(Clone, Debug)]
pub struct JailRoot {
    place: Place,
    identity: Identity,
    content: Content,
    dir: Arc<OwnedFd>,
}

/// Whether there is anything in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing: a jail that was never made, or a mount point.
    Nothing,
    /// Something.
    Something,
}

impl JailRoot {
    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its path, which may lead elsewhere by the time that it is used.
    pub fn path(&self) -> PathBuf {
        self.place.path()
    }

    /// Which directory it is, in the words of an order.
    pub fn inode(&self) -> String {
        format!("{}:{}", self.identity.device, self.identity.inode)
    }

    /// What it is known by later.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether there is anything in it.
    pub const fn content(&self) -> Content {
        self.content
    }

    /// Proceeds only where there is something: a jail has files, a mount point has none.
    ///
    /// # Errors
    /// `RootNotMounted`.
    pub fn filled(&self) -> Result<(), Fault> {
        match self.content {
            Content::Something => Ok(()),
            Content::Nothing => {
                let path = self.path();
                let path = path.display();
                let message = format!(
                    "{path} is empty, and no jail is: a new one needs a directory first, such as {path}/etc"
                );
                Err(Fault::new(ErrorName::RootNotMounted, message))
            }
        }
    }

    /// The directory itself.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    #[cfg(test)]
    pub(crate) fn unlooked(base: &str, below: &str) -> Self {
        let below = RelPath::try_from(Path::new(below)).unwrap();
        let dir = Arc::new(std::fs::File::open("/").unwrap().into());
        let identity = Identity { boot: None, device: 0, inode: 0, born: None, lasting: None };
        let place = Place { base: base.into(), below };
        Self { place, identity, content: Content::Something, dir }
    }
}

/// Looks at jail roots: one child at most for each jail.
#[derive(Clone, Debug)]
pub struct Roots {
    config: Arc<Config>,
    boot: Option<String>,
    leaving: Leaving,
    turns: Turns,
    looks: Arc<Looks>,
}

impl Roots {
    /// Roots below the configured base.
    pub fn new(config: Arc<Config>) -> Self {
        let boot = identity::boot();
        if boot.is_none() {
            tracing::warn!("this boot has no name: file systems without one are not known again");
        }
        Self { config, boot, leaving: Leaving::default(), turns: Turns::default(), looks: Arc::default() }
    }

    /// The children that were left behind, for others that work in jails.
    pub const fn leaving(&self) -> &Leaving {
        &self.leaving
    }

    /// Has looks at the root of a jail that is being started come before those of others,
    /// until that is dropped.
    pub fn starting(&self, jail: &JailName) -> Starting {
        Starting::new(&self.looks, jail)
    }

    /// Reads a path as the place of a jail's root, without looking at it. The base
    /// may be spelled as it was configured.
    ///
    /// # Errors
    /// `TargetEscapesRoot` where it is not strictly under the base, or has a `..`.
    pub fn place(&self, root: &Path) -> Result<Place, Fault> {
        let base = &self.config.base;
        let given = std::path::absolute(&self.config.settings.jail_root_base).ok();
        let below = [Some(base), given.as_ref()].into_iter().flatten().find_map(|base| {
            let below = root.strip_prefix(base).ok()?;
            RelPath::try_from(below).ok().filter(|below| below.as_path().to_str().is_some())
        });
        let outside = || format!("{} is not strictly under {}", root.display(), base.display());
        let below = below.ok_or_else(|| Fault::new(ErrorName::TargetEscapesRoot, outside()))?;
        Ok(Place { base: base.clone(), below })
    }

    /// Looks at a jail's root.
    ///
    /// # Errors
    /// `TargetEscapesRoot`, `RootNotMounted` where nothing is there,
    /// `RootUnresponsive`, or what became of the child.
    pub async fn check(&self, jail: &JailName, root: &Path) -> Result<JailRoot, Fault> {
        let place = self.place(root)?;
        let turn = self.turns.of(jail);
        self.leaving.none(jail)?;
        let one = timeout(LOOK, turn.lock()).await;
        self.leaving.none(jail)?;
        let _one = one.map_err(|_| unresponsive(jail))?;
        self.look(jail, place).await
    }

    /// Proceeds where an agent may be, and a tenant: not where the host keeps the files
    /// that it starts jails by.
    ///
    /// # Errors
    /// `TargetEscapesRoot`, and `RootUnresponsive`.
    pub async fn is_root(&self, jail: &JailName, place: &Place) -> Result<(), Fault> {
        layout::is_root(self, jail, place).await
    }

    /// Looks at a tenant's root, which has to be the one that its secrets are in. An
    /// empty directory is a mount point without its file system, and never a jail.
    ///
    /// # Errors
    /// `RootNotMounted` where it is another, and as [`Roots::check`].
    pub async fn of(&self, tenant: &Tenant) -> Result<JailRoot, Fault> {
        let root = self.check(&tenant.id, &tenant.root).await?;
        root.filled()?;
        if tenant.identity.as_ref().is_none_or(|known| known.is(&root.identity)) {
            return Ok(root);
        }
        let path = tenant.root.display();
        let message = format!("{path} is another directory than the one that the secrets were brought to");
        Err(Fault::new(ErrorName::RootNotMounted, message))
    }

    async fn look(&self, jail: &JailName, place: Place) -> Result<JailRoot, Fault> {
        let begun = self.looks.begin(jail).await;
        let end = Instant::now() + LOOK;
        let failed = |error: std::io::Error| Fault::new(ErrorName::WriteFailed, format!("a look: {error}"));
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let order = self.order(&place, end)?;
        let child = writer::Run { program: &self.config.writer, jail, leaving: &self.leaving };
        let report = child.run_while(&order, Some(theirs.into()), begun.patience(end)).await;
        let report = report.map_err(|failed| late(jail, failed.into()))?;
        match (report, receive(&ours)) {
            (Report::Looked { device, inode, born, file_system, empty }, Some(dir)) => {
                let lasting = identity::lasting(&file_system, device);
                let born = born.and_then(identity::time);
                let identity = Identity { boot: self.boot.clone(), device, inode, born, lasting };
                let content = if empty { Content::Nothing } else { Content::Something };
                Ok(JailRoot { place, identity, content, dir: Arc::new(dir) })
            }
            _ => Err(Fault::new(ErrorName::ProtocolViolation, "the writer answered what was not asked")),
        }
    }

    fn order(&self, place: &Place, end: Instant) -> Result<Order, Fault> {
        // What is below the root is not looked at.
        let unused = |_| Fault::new(ErrorName::BadRequest, "no order for a look");
        let time = end.saturating_duration_since(Instant::now());
        Ok(Order {
            verb: Verb::Look,
            base: place.base.clone(),
            root: place.below.clone(),
            inode: ANY.into(),
            dir: RelPath::try_from(Path::new("-")).map_err(unused)?,
            file: FileName::try_from(OsStr::new("-")).map_err(unused)?,
            owner: self.config.owner,
            format: Format::default(),
            seconds: u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_add(1),
            medium: Medium::default(),
            tenant: String::new(),
            mode: FileMode::default(),
            id: 0,
            allow: Vec::new(),
        })
    }
}

fn unresponsive(jail: &JailName) -> Fault {
    Fault::new(ErrorName::RootUnresponsive, format!("the root of {jail} does not answer"))
}

fn late(jail: &JailName, fault: Fault) -> Fault {
    if fault.name == ErrorName::DeadlineExceeded { unresponsive(jail) } else { fault }
}

/// The descriptor that the child has sent before it reported.
fn receive(from: &UnixStream) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(from, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}
