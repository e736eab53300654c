//! The handle on a running vault: what tests hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::answer::State;
use crate::credentials::Credentials;
use crate::fault::{Fault, Faults, Times};
use crate::file;
use crate::fixture::Fixture;
use crate::hub::Hub;
use crate::limit::{Limiter, LoginLimit};
use crate::route::Route;
use crate::server::{Order, Server, Transport, lock};
use crate::tls::Tls;
use crate::token::Mint;
use crate::world::{Backup, World};

/// How a vault is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `ca.pem` and its key go; must exist. With a directory that was
    /// used before, the authority is the same as before.
    pub dir: PathBuf,
    /// The port on 127.0.0.1; 0 for any.
    pub port: u16,
}

/// What the server says to the request that is new in `bw` 2026.9.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserKeyId {
    /// 404, as Vaultwarden did in August 2026.
    #[default]
    Missing,
    /// 200, as a server that knows it.
    Accepted,
}

/// A running vault; it ends when this is dropped.
pub struct Vault {
    server: Arc<Server>,
    port: u16,
    orders: Option<watch::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Vault {
    /// Starts one on any port, its authority in `dir`.
    ///
    /// # Errors
    /// As [`Vault::start_with`].
    pub fn start(fixture: Fixture, dir: &Path) -> Result<Self> {
        Self::start_with(fixture, &Options { dir: dir.to_owned(), port: 0 })
    }

    /// Starts one. It listens when this returns.
    ///
    /// # Errors
    /// When the fixture contradicts itself, the directory cannot be written
    /// or the port is taken.
    pub fn start_with(fixture: Fixture, options: &Options) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).context("listening")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let state = State {
            url: format!("https://localhost:{port}"),
            world: World::new(fixture)?,
            mint: Mint::new(),
            limiter: Limiter::new(Some(LoginLimit::default())),
            user_key_id: UserKeyId::default(),
            logins: 0,
            devices: BTreeSet::new(),
        };
        let server = Arc::new(Server {
            tls: Tls::open(&options.dir.canonicalize()?)?,
            state: Mutex::new(state),
            faults: Mutex::new(Faults::default()),
            counts: Mutex::new(BTreeMap::new()),
            obeyed: Default::default(),
            hub: Hub::default(),
        });
        let (orders, received) = watch::channel(Order::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&server);
        let serve = move || {
            if let Err(error) = runtime.block_on(serving.run(listener, received)) {
                eprintln!("test vault: {error}");
            }
        };
        let thread = std::thread::Builder::new().name("test-vault".to_owned()).spawn(serve)?;
        Ok(Self { server, port, orders: Some(orders), thread: Some(thread) })
    }

    /// `https://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority's certificate, for `NODE_EXTRA_CA_CERTS`.
    pub fn ca_file(&self) -> &Path {
        &self.server.tls.ca_file
    }

    /// Those of the first account.
    ///
    /// # Errors
    /// When there is none.
    pub fn credentials(&self) -> Result<Credentials> {
        let state = lock(&self.server.state);
        let account = state.world.fixture().accounts.first().context("the vault has no account")?;
        Ok(Credentials {
            client_id: account.client_id(),
            client_secret: account.client_secret.clone(),
            password: account.password.clone(),
        })
    }

    /// Writes [`Vault::credentials`] and where they are good as a file of
    /// `KEY=VALUE` lines that a shell and systemd read alike, 0600.
    ///
    /// # Errors
    /// When there is no account or the file cannot be written.
    pub fn write_credentials(&self, path: &Path) -> Result<()> {
        let text = self.credentials()?.to_env(&self.url(), self.ca_file());
        file::write(path, file::PRIVATE, &text)
    }

    /// Changes the content. What differs gets a new revision date.
    ///
    /// # Errors
    /// When the result contradicts itself; then nothing has changed.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Fixture) -> T) -> Result<T> {
        let mut state = lock(&self.server.state);
        let mut fixture = state.world.fixture().clone();
        let result = change(&mut fixture);
        let rung = state.world.change(fixture)?;
        drop(state);
        rung.iter().for_each(|account| self.server.hub.ring(account));
        Ok(result)
    }

    /// How many listen for the bell.
    pub fn listeners(&self) -> usize {
        self.server.hub.listeners()
    }

    /// Cuts the connections of all who listen for the bell.
    pub fn cut_listeners(&self) {
        self.server.hub.cut();
    }

    /// Sends these bytes as one message to all who listen for the bell.
    pub fn tell_listeners(&self, message: &[u8]) {
        self.server.hub.send_all(message);
    }

    /// What a backup of the vault would hold now.
    pub fn back_up(&self) -> Backup {
        lock(&self.server.state).world.back_up()
    }

    /// Puts a backup in place of the content: with it the dates are older again. As
    /// when a server is stopped for it, who listens is cut off and not told.
    pub fn restore(&self, backup: Backup) {
        lock(&self.server.state).world.restore(backup);
        self.server.hub.cut();
    }

    /// Puts a fault on a route, in place of the one that is there.
    pub fn fault(&self, route: Route, fault: Fault, times: Times) {
        lock(&self.server.faults).set(route, fault, times);
    }

    /// Takes the fault from a route.
    pub fn heal(&self, route: Route) {
        lock(&self.server.faults).heal(route);
    }

    /// Takes every fault away and makes the transport sound.
    pub fn heal_all(&self) {
        lock(&self.server.faults).heal_all();
        self.transport(Transport::Sound);
    }

    /// Changes how connections go, at once. The open ones are closed.
    pub fn transport(&self, transport: Transport) {
        const PATIENCE: Duration = Duration::from_secs(10);
        let Some(orders) = &self.orders else { return };
        let mut number = 0;
        orders.send_modify(|order| {
            number = order.0 + 1;
            *order = (number, transport);
        });
        let (obeyed, changed) = &self.server.obeyed;
        let _ = changed.wait_timeout_while(lock(obeyed), PATIENCE, |obeyed| *obeyed < number);
    }

    /// Sets the limit on logins, or lifts it, and forgets earlier logins.
    pub fn limit_logins(&self, limit: Option<LoginLimit>) {
        lock(&self.server.state).limiter = Limiter::new(limit);
    }

    /// Sets how long the access tokens issued from now on are good. `bw`
    /// logs in again when less than five minutes are left.
    pub fn token_lifetime(&self, lifetime: Duration) {
        lock(&self.server.state).mint.lifetime = lifetime;
    }

    /// Makes every access token issued so far worthless: 401.
    pub fn expire_tokens(&self) {
        lock(&self.server.state).mint.expire_all();
    }

    /// Sets what is said to [`Route::UserKeyId`].
    pub fn user_key_id(&self, answer: UserKeyId) {
        lock(&self.server.state).user_key_id = answer;
    }

    /// Requests that came on a route, whatever became of them.
    pub fn count(&self, route: Route) -> u64 {
        lock(&self.server.counts).get(&route).copied().unwrap_or_default()
    }

    /// An access token of the first account's, as a login gets it.
    ///
    /// # Errors
    /// When there is none.
    pub fn access_token(&self) -> Result<String> {
        let state = lock(&self.server.state);
        let account = state.world.fixture().accounts.first().context("the vault has no account")?;
        Ok(state.mint.issue(account, &state.url))
    }

    /// Logins that the server granted.
    pub fn logins(&self) -> u64 {
        lock(&self.server.state).logins
    }

    /// The devices that they were of.
    pub fn devices(&self) -> BTreeSet<String> {
        lock(&self.server.state).devices.clone()
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // Without a sender the accept loop ends, and its runtime takes the
        // connections along.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
