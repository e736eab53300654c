//! Notes in the manner of real projects, through the real `bw` into files, and back
//! out of the shells and systemd; and edits of the vault at random.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_control::TenantView;
use colibri_e2e::host::{Account, Host};
use colibri_readers::Reader;
use colibri_tenant::ErrorName;
use colibri_test_vault::{Content, Fixture, Item, SshKey};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[path = "../corpus.rs"]
mod form;

use form::{Corpus, malformed};

const ENV_FILE: &str = "usr/local/etc/colibri/env";

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

fn is_refused(tenant: &TenantView, line: u32) -> bool {
    let place = format!("line {line} of item \"env\"");
    let error = tenant.last_error.as_ref();
    error.is_some_and(|error| error.name == ErrorName::ValueUnreadable && error.message.contains(&place))
}

/// What each reader has of the variables that are expected, and no more.
fn read_back(dir: &Path, files: &[String], expected: &[&BTreeMap<String, String>]) -> Result<()> {
    for reader in Reader::ENV {
        for (found, (file, values)) in reader.read(dir, files)?.iter().zip(files.iter().zip(expected)) {
            for (key, value) in *values {
                let found = found.get(key).map(|found| String::from_utf8_lossy(found));
                ensure!(found.as_deref() == Some(value), "{} of {file} by {}: {found:?}", key, reader.name());
            }
        }
    }
    Ok(())
}

#[test]
fn each_note_arrives_as_its_project_means_it_or_nothing_changes() -> Result<()> {
    let corpus: Corpus = toml::from_str(include_str!("../corpus.toml"))?;
    ensure!(corpus.note.len() >= 80);
    let mut fixture = Fixture::machine();
    for note in &corpus.note {
        let id = fixture.add_collection(&note.name);
        fixture.add(Item::note("env", &note.text).within(&id));
    }
    let (mut host, vault) = Host::with_vault(fixture)?;
    host.set_account(&Account::of(&vault)?);
    host.set("COLIBRI_DEADLINE", "110");
    host.start()?;
    let dir = host.path("read");
    fs::create_dir(&dir)?;
    for note in &corpus.note {
        let root = host.jail(&note.name)?;
        let mut line = vec!["register-tenant", &note.name, text(&root)?];
        line.extend(note.key_case.iter().flat_map(|case| ["--key-case", case]));
        line.extend(note.notes.iter().flat_map(|notes| ["--notes", notes]));
        line.extend(note.allow.iter().flat_map(|names| ["--allow", names]));
        host.colibri_ok(&line)?;
    }
    host.colibri(&["provision", "--all"])?;
    let (mut files, mut expected) = (Vec::new(), Vec::new());
    for note in &corpus.note {
        let root = host.base().join(&note.name).join("root");
        let tenant = host.tenant(&note.name)?;
        let history = host.colibri_ok(&["history", &note.name, "--json"])?;
        if let Some(line) = note.refused {
            ensure!(is_refused(&tenant, line), "{}: {tenant:?}", note.name);
            ensure!(!root.join(ENV_FILE).exists(), "{} was written", note.name);
        } else {
            ensure!(tenant.last_error.is_none(), "{}: {:?}", note.name, tenant.last_error);
            ensure!(tenant.keys.iter().eq(note.values.keys()), "{}: {:?}", note.name, tenant.keys);
            fs::copy(root.join(ENV_FILE), dir.join(&note.name))?;
            files.push(note.name.clone());
            expected.push(&note.values);
        }
        for word in &note.warned {
            ensure!(history.contains(word), "{}: no warning of {word}: {history}", note.name);
        }
    }
    read_back(&dir, &files, &expected)?;
    ensure!(vault.logins() == 1, "{} logins", vault.logins());
    host.stop()
}

/// A key that was in the file is not removed because it cannot be read, and what
/// was found besides is kept with the failure.
#[test]
fn what_cannot_be_read_leaves_the_old_file_and_its_warnings() -> Result<()> {
    let mut fixture = Fixture::machine();
    let id = fixture.add_collection("web");
    let note = fixture.add(Item::note("env", "A=old\nB=old\n").within(&id));
    fixture.add(Item::login("lower", "x").within(&id));
    let (mut host, vault) = Host::with_vault(fixture)?;
    host.set_account(&Account::of(&vault)?);
    host.start()?;
    let root = host.jail("web")?;
    host.colibri_ok(&["register-tenant", "web", text(&root)?])?;
    host.colibri_ok(&["provision", "web"])?;
    let file = root.join(ENV_FILE);
    let old = fs::read_to_string(&file)?;
    for unread in
        ["A=new\nB='new' x\n", "A=new\nB='new\n", "A=new\nB=-----BEGIN X-----\nMIIBQUJD\nQUJDREVG==\n"]
    {
        vault.edit(|fixture| fixture.item(&note).map(|item| item.set_value(unread)))?;
        ensure!(!host.colibri(&["provision", "web"])?.status.success(), "{unread:?} was taken");
        ensure!(fs::read_to_string(&file)? == old, "{unread:?} changed the file");
        let tenant = host.tenant("web")?;
        ensure!(tenant.last_error.as_ref().is_some_and(|error| error.name == ErrorName::ValueUnreadable));
        ensure!(tenant.keys == ["A", "B"], "{:?}", tenant.keys);
        let history = host.colibri_ok(&["history", "web", "--limit", "1", "--json"])?;
        ensure!(history.contains("rename it LOWER"), "no warning was kept: {history}");
        let everything = [history, host.log(), host.colibri_ok(&["show-tenant", "web", "--json"])?].concat();
        ensure!(!everything.contains("QUJDREVG") && !everything.contains("MIIBQUJD"), "a piece of the value");
    }
    // What was removed is removed.
    vault.edit(|fixture| fixture.item(&note).map(|item| item.set_value("A=new\n")))?;
    host.colibri_ok(&["provision", "web"])?;
    ensure!(host.tenant("web")?.keys == ["A"]);
    host.stop()
}

/// What the collection holds: logins, SSH keys, and notes of one line.
fn held(fixture: &Fixture, collection: &str) -> BTreeMap<String, String> {
    let items = fixture.organizations.iter().flat_map(|organization| &organization.items);
    let shown = items
        .filter(|item| !item.trashed && !item.archived && item.collections.iter().any(|id| id == collection));
    let pairs = |item: &Item| match &item.content {
        Content::Login(login) => vec![(item.name.clone(), login.password.clone().unwrap_or_default())],
        Content::Note(text) => {
            let (name, value) = text.trim_end_matches('\n').split_once('=').unwrap_or_default();
            vec![(name.to_owned(), value.trim_matches('\'').to_owned())]
        }
        Content::SshKey(key) => vec![
            (item.name.clone(), key.private.clone()),
            (format!("{}_PUB", item.name), key.public.clone()),
            (format!("{}_FINGERPRINT", item.name), key.fingerprint.clone()),
        ],
        _ => Vec::new(),
    };
    shown.flat_map(pairs).collect()
}

fn ssh_key(number: usize) -> Content {
    let [begin, end] = ["BEGIN", "END"].map(|word| format!("-----{word} OPENSSH PRIVATE KEY-----\n"));
    Content::SshKey(SshKey {
        private: format!("{begin}{number}\n{end}"),
        public: format!("ssh-ed25519 {number} a@b"),
        fingerprint: format!("SHA256:{number}+/x"),
    })
}

/// One edit of an item that is not of the first dozen: so much always stays.
fn edit(from: &mut StdRng, fixture: &mut Fixture, number: usize, [web, other]: [&str; 2]) -> &'static str {
    let value = format!(
        "v{number} {}",
        ["it's", "$(id)", "\"x\"", "\u{e9}\\"].choose(from).copied().unwrap_or_default()
    );
    let ids: Vec<_> = fixture
        .organizations
        .iter()
        .flat_map(|all| &all.items)
        .skip(12)
        .map(|item| item.id.clone())
        .collect();
    let Some(id) = ids.choose(from).filter(|_| ids.len() > 8 || from.random_ratio(1, 2)).cloned() else {
        let item = match from.random_range(0..6) {
            0 | 1 => Item::note(&format!("note {number}"), &format!("N{number}='v{number}'\n")),
            2 => Item::new(&format!("S{number}"), ssh_key(number)),
            _ => Item::login(&format!("K{number}"), &value),
        };
        fixture.add(item.within(web));
        return "add";
    };
    let what = from.random_range(0..9);
    if what == 0 {
        fixture.remove_item(&id);
        return "remove";
    }
    let Some(item) = fixture.item(&id) else { return "nothing" };
    let is_note = matches!(item.content, Content::Note(_));
    match what {
        1 => item.trashed = !item.trashed,
        2 => item.archived = !item.archived,
        3 => item.collections = vec![other.to_owned()],
        4 => item.collections = vec![web.to_owned(), other.to_owned()],
        5 if !is_note => item.name = format!("R{number}"),
        6 => item.favorite = !item.favorite,
        // The same, encrypted by another key.
        7 => item.own_key = [None, Some(1), Some(2)].choose(from).copied().flatten(),
        _ if matches!(item.content, Content::SshKey(_)) => item.content = ssh_key(number),
        _ if is_note => item.set_value(&format!("N{number}='w{number}'\n")),
        _ => item.set_value(&value),
    }
    "change"
}

/// After each edit of the vault the file is what the vault holds. `COLIBRI_EDITS=1000`
/// makes as many, `COLIBRI_SEED=N` others.
#[test]
fn the_file_follows_the_vault_through_random_edits() -> Result<()> {
    let number = |name, default| std::env::var(name).map_or(Ok(default), |text| text.parse::<u64>());
    let (edits, mut from) =
        (number("COLIBRI_EDITS", 15)?, StdRng::seed_from_u64(number("COLIBRI_SEED", 15)?));
    let mut fixture = Fixture::machine();
    let (web, other) = (fixture.add_collection("web"), fixture.add_collection("other"));
    for stays in 0..12 {
        fixture.add(Item::login(&format!("STAYS_{stays}"), "x").within(&web));
    }
    let (mut host, vault) = Host::with_vault(fixture)?;
    host.set_account(&Account::of(&vault)?);
    host.set("COLIBRI_SESSION_IDLE", "60");
    host.start()?;
    vault.limit_logins(None);
    let root = host.jail("web")?;
    host.colibri_ok(&["register-tenant", "web", text(&root)?])?;
    let file = root.join(ENV_FILE);
    for turn in 0..usize::try_from(edits)? {
        // Mostly one at a time, and now and then some at once.
        let at_once = if from.random_ratio(1, 5) { 3 } else { 1 };
        let (what, expected) = vault.edit(|fixture| {
            let edits = (0..at_once).map(|at| edit(&mut from, fixture, turn * 3 + at, [&web, &other]));
            (edits.collect::<Vec<_>>().join(", "), held(fixture, &web))
        })?;
        host.colibri_ok(&["provision", "web"])?;
        let dir = file.parent().context("no directory")?;
        let found = Reader::Dash.read(dir, &["env".to_owned()])?.remove(0);
        for (key, value) in &expected {
            let found = found.get(key).map(|found| String::from_utf8_lossy(found));
            ensure!(
                found.as_deref() == Some(value),
                "edit {turn}, {what}: {key} is {found:?}, not {value:?}"
            );
        }
        let keys = host.tenant("web")?.keys;
        ensure!(keys.iter().eq(expected.keys()), "edit {turn}, {what}: {keys:?}");
    }
    host.stop()
}

/// A key that was made for this test alone.
fn throw_away() -> String {
    let line =
        |length| rand::rng().sample_iter(rand::distr::Alphanumeric).take(length).map(char::from).collect();
    let mut lines: Vec<String> = [64, 64, 64, 60].map(line).into();
    lines.push(format!("{}==", lines[3].to_ascii_uppercase()));
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", lines.join("\n"))
}

/// Whether so much of a line of the key stands in a text that it is no accident.
fn holds_piece(text: &str, key: &str) -> Option<String> {
    let text = text.to_ascii_uppercase();
    let lines = key.lines().filter(|line| !line.starts_with('-')).map(str::to_ascii_uppercase);
    let pieces = lines.flat_map(|line| {
        line.as_bytes()
            .windows(8)
            .map(|piece| String::from_utf8_lossy(piece).into_owned())
            .collect::<Vec<_>>()
    });
    pieces.into_iter().find(|piece| text.contains(piece.as_str()))
}

/// Throw-away keys in every malformed form, through all of it: what the commands
/// print, the history, the daemon's and the fetcher's log at its most verbose, and the
/// bytes of the database.
#[test]
fn no_piece_of_a_malformed_value_leaves_the_fetcher() -> Result<()> {
    let key = throw_away();
    let cut = key.rsplit_once('\n').context("one line")?.0;
    let forms: Vec<_> = [key.as_str(), cut].into_iter().flat_map(malformed).collect();
    let mut fixture = Fixture::machine();
    for (number, form) in forms.iter().enumerate() {
        let id = fixture.add_collection(&format!("form-{number}"));
        fixture.add(Item::note("env", form).within(&id));
    }
    let control = fixture.add_collection("control");
    let name = key.lines().nth(1).context("no line")?.to_ascii_uppercase();
    fixture.add(Item::login(&format!("K{name}"), "a name, so that it has to be found").within(&control));
    let (mut host, vault) = Host::with_vault(fixture)?;
    host.set_account(&Account::of(&vault)?);
    host.set("COLIBRI_LOG", "trace");
    host.set("COLIBRI_DEADLINE", "110");
    host.start()?;
    let mut said = String::new();
    let run = |host: &Host, line: &[&str]| -> Result<String> {
        let output = host.colibri(line)?;
        Ok([output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat())
    };
    for (number, case) in (0..forms.len()).zip(["strict", "upper", "keep"].into_iter().cycle()) {
        let name = format!("form-{number}");
        let root = host.jail(&name)?;
        host.colibri_ok(&["register-tenant", &name, text(&root)?, "--key-case", case])?;
    }
    said += &run(&host, &["provision", "--all"])?;
    for number in 0..forms.len() {
        said += &run(&host, &["show-tenant", &format!("form-{number}")])?;
    }
    said += &run(&host, &["history", "--json", "--limit", "0"])?;
    ensure!(said.contains("ValueUnreadable"), "nothing was refused: {said}");
    let root = host.jail("control")?;
    host.colibri_ok(&["register-tenant", "control", text(&root)?])?;
    let controlled = run(&host, &["provision", "control"])? + &run(&host, &["show-tenant", "control"])?;
    ensure!(holds_piece(&controlled, &key).is_some(), "the control is not found: {controlled}");
    // What the control left is no leak of the others.
    let unnamed = |text: &str| text.to_ascii_uppercase().replace(&name, "");
    host.stop()?;
    let mut places = vec![("what was printed", said), ("the log", unnamed(&host.log()))];
    for file in fs::read_dir(host.path("state"))? {
        let bytes = fs::read(file?.path())?;
        places.push(("the database", unnamed(&String::from_utf8_lossy(&bytes))));
    }
    ensure!(places.len() > 2, "no database was looked at");
    for (place, text) in places {
        let piece = holds_piece(&text, &key);
        ensure!(piece.is_none(), "{place} holds {piece:?}");
    }
    Ok(())
}
