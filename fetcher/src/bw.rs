//! What is asked of `bw`, one piece of work after another; which is next, the session's
//! machine says.

use crate::cage::{Cage, Output};
use crate::data_json;
use crate::serve::Serve;
use crate::version;
use colibri_pair::Secret;
use colibri_session::{Failure, Server, Vault};
use colibri_tenant::ErrorName::{BadCredentials, BwCrashed, LimitExceeded, VaultError, VaultUnreachable};
use colibri_vault::answer::{self, Answer, Anything, Collection, Item, List, Organization, Status};
use colibri_vault::classify;
use colibri_vault::session::{Listed, Outcome, Scope, Work};
use hyper::Method;
use serde::de::DeserializeOwned;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// `bw` in its cage.
#[derive(Debug)]
pub struct Bw {
    cage: Cage,
    server: Option<Server>,
    vault: Vault,
    version: String,
    serve: Option<Serve>,
}

impl Bw {
    /// Nothing was asked of it. `server` is `None` for `bw`'s default.
    pub fn new(cage: Cage, server: Option<Server>, vault: Vault, version: Option<String>) -> Self {
        Self { cage, server, vault, version: version.unwrap_or_default(), serve: None }
    }

    /// Whether nothing can be asked any more.
    pub fn is_lost(&self) -> bool {
        self.cage.is_lost()
    }

    /// Does a piece of work, or gives up after that time.
    pub async fn perform(&mut self, work: &Work, time: Duration) -> Outcome {
        match self.attempt(work, Instant::now() + time).await {
            Ok(outcome) => outcome,
            Err(failure) if failure.name == LimitExceeded => {
                Outcome::TooLarge { spent: self.serve.as_ref().is_some_and(Serve::is_spent) }
            }
            Err(failure) => {
                let failure = self.cage.explain(failure);
                tracing::debug!(?work, name = %failure.name, "failed");
                Outcome::Failed(failure)
            }
        }
    }

    async fn attempt(&mut self, work: &Work, end: Instant) -> Result<Outcome, Failure> {
        match work {
            Work::Kill => {
                self.serve = None;
                self.cage.kill().await?;
            }
            Work::Clear => self.cage.clear(&self.vault.device, end).await?,
            Work::Version => return self.version(end).await.map(Outcome::Version),
            Work::Configure => self.configure(end).await?,
            Work::LogIn => self.log_in(end).await?,
            Work::Serve => {
                self.serve = Some(Serve::open(self.cage.serve().await?, self.vault.bounds.skipped).await?);
            }
            Work::Status => {
                let status: Status = self.get("/status", end).await?;
                return Ok(Outcome::Server(status.template.server_url));
            }
            Work::Sync(scope) => return self.sync(*scope, end).await,
            Work::Read => return Ok(Outcome::Stored(data_json::read(self.cage.dir()))),
            Work::Unlock => self.unlock(end).await?,
            Work::Weigh => return Ok(Outcome::Memory(self.cage.memory().await)),
            Work::Collections => {
                return self
                    .list::<Collection>("/list/object/collections", end)
                    .await
                    .map(Outcome::Collections);
            }
            Work::Organizations => {
                let listed = self.list::<Organization>("/list/object/organizations", end).await?;
                return Ok(Outcome::Organizations(listed.data));
            }
            Work::Everything => {
                return self.list::<Item>("/list/object/items", end).await.map(Outcome::Items);
            }
            Work::Items(collection) => {
                let path = format!("/list/object/items?collectionid={}", escaped(collection));
                return self.list::<Item>(&path, end).await.map(Outcome::Items);
            }
            Work::Attachment { item, file } => {
                let path = format!("/object/attachment/{}?itemid={}", escaped(file), escaped(item));
                let bytes = self.serve()?.file(&path, end).await;
                return bytes.map(Outcome::File).map_err(|failure| self.with_trouble(failure));
            }
        }
        Ok(Outcome::Done)
    }

    /// Its version, if it is one that may be run.
    async fn version(&mut self, end: Instant) -> Result<String, Failure> {
        if self.version.is_empty() {
            let output = self.cage.run(&["--version"], Vec::new(), end).await?;
            // In a new directory it has more to say first.
            self.version = output.text.lines().last().unwrap_or_default().trim().chars().take(32).collect();
        }
        version::admit(&self.version, self.vault.any_bw_version)?;
        Ok(self.version.clone())
    }

    async fn configure(&mut self, end: Instant) -> Result<(), Failure> {
        if !self.vault.credentials.client_id.expose().starts_with("user.") {
            return Err(Failure::new(
                BadCredentials,
                "BW_CLIENTID is no user's: it begins with `user.`, and an organization's key cannot log in",
            ));
        }
        let Some(server) = &self.server else { return Ok(()) };
        let url = server.url().to_owned();
        let output = self.cage.run(&["--response", "config", "server", &url], Vec::new(), end).await?;
        self.verdict(&output)
    }

    async fn log_in(&mut self, end: Instant) -> Result<(), Failure> {
        let secret = |name: &str, value: &Secret| (name.to_owned(), Secret::new(value.expose().to_owned()));
        let credentials = vec![
            secret("BW_CLIENTID", &self.vault.credentials.client_id),
            secret("BW_CLIENTSECRET", &self.vault.credentials.client_secret),
        ];
        let output = self.cage.run(&["--response", "login", "--apikey"], credentials, end).await?;
        self.verdict(&output)
    }

    async fn sync(&mut self, scope: Scope, end: Instant) -> Result<Outcome, Failure> {
        let path = match scope {
            Scope::Changes => "/sync",
            Scope::Whole => "/sync?force=true",
        };
        let bytes = self.serve()?.bytes(Method::POST, path, Zeroizing::default(), end).await?;
        match answer::parse::<Anything>(&bytes) {
            Answer::Refusal(message) if classify::is_locked(&message) => Ok(Outcome::Locked),
            _ => {
                let read = answer::read::<Anything>(&bytes);
                read.map(|_| Outcome::Done).map_err(|failure| self.with_trouble(failure))
            }
        }
    }

    async fn unlock(&mut self, end: Instant) -> Result<(), Failure> {
        #[derive(serde::Serialize)]
        struct Unlock<'a> {
            password: &'a str,
        }
        let password = self.vault.credentials.password.expose();
        let mut body = Zeroizing::new(Vec::with_capacity(password.len() * 6 + 32));
        serde_json::to_writer(&mut *body, &Unlock { password })
            .map_err(|_| Failure::new(BadCredentials, "the password cannot be sent"))?;
        let bytes = self.serve()?.bytes(Method::POST, "/unlock", body, end).await?;
        answer::read::<Anything>(&bytes).map(drop).map_err(|failure| self.with_trouble(failure))
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str, end: Instant) -> Result<T, Failure> {
        let bytes = self.serve()?.bytes(Method::GET, path, Zeroizing::default(), end).await?;
        answer::read(&bytes).map_err(|failure| self.with_trouble(failure))
    }

    async fn list<T: DeserializeOwned>(&mut self, path: &str, end: Instant) -> Result<Listed<T>, Failure> {
        let bytes = self.serve()?.bytes(Method::GET, path, Zeroizing::default(), end).await?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let List { data } = answer::read(&bytes).map_err(|failure| self.with_trouble(failure))?;
        Ok(Listed { data, digest: hasher.finish() })
    }

    fn serve(&mut self) -> Result<&mut Serve, Failure> {
        self.serve.as_mut().ok_or_else(|| Failure::new(BwCrashed, "bw serve does not run"))
    }

    /// A command's answer counts with complete JSON and exit status 0.
    fn verdict(&self, output: &Output) -> Result<(), Failure> {
        let json = output.text.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
        let failure = match answer::parse::<Anything>(json.as_bytes()) {
            Answer::Success(_) if output.success => return Ok(()),
            Answer::Success(_) => {
                Failure::new(BwCrashed, format!("bw answered, but ended with {}", output.how))
            }
            Answer::Refusal(message) => classify::failure(&message),
            Answer::Garbage if output.success && output.text.is_empty() => {
                Failure::new(VaultError, "bw ended without a word: the vault's answer was cut off")
            }
            Answer::Garbage => match classify::failure(&output.text) {
                Failure { name: VaultError, .. } => {
                    Failure::new(BwCrashed, format!("bw gave no answer and ended with {}", output.how))
                }
                known => known,
            },
        };
        Err(self.with_trouble(failure))
    }

    /// `bw` sees only that its proxy failed; the relay knows why.
    fn with_trouble(&self, failure: Failure) -> Failure {
        match (failure.name, self.cage.trouble()) {
            (VaultError | VaultUnreachable | BwCrashed, Some(trouble)) => {
                Failure::new(VaultUnreachable, trouble)
            }
            _ => failure,
        }
    }
}

fn escaped(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    id.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
