//! What the bell is given: a connection to the vault's hub, and the access token of
//! `bw`'s login. It then listens by itself for as long as its socket is held.

use crate::data_json;
use crate::relay;
use crate::resolver::Resolver;
use colibri_session::{Listen, Server, ToBell, Wire};
use colibri_vault::access::Access;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two looks at a file that was torn.
const AGAIN: Duration = Duration::from_millis(200);
/// How often it is looked at.
const LOOKS: u32 = 10;

/// Tells of the end, also of one that was not waited for.
struct Ended<'a>(&'a mpsc::UnboundedSender<bool>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let _ending = self.0.send(false);
    }
}

/// What is needed for it.
#[derive(Debug)]
pub struct Hub {
    /// `bw`'s private directory.
    pub dir: OwnedFd,
    /// The vault.
    pub server: Server,
    /// Asks for its addresses.
    pub resolver: Resolver,
}

impl Hub {
    /// For another bell.
    ///
    /// # Errors
    /// The system's.
    pub fn again(&self) -> Result<Self> {
        let dir = self.dir.try_clone()?;
        Ok(Self { dir, server: self.server.clone(), resolver: self.resolver.clone() })
    }

    /// Hands the bell what it needs, and holds its socket until it hangs up. `listens` is
    /// told of both.
    pub async fn equip(self, bell: OwnedFd, listens: mpsc::UnboundedSender<bool>) {
        let _ended = Ended(&listens);
        let held = async {
            let wire = Wire::new(bell)?;
            let (listen, connection) = self.reach().await?;
            wire.send(&ToBell::Listen(listen), &[connection.as_fd()]).await?;
            drop(connection);
            let _ending = listens.send(true);
            // It says nothing here: this is its end.
            wire.inbox::<()>(0).recv().await;
            Ok::<_, Error>(())
        };
        if let Err(error) = held.await {
            tracing::warn!(%error, "the bell cannot listen");
        }
    }

    async fn reach(&self) -> Result<(Listen, OwnedFd)> {
        let Access { token, notifications } = self.access().await?;
        let hub = self.server.hub(notifications.as_deref());
        let stream = relay::dial(&hub.host, hub.port, self.resolver.clone()).await?;
        let connection = stream.into_std()?;
        Ok((Listen { host: hub.host, port: hub.port, path: hub.path, token }, connection.into()))
    }

    async fn access(&self) -> Result<Access> {
        for _ in 0..LOOKS {
            match data_json::access(self.dir.as_fd()) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => tokio::time::sleep(AGAIN).await,
                read => return read,
            }
        }
        Err(Error::other("what bw stores is torn each time"))
    }
}
