//! A fetcher without a vault: it answers from a file and can be told to
//! misbehave. It is this test program, started anew through a small script.

use colibri_pair::{EnvKey, Pair, Secret, ToWriter, encode, send};
use colibri_session::{
    Age, Done, Failure, Fetch, Fetched, FileFetch, FileFetched, FromFetcher, MAX_WORD, Names, SessionState,
    ToFetcher, Want,
};
use colibri_tenant::ErrorName;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// The environment variable that names the directory with `vault.json`.
pub const DIR: &str = "STAND_IN_DIR";

/// What the vault has of a collection.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Collection {
    /// Secrets.
    Secrets(BTreeMap<String, String>),
    /// Secrets, after half a second.
    Slow(BTreeMap<String, String>),
    /// A failure of that name.
    Fails(ErrorName),
    /// A failure of that name at the login.
    Refuses(ErrorName),
    /// No answer.
    Hangs,
    /// The fetcher dies.
    Crashes,
    /// Ready, then no commit.
    Stops,
    /// The session closes instead of answering.
    Closes,
}

pub type Vault = BTreeMap<String, Collection>;

#[test]
#[ignore = "the fetcher process of the other tests"]
fn fetcher() {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    serve(UnixStream::from(socket), &dir);
}

fn serve(mut daemon: UnixStream, dir: &std::path::Path) {
    note(dir, "sessions");
    while let Some((word, pair)) = recv(&mut daemon) {
        match word {
            ToFetcher::Open(vault) => {
                // Which it was given.
                let mut secrets =
                    OpenOptions::new().append(true).create(true).open(dir.join("opened")).unwrap();
                writeln!(secrets, "{}", vault.credentials.client_secret.expose()).unwrap();
                let own = vault.app_data_base.join(format!("run-{}", std::process::id()));
                std::fs::create_dir(own).unwrap();
                tell(&mut daemon, &FromFetcher::State(SessionState::Unlocked));
            }
            ToFetcher::Fetch(fetch) => answer(&mut daemon, *fetch, pair, dir),
            ToFetcher::Bell => {}
            ToFetcher::Close => return,
        }
    }
}

/// One line more.
fn note(dir: &std::path::Path, file: &str) {
    let mut lines = OpenOptions::new().append(true).create(true).open(dir.join(file)).unwrap();
    lines.write_all(b"1\n").unwrap();
}

fn answer(daemon: &mut UnixStream, fetch: Fetch, mut pairs: Vec<OwnedFd>, dir: &std::path::Path) {
    assert_eq!(pairs.len(), 1 + fetch.further.len());
    let others = pairs.split_off(1);
    let pair = pairs.remove(0);
    note(dir, "requests");
    let vault: Vault = serde_json::from_slice(&std::fs::read(dir.join("vault.json")).unwrap()).unwrap();
    let fails = |name| Err(Failure::new(name, "the stand-in was told so \u{1b}[31m\u{202e}\u{200b}"));
    let named = || vault.keys().filter(|name| !name.is_empty()).cloned().collect();
    let outcome = match vault.get(&fetch.collection) {
        None if fetch.want == Want::Names => {
            Ok(fetched(Vec::new(), Some(Names { shown: named(), more: 7 }), vault.len()))
        }
        None => fails(ErrorName::CollectionNotFound),
        Some(Collection::Fails(name)) => fails(*name),
        Some(Collection::Refuses(name)) => {
            tell(daemon, &FromFetcher::State(SessionState::LoggedOut));
            fails(*name)
        }
        Some(Collection::Hangs) => loop {
            std::thread::park();
        },
        Some(Collection::Crashes) => std::process::exit(3),
        Some(Collection::Closes) => {
            // Only the first time: the next session finds the vault as usual.
            let healed = BTreeMap::from([(fetch.collection.clone(), Collection::Secrets(BTreeMap::new()))]);
            std::fs::write(dir.join("vault.json"), serde_json::to_vec(&healed).unwrap()).unwrap();
            tell(daemon, &FromFetcher::State(SessionState::Closed));
            std::process::exit(0)
        }
        Some(Collection::Stops) => {
            tell(daemon, &FromFetcher::Ready { id: fetch.id });
            drop(pair);
            fails(ErrorName::VaultTimeout)
        }
        Some(entry @ (Collection::Secrets(secrets) | Collection::Slow(secrets))) => {
            if let Collection::Slow(_) = entry {
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
            let count = secrets.len() as u32;
            if count < fetch.known_keys && fetch.shrunken_to.is_none_or(|seen| count < seen) {
                let shrunken_to = Some(count);
                fails(ErrorName::AnswerShrunken).map_err(|failure| Failure { shrunken_to, ..failure })
            } else {
                tell(daemon, &FromFetcher::Ready { id: fetch.id });
                let taken = |name: &str| fetch.rules.taken.iter().any(|item| item == name);
                let first: BTreeMap<_, _> = secrets
                    .iter()
                    .filter(|(name, _)| !taken(name))
                    .map(|(name, it)| (name.clone(), it.clone()))
                    .collect();
                flow(pair, &first);
                let further = fetch.further.iter().zip(others).map(|(file, pair)| one(file, pair, secrets));
                let further = further.collect();
                let keys = first.keys().cloned().collect();
                Ok(Fetched { further, ..fetched(keys, None, vault.len()) })
            }
        }
    };
    let step =
        if matches!(vault.get(&fetch.collection), Some(Collection::Refuses(_))) { "login" } else { "items" };
    let warnings = vec!["item \"a b\": \u{1b}[31mno key".into()];
    let done = Done { id: fetch.id, outcome, warnings, steps: vec![(step.into(), 1)] };
    tell(daemon, &FromFetcher::Done(Box::new(done)));
}

fn fetched(keys: Vec<String>, names: Option<Names>, seen: usize) -> Fetched {
    let (collection_id, bw_version, seen) = ("c-1".into(), "0.0.0".into(), seen as u64);
    Fetched {
        collection_id,
        age: Age::Current,
        keys,
        failed: None,
        further: Vec::new(),
        bw_version,
        names,
        seen,
        fingerprint: None,
        states: None,
    }
}

/// A further file: an item's value, or the keys that it names.
fn one(file: &FileFetch, pair: OwnedFd, secrets: &BTreeMap<String, String>) -> FileFetched {
    let missing =
        |what: &str| Err(Failure::new(ErrorName::KeyMissing, format!("the stand-in has no {what}")));
    let chosen = match &file.rules.item {
        Some(item) => secrets.get(item).map(|value| BTreeMap::from([("VALUE".to_owned(), value.clone())])),
        None => {
            let wanted =
                |name: &str| file.rules.only.is_empty() || file.rules.only.iter().any(|it| it == name);
            let all = secrets.iter().filter(|(name, _)| wanted(name));
            Some(all.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
    };
    let lacking = file.rules.expect.iter().find(|name| !secrets.contains_key(*name));
    let outcome = match (chosen, lacking) {
        (None, _) => missing("such item"),
        (_, Some(name)) => missing(name),
        (Some(chosen), None) => {
            flow(pair, &chosen);
            Ok(chosen.into_keys().collect())
        }
    };
    FileFetched { outcome, warnings: vec!["further".into()] }
}

fn flow(pair: OwnedFd, secrets: &BTreeMap<String, String>) {
    let mut pair = UnixStream::from(pair);
    // A writer that fails does not read on.
    let mut send = |body: &[u8]| drop(send(&mut pair, body));
    for (key, value) in secrets {
        let key = EnvKey::try_from(key.clone()).unwrap();
        let word = ToWriter::Pair(Pair { key, value: Secret::new(value.clone()) });
        send(&encode(&word).unwrap());
    }
    send(&encode(&ToWriter::Commit(secrets.len() as u32)).unwrap());
}

fn tell(daemon: &mut UnixStream, word: &FromFetcher) {
    send(daemon, &encode(word).unwrap()).unwrap();
}

fn recv(daemon: &mut UnixStream) -> Option<(ToFetcher, Vec<OwnedFd>)> {
    let mut head = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let data = &mut [IoSliceMut::new(&mut head)];
    let got = recvmsg(&*daemon, data, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
    if got == 0 {
        return None;
    }
    assert_eq!(got, 4);
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let pair = rights.flatten().collect();
    let size = u32::from_le_bytes(head) as usize;
    assert!(size <= MAX_WORD);
    let mut body = vec![0; size];
    daemon.read_exact(&mut body).unwrap();
    Some((colibri_pair::decode(&body).unwrap(), pair))
}
