//! A tenant: its row, the life it may lead, and what its settings mean to the
//! writer and to the fetcher.

mod file;

pub use file::{FileState, Placed};

use crate::root::{Identity, JailRoot};
use crate::store::Which;
use colibri_control::TenantView;
use colibri_envfile::is_barred;
use colibri_pair::{EnvKey, FileMode, FileName, Format, Medium, Order, Owner, RelPath, Verb};
use colibri_session as words;
use colibri_tenant::{
    CollectionName, ErrorName, Fault, FileSettings, Format as SetFormat, KeyCase, MAX_FILES, OnChange,
    Settings, Status, TenantId,
};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DIR: &str = "usr/local/etc/colibri";
const FILE: &str = "env";
/// Longest name of an organization, or id, in bytes.
const MAX_NAME: usize = 256;
/// Longest name of an item, in bytes.
const MAX_ITEM: usize = 1000;
/// Longest deadline that a tenant may have.
const MAX_DEADLINE: u32 = 3600;

/// A row of the tenants table. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// Its jail's root, canonical.
    pub root: PathBuf,
    /// Where it is in its life.
    pub status: Status,
    /// As the operator set them.
    pub settings: Settings,
    /// The collection's id as found first.
    pub collection_id: Option<String>,
    /// Names of the keys in the file.
    pub keys: Vec<String>,
    /// When it was registered.
    pub registered: u64,
    /// When a provision last succeeded.
    pub last_success: Option<u64>,
    /// What is wrong since then.
    pub error: Option<Fault>,
    /// How what was to follow its last change failed.
    pub action_error: Option<Fault>,
    /// Failures in a row.
    pub failures: u32,
    /// When it is tried next.
    pub next_try: Option<u64>,
    /// Since when the vault's answer is smaller than the file.
    pub shrunken_since: Option<u64>,
    /// How many keys that answer had.
    pub shrunken_to: Option<u32>,
    /// How many changes of the content the action has not been run for yet.
    pub action_due: u32,
    /// The file shall go, and has not been unlinked yet.
    pub removal_due: bool,
    /// A provision that was not recorded as a success may have written the file.
    pub unsure: bool,
    /// Whom the host knows its agents as, once it had one.
    pub agent_uid: Option<u32>,
    /// The root that the secrets were brought to last.
    pub identity: Option<Identity>,
    /// What tells the state of the collection apart that it got last.
    pub fingerprint: Option<words::Fingerprint>,
    /// Its further files as they are known, by path.
    pub placed: Vec<Placed>,
}

/// What happens to a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Its jail starts.
    Started,
    /// Its secrets are in the jail.
    Provisioned,
    /// Its agent was stopped.
    Stopped,
    /// Its secrets were removed for good.
    Destroyed,
}

/// The status after a turn; `None` where the turn may not be taken. The table
/// holds the same rule.
pub const fn turn(status: Status, turn: Turn) -> Option<Status> {
    match (status, turn) {
        (Status::Provisioned, Turn::Started) => Some(Status::Provisioned),
        (Status::Active | Status::Stopped, Turn::Started) => Some(Status::Active),
        (Status::Provisioned | Status::Active | Status::Stopped, Turn::Provisioned) => Some(Status::Active),
        (Status::Active | Status::Stopped, Turn::Stopped) => Some(Status::Stopped),
        (Status::Stopped, Turn::Destroyed) => Some(Status::Destroyed),
        (Status::Provisioned, Turn::Stopped | Turn::Destroyed)
        | (Status::Active, Turn::Destroyed)
        | (Status::Destroyed, _) => None,
    }
}

/// A tenant's settings, parsed: where and how its file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    dir: RelPath,
    file: FileName,
    owner: Owner,
    format: Format,
    medium: Medium,
    allow: Vec<EnvKey>,
    mode: FileMode,
    id: u32,
    /// The owner that was set for this file alone, which a jail's user is not.
    fixed: bool,
}

impl Target {
    /// Parses what the settings say about the file.
    ///
    /// # Errors
    /// `BadRequest` naming the first setting that cannot be.
    pub fn new(settings: &Settings, owner: Owner) -> Result<Self, Fault> {
        let dir = settings.dir.as_deref().unwrap_or(Path::new(DIR));
        let file = settings.file.as_deref().unwrap_or(FILE);
        let owner = match &settings.owner {
            Some(text) => Owner::parse(text).ok_or_else(|| bad("owner is not UID:GID"))?,
            None => owner,
        };
        Ok(Self {
            dir: RelPath::try_from(dir).map_err(|_| bad("dir is no path below the jail root"))?,
            file: FileName::try_from(OsStr::new(file)).map_err(|_| bad("file is no file name"))?,
            owner,
            format: Format::parse(settings.format.as_str()).ok_or_else(|| bad("format is not known"))?,
            medium: if settings.require_tmpfs { Medium::Memory } else { Medium::Any },
            allow: settings.allow.iter().map(|name| allowed(name)).collect::<Result<_, _>>()?,
            mode: FileMode::default(),
            id: 0,
            fixed: false,
        })
    }

    /// Parses what the settings say about a further file.
    ///
    /// # Errors
    /// `BadRequest` naming the first setting that cannot be.
    pub fn further(
        settings: &Settings,
        placed: &Placed,
        file: &FileSettings,
        owner: Owner,
    ) -> Result<Self, Fault> {
        let first = Self::new(settings, owner)?;
        let own = file.owner.as_deref().map(|text| {
            Owner::parse(text).ok_or_else(|| bad(&format!("{}: owner is not UID:GID", placed.path)))
        });
        let malformed = |_| bad(&format!("{}: no file can have that path", placed.path));
        Ok(Self {
            dir: RelPath::try_from(placed.path.dir()).map_err(malformed)?,
            file: FileName::try_from(placed.path.file()).map_err(malformed)?,
            owner: own.clone().transpose()?.unwrap_or(first.owner),
            format: Format::parse(file.format.as_str()).ok_or_else(|| bad("format is not known"))?,
            mode: FileMode::parse(file.mode.as_str()).ok_or_else(|| bad("mode is not known"))?,
            id: placed.id,
            fixed: own.is_some(),
            ..first
        })
    }

    /// A further file that the settings do not have any more, as it was written last.
    ///
    /// # Errors
    /// As for [`Target::further`].
    pub fn left(settings: &Settings, placed: &Placed, owner: Owner) -> Result<Self, Fault> {
        let file = FileSettings { owner: placed.state.owner.clone(), ..FileSettings::default() };
        Self::further(settings, placed, &file, owner)
    }

    /// The order for one writer.
    pub fn order(&self, verb: Verb, tenant: &TenantId, root: &JailRoot, time: Duration) -> Order {
        Order {
            verb,
            base: root.place().base().into(),
            root: root.place().below().clone(),
            inode: root.inode(),
            dir: self.dir.clone(),
            file: self.file.clone(),
            owner: self.owner,
            format: self.format,
            seconds: u32::try_from(time.as_secs()).unwrap_or(u32::MAX).saturating_add(1),
            medium: self.medium,
            tenant: tenant.to_string(),
            mode: self.mode,
            id: self.id,
            allow: self.allow.clone(),
        }
    }

    /// The same with a file of the jail's own user, if it has one.
    pub fn given_to(self, user: Option<Owner>) -> Self {
        Self { owner: user.filter(|_| !self.fixed).unwrap_or(self.owner), ..self }
    }

    /// Who owns the file, and is the agent inside the jail.
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// The file's path as the agent sees it.
    pub fn inside(&self) -> PathBuf {
        Path::new("/").join(self.dir.as_path()).join(self.file.as_os_str())
    }

    /// What another target would change of the file itself, a line each.
    pub fn changes(&self, new: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.inside() != new.inside() {
            changes.push(format!("{} becomes {}", self.inside().display(), new.inside().display()));
        }
        if self.owner != new.owner {
            let text = |owner: Owner| format!("{}:{}", owner.uid, owner.gid);
            changes.push(format!("its owner {} becomes {}", text(self.owner), text(new.owner)));
        }
        if self.format != new.format {
            let (old, new) = (self.format.as_str(), new.format.as_str());
            changes.push(format!("its format {old} becomes {new}"));
        }
        changes
    }

    /// Whether `other` is the same file, written anew.
    pub fn same_place(&self, other: &Self) -> bool {
        self.dir == other.dir && self.file == other.file && self.is_dir() == other.is_dir()
    }

    fn is_dir(&self) -> bool {
        self.format == Format::Dir
    }
}

/// Checks every setting.
///
/// # Errors
/// `BadRequest` naming the first that cannot be.
pub fn check(settings: &Settings, owner: Owner) -> Result<(), Fault> {
    Target::new(settings, owner)?;
    settings.expect.iter().try_for_each(|name| key("expect", name).map(drop))?;
    for (setting, value) in
        [("collection-id", &settings.collection_id), ("organization", &settings.organization)]
    {
        if value.as_ref().is_some_and(|value| value.is_empty() || value.len() > MAX_NAME) {
            return Err(bad(&format!("{setting} is empty or longer than {MAX_NAME} bytes")));
        }
    }
    if let Some(id) = settings.collection_id.as_ref().filter(|id| !is_uuid(id)) {
        let form = "00000000-0000-0000-0000-000000000000";
        return Err(bad(&format!(
            "collection-id {id:?} is no id, which has the form {form}; a name is a collection"
        )));
    }
    if !settings.prefix.is_empty() {
        key("prefix", &settings.prefix)?;
    }
    renamings(settings)?;
    files(settings, owner)?;
    if settings.deadline.is_some_and(|seconds| seconds == 0 || seconds > MAX_DEADLINE) {
        return Err(bad("deadline is not between 1 and 3600 seconds"));
    }
    on_change(&settings.on_change)
}

fn on_change(action: &OnChange) -> Result<(), Fault> {
    match action {
        OnChange::Signal(name) => signal(name).map(drop),
        OnChange::Command(words) if words.is_empty() => Err(bad("on-change has an empty command")),
        // Whether the host has it is asked where the host is known.
        OnChange::Action(_) | OnChange::Command(_) | OnChange::RestartAgent | OnChange::None => Ok(()),
    }
}

/// Whether the vault may have given this as an id.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Each further file has a place of its own, and a choice that its format can hold.
fn files(settings: &Settings, owner: Owner) -> Result<(), Fault> {
    if settings.format == SetFormat::Raw {
        return Err(bad("format: raw is for further files: `colibri add-file`"));
    }
    if settings.files.len() >= MAX_FILES {
        return Err(bad(&format!("files: a tenant has at most {MAX_FILES}, with its first")));
    }
    let first = Target::new(settings, owner)?.inside();
    let mut places = vec![first];
    for (path, file) in &settings.files {
        let wrong = |why: &str| Err(bad(&format!("file {path}: {why}")));
        Target::further(settings, &Placed::fresh(path.clone()), file, owner)?;
        let place = Path::new("/").join(path.as_str());
        if places.iter().any(|other| other.starts_with(&place) || place.starts_with(other)) {
            return wrong("another file of the tenant is there, or within or around it");
        }
        places.push(place);
        let item = file.item.as_deref().map(str::trim);
        match (file.format, item) {
            (SetFormat::Dir, _) => return wrong("only a tenant's first file can be a directory of files"),
            (SetFormat::Raw, None) if file.only.is_empty() => {
                return wrong("a raw file is one item's value, or one key's: name it with item or only");
            }
            (SetFormat::Raw, Some(_)) if !file.only.is_empty() || !file.expect.is_empty() => {
                return wrong("a raw file is an item's value or a key's, not both");
            }
            (SetFormat::Raw, Some(name)) if name.is_empty() || name.len() > MAX_ITEM => {
                return wrong(&format!("item is empty or longer than {MAX_ITEM} bytes"));
            }
            (SetFormat::Raw, _) => {}
            (_, Some(_)) => return wrong("an item by its name is the value of a raw file only"),
            (_, None) => {}
        }
        file.expect.iter().try_for_each(|name| key("expect", name).map(drop))?;
        if let Some(action) = &file.on_change {
            on_change(action)?;
        }
    }
    Ok(())
}

/// Each renaming has to be one that can come to pass.
fn renamings(settings: &Settings) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for (old, new) in &settings.rename {
        key("rename", new)?;
        let mut plain = old.replace([' ', '-', '.'], "_");
        if settings.key_case == KeyCase::Upper {
            plain.make_ascii_uppercase();
        }
        let why = if plain != *old {
            format!("no name comes out so; say {plain}")
        } else if !old.starts_with(&settings.prefix) || old.is_empty() {
            format!("no name comes out without the prefix {:?}", settings.prefix)
        } else if !seen.insert(old) {
            "it is there twice".into()
        } else {
            continue;
        };
        return Err(bad(&format!("rename: {old:?}: {why}")));
    }
    Ok(())
}

/// Reads a signal's name, with or without `SIG`.
///
/// # Errors
/// `BadRequest` if there is no such signal.
pub fn signal(name: &str) -> Result<Signal, Fault> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    format!("SIG{name}").parse().map_err(|_| bad("on-change names no signal"))
}

fn allowed(name: &str) -> Result<EnvKey, Fault> {
    match key("allow", name)? {
        barred if is_barred(&barred) => {
            Err(bad(&format!("allow: {barred} is never written: a shell that reads the file evaluates it")))
        }
        allowed => Ok(allowed),
    }
}

fn key(setting: &str, name: &str) -> Result<EnvKey, Fault> {
    EnvKey::try_from(name.to_owned()).map_err(|error| bad(&format!("{setting}: {error}")))
}

fn bad(message: &str) -> Fault {
    Fault::new(ErrorName::BadRequest, message)
}

impl Tenant {
    /// Whether registering this would change nothing.
    pub fn is(&self, root: &Path, settings: &Settings) -> bool {
        self.status != Status::Destroyed && self.root == root && self.settings == *settings
    }

    /// Whether nobody has set it otherwise, or registered it anew.
    pub fn is_set_as(&self, other: &Self) -> bool {
        let gone = |tenant: &Self| tenant.status == Status::Destroyed;
        (self.registered, &self.root, &self.settings) == (other.registered, &other.root, &other.settings)
            && gone(self) == gone(other)
    }

    /// Its settings under another name: the collection stays the one that it was.
    pub fn renamed(&self, to: &TenantId) -> Settings {
        let own = self.collection() == to.as_str();
        let name = || CollectionName::try_from(self.id.as_str().to_owned()).ok();
        let collection = if own { None } else { self.settings.collection.clone().or_else(name) };
        Settings { collection, ..self.settings.clone() }
    }

    /// The collection's name.
    pub fn collection(&self) -> &str {
        self.settings.collection.as_ref().map_or(self.id.as_str(), CollectionName::as_str)
    }

    /// Whether its file is kept up without anybody asking.
    pub const fn keeps_up(&self) -> bool {
        match self.status {
            Status::Provisioned | Status::Active => true,
            Status::Stopped | Status::Destroyed => false,
        }
    }

    /// Whether it is to be kept up by itself, and has never been brought.
    pub const fn awaits_first(&self) -> bool {
        self.settings.refresh > 0 && self.error.is_none() && matches!(self.status, Status::Provisioned)
    }

    /// Whether it is kept up by itself and has what the vault had: only a change in the
    /// vault makes another file of it.
    pub fn follows_changes(&self) -> bool {
        let settled = self.first_is_well() && !self.unsure && !self.removal_due;
        self.settings.refresh > 0 && settled && matches!(self.status, Status::Active)
    }

    /// Whether what is wrong, if anything, is a further file's: a jail may break its own.
    fn first_is_well(&self) -> bool {
        let of = |path: &colibri_tenant::FilePath, fault: &Fault| {
            fault.message.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with(": "))
        };
        self.error.as_ref().is_none_or(|fault| self.placed.iter().any(|placed| of(&placed.path, fault)))
    }

    /// Whether its file is as it was brought last.
    pub const fn has_secrets(&self) -> bool {
        matches!(self.status, Status::Active | Status::Stopped) && !self.keys.is_empty() && !self.removal_due
    }

    /// What is wrong: that it did not get its secrets, or that nobody was told of them.
    pub fn fault(&self) -> Option<&Fault> {
        self.error.as_ref().or(self.action_error.as_ref())
    }

    /// Whether something waits for a change, of the first file or of a further one.
    pub fn is_action_due(&self) -> bool {
        self.action_due > 0 || self.placed.iter().any(|placed| placed.state.action_due > 0)
    }

    /// Whether it failed and is tried again by itself.
    pub const fn waits_for_retry(&self) -> bool {
        self.error.is_some() && self.next_try.is_some()
    }

    /// Whether its root was not there, or another, when it was looked at last.
    pub fn is_not_mounted(&self) -> bool {
        self.error.as_ref().is_some_and(|fault| fault.name == ErrorName::RootNotMounted)
    }

    /// Whether nothing of ours can be in its jail.
    pub fn is_clean(&self) -> bool {
        self.is_first_clean() && self.placed.iter().all(|placed| placed.state.is_clean())
    }

    /// The same of those files.
    pub fn is_clean_of(&self, which: Which) -> bool {
        match which {
            Which::All => self.is_clean(),
            Which::First => self.is_first_clean(),
        }
    }

    /// The same of its first file.
    pub const fn is_first_clean(&self) -> bool {
        self.keys.is_empty() && !self.unsure && !self.removal_due
    }

    /// The further files that it is to have, each with what is known of it.
    pub fn files(&self) -> impl Iterator<Item = (Placed, &FileSettings)> {
        self.settings.files.iter().map(|(path, file)| {
            let known = self.placed.iter().find(|placed| placed.path == *path).cloned();
            (known.unwrap_or_else(|| Placed::fresh(path.clone())), file)
        })
    }

    /// The further files that it is not to have any more.
    pub fn stray(&self) -> impl Iterator<Item = &Placed> {
        self.placed.iter().filter(|placed| !self.settings.files.contains_key(&placed.path))
    }

    /// How long a provision may take.
    pub fn deadline(&self, default: Duration) -> Duration {
        self.settings.deadline.map_or(default, |seconds| Duration::from_secs(seconds.into()))
    }

    /// How items become pairs.
    pub fn rules(&self) -> words::Rules {
        let settings = &self.settings;
        words::Rules {
            key_case: settings.key_case,
            on_duplicate: settings.on_duplicate,
            notes: settings.notes,
            fields: settings.fields,
            attachments: settings.attachments,
            allow: settings.allow.clone(),
            expect: settings.expect.clone(),
            prefix: settings.prefix.clone(),
            only: settings.only.clone(),
            rename: settings.rename.clone(),
            item: None,
            taken: settings.files.values().filter_map(|file| file.item.clone()).collect(),
            format: settings.format.as_str().into(),
        }
    }

    /// The same for a further file.
    pub fn rules_of(&self, file: &FileSettings) -> words::Rules {
        words::Rules {
            expect: file.expect.clone(),
            only: file.only.clone(),
            item: file.item.clone(),
            format: file.format.as_str().into(),
            ..self.rules()
        }
    }

    /// The tenant as it is shown, with what is in force filled in.
    pub fn view(self, owner: Owner, deadline: Duration, busy: bool) -> TenantView {
        let mut settings = self.settings.clone();
        settings.collection = CollectionName::try_from(self.collection().to_owned()).ok();
        settings.dir.get_or_insert_with(|| DIR.into());
        settings.file.get_or_insert_with(|| FILE.into());
        settings.owner.get_or_insert_with(|| format!("{}:{}", owner.uid, owner.gid));
        settings.deadline = u32::try_from(self.deadline(deadline).as_secs()).ok();
        for file in settings.files.values_mut() {
            file.owner.get_or_insert_with(|| settings.owner.clone().unwrap_or_default());
        }
        let strays = self.stray().map(|placed| placed.view(None));
        let files =
            self.files().map(|(placed, file)| placed.view(settings.files.get(&placed.path).or(Some(file))));
        let files = files.chain(strays).collect();
        TenantView {
            tenant: self.id,
            root: self.root,
            status: self.status,
            settings,
            collection_id: self.collection_id,
            keys: self.keys,
            registered: self.registered,
            last_success: self.last_success,
            last_error: self.error.or(self.action_error),
            next_try: self.next_try,
            removal_due: self.removal_due,
            busy,
            agent_uid: self.agent_uid,
            warnings: Vec::new(),
            files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Owner = Owner { uid: 0, gid: 0 };

    #[test]
    fn the_life_of_a_tenant_has_no_short_cut() {
        let reachable = |from| {
            [Turn::Started, Turn::Provisioned, Turn::Stopped, Turn::Destroyed].map(|event| turn(from, event))
        };
        assert_eq!(
            reachable(Status::Provisioned),
            [Some(Status::Provisioned), Some(Status::Active), None, None]
        );
        assert_eq!(
            reachable(Status::Active),
            [Some(Status::Active), Some(Status::Active), Some(Status::Stopped), None]
        );
        let from_stopped =
            [Some(Status::Active), Some(Status::Active), Some(Status::Stopped), Some(Status::Destroyed)];
        assert_eq!(reachable(Status::Stopped), from_stopped);
        assert_eq!(reachable(Status::Destroyed), [None; 4]);
    }

    #[test]
    fn who_has_the_first_file_follows_changes_though_a_further_one_fails() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = crate::store::Db::open(&dir.path().join("db")).unwrap();
        let id: TenantId = "web".parse().unwrap();
        let settings = Settings { refresh: 900, ..Settings::default() };
        db.insert(&id, Path::new("/web"), &settings, 0).unwrap();
        let path: colibri_tenant::FilePath = "etc/tls.key".parse().unwrap();
        let fault = Fault::new(ErrorName::KeyMissing, "no such item");
        let placed = vec![Placed::fresh(path.clone())];
        let tenant = Tenant { status: Status::Active, placed, ..db.known(&id).unwrap() };
        let with = |error| Tenant { error: Some(error), ..tenant.clone() }.follows_changes();
        assert!(tenant.follows_changes() && with(fault.of_file(&path)));
        assert!(!with(fault.clone()) && !with(fault.of_file(&"etc/other".parse().unwrap())));
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        for (settings, word) in [
            (r#"{"dir":"../etc"}"#, "dir"),
            (r#"{"file":"a/b"}"#, "file"),
            (r#"{"owner":"root"}"#, "owner"),
            (r#"{"allow":["pa-th"]}"#, "allow"),
            (r#"{"rename":[["A","b-c"]]}"#, "rename"),
            (r#"{"rename":[["a-b","C"]]}"#, "rename: \"a-b\": no name comes out so; say a_b"),
            (r#"{"rename":[["a","C"]],"key-case":"upper"}"#, "rename: \"a\": no name comes out so; say A"),
            (r#"{"rename":[["A","C"]],"prefix":"P_"}"#, "rename: \"A\": no name comes out without"),
            (r#"{"rename":[["A","B"],["A","C"]]}"#, "rename: \"A\": it is there twice"),
            (r#"{"allow":["PATH","RANDOM"]}"#, "allow: RANDOM"),
            (r#"{"expect":[""]}"#, "expect"),
            (r#"{"prefix":"a-"}"#, "prefix"),
            (r#"{"collection-id":""}"#, "collection-id"),
            (r#"{"collection-id":"shop"}"#, "collection-id \"shop\" is no id"),
            (r#"{"collection-id":"0123456789abcdef0123456789abcdef0123"}"#, "collection-id"),
            (r#"{"collection-id":"0123456-89abc-def0-1234-56789abcdef0"}"#, "collection-id"),
            (r#"{"collection-id":"01234567-89ab-cdef-0123-456789abcdeg"}"#, "collection-id"),
            (r#"{"organization":""}"#, "organization"),
            (r#"{"deadline":0}"#, "deadline"),
            (r#"{"on-change":{"signal":"HOP"}}"#, "on-change"),
            (r#"{"on-change":{"command":[]}}"#, "on-change"),
        ] {
            let fault = check(&serde_json::from_str(settings).unwrap(), ROOT).unwrap_err();
            assert!(fault.message.starts_with(word), "{settings}: {fault}");
        }
    }

    #[test]
    fn an_id_as_the_vault_gives_it_may_choose_a_collection() {
        for id in ["01234567-89ab-cdef-0123-456789abcdef", "01234567-89AB-CDEF-0123-456789ABCDEF"] {
            check(&Settings { collection_id: Some(id.into()), ..Settings::default() }, ROOT).unwrap();
        }
    }

    #[test]
    fn a_name_of_mixed_case_may_be_written() {
        let settings =
            r#"{"rename":[["A","mixedCase"],["2FA","x"]],"expect":["mixedCase"],"key-case":"keep"}"#;
        check(&serde_json::from_str(settings).unwrap(), ROOT).unwrap();
    }

    #[test]
    fn the_default_target_is_out_of_reach_of_cleanvar() {
        let target = Target::new(&Settings::default(), ROOT).unwrap();
        assert_eq!(target.inside(), Path::new("/usr/local/etc/colibri/env"));
        assert_eq!(signal("HUP"), Ok(Signal::SIGHUP));
    }
}
