//! The bell, as the daemon sees it: a process that listens at the vault while a
//! session is open, and that says when something has changed.

use crate::child;
use crate::clock;
use crate::session::Session;
use crate::settings::{Config, FetcherUser};
use colibri_control::{BellState, BellView};
use colibri_session::{FromBell, ToBell, Wire};
use rand::Rng;
use std::io::{Error, Result};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

/// Longest time until the vault's hub has welcomed it.
const WELCOME: Duration = Duration::from_secs(60);
/// Before it is started again, and at most after many failures in a row.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// A token that is not taken is renewed by `bw`, at the next sync that needs it.
const TOKEN: Duration = Duration::from_secs(60);
/// After each ring, before another is read: a hostile bell waits.
const BREATH: Duration = Duration::from_millis(250);
/// One that listened for less is a failure, too: a hub that welcomes and closes.
const LASTING: Duration = Duration::from_secs(60);
/// How long it may take to end.
const GRACE: Duration = Duration::from_millis(500);

/// A handle to the bell's task.
#[derive(Clone, Debug)]
pub struct Bell {
    status: watch::Receiver<BellView>,
    rung: Arc<Notify>,
    wanted: watch::Sender<bool>,
}

impl Bell {
    /// Starts the task.
    pub fn start(config: Arc<Config>, session: Session) -> Self {
        let (shown, status) = watch::channel(BellView::default());
        let (wanted, is_wanted) = watch::channel(false);
        let rung = Arc::<Notify>::default();
        if !config.settings.no_bell {
            tokio::spawn(Keeper { config, session, shown, rung: rung.clone() }.run(is_wanted));
        }
        Self { status, rung, wanted }
    }

    /// Returns when something may have changed at the vault: it rang, or it listens
    /// (again) and may have missed a change before. Several such are one.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Whether there is anybody for whom it rings: without, no session is kept open.
    pub fn want(&self, wanted: bool) {
        self.wanted.send_if_modified(|now| std::mem::replace(now, wanted) != wanted);
    }

    /// What is known of it.
    pub fn view(&self) -> BellView {
        self.status.borrow().clone()
    }

    /// Whether changes are told of.
    pub fn listens(&self) -> bool {
        self.status.borrow().state == BellState::Listening
    }

    /// Returns when changes are told of (any more) or not, other than `listens` says.
    pub async fn turned(&self, listens: bool) {
        let other = |view: &BellView| (view.state == BellState::Listening) != listens;
        // Without its task nothing turns.
        if self.status.clone().wait_for(other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Keeper {
    config: Arc<Config>,
    session: Session,
    shown: watch::Sender<BellView>,
    rung: Arc<Notify>,
}

/// How one bell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It had listened.
    Lost,
    /// It never did.
    Failed,
    /// The vault does not take the token.
    TokenRefused,
}

impl Keeper {
    async fn run(self, mut wanted: watch::Receiver<bool>) {
        let mut failures = 0;
        while wanted.wait_for(|wanted| *wanted).await.is_ok() {
            self.session.opened().await;
            let begun = Instant::now();
            let end = tokio::select! {
                end = self.one() => end,
                // Its process is killed with it.
                _ = wanted.wait_for(|wanted| !wanted) => {
                    self.shown.send_modify(|view| view.state = BellState::Off);
                    continue;
                }
            };
            let end = end.unwrap_or_else(|error| {
                tracing::warn!(%error, "the bell cannot be started");
                End::Failed
            });
            let lasted = end == End::Lost && begun.elapsed() >= LASTING;
            failures = if lasted { 0 } else { failures + 1 };
            self.shown.send_modify(|view| view.state = state(end));
            let rest = pause(end, failures, &mut rand::rng());
            sleep(rest).await;
        }
    }

    /// From a bell's start to its end.
    async fn one(&self) -> Result<End> {
        let (mut child, near) = self.spawn()?;
        if let Some(stderr) = child.stderr.take() {
            child::log("bell", child.id(), stderr);
        }
        let said = child.stdout.take();
        let end = async {
            let trust = self.config.settings.ca_file.as_ref().map(std::fs::read_to_string).transpose()?;
            let wire = Wire::new(near.try_clone()?)?;
            wire.send(&ToBell::Trust(trust), &[]).await?;
            drop(wire);
            self.session.equip(near).await;
            let mut said = said.ok_or_else(|| Error::other("it cannot be heard"))?;
            hear(&mut said, &self.shown, &self.rung).await
        };
        let end = end.await;
        child::end(child, GRACE).await;
        end
    }

    fn spawn(&self) -> Result<(Child, OwnedFd)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let mut command = child::command(&self.config.bell);
        if let FetcherUser::Other(owner) = &self.config.fetcher_user {
            // With another uid, std clears the supplementary groups too.
            command.uid(owner.uid).gid(owner.gid);
        }
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok((command.spawn()?, ours.into()))
    }
}

/// Takes each word for no more than it is: a hostile bell can ring, and no more.
async fn hear(
    said: &mut (impl AsyncRead + Unpin),
    shown: &watch::Sender<BellView>,
    rung: &Notify,
) -> Result<End> {
    let mut byte = [0];
    let mut end = End::Failed;
    loop {
        let patience = if end == End::Lost { Duration::MAX } else { WELCOME };
        match timeout(patience, said.read(&mut byte)).await {
            Ok(Ok(1)) => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(_)) | Err(_) => return Ok(end),
        }
        match FromBell::of(byte[0]) {
            Some(FromBell::Listening) if end != End::Lost => {
                end = End::Lost;
                shown.send_modify(|view| view.state = BellState::Listening);
                rung.notify_one();
            }
            Some(FromBell::Rung) if end == End::Lost => {
                shown.send_modify(|view| view.last_ring = Some(clock::now()));
                rung.notify_one();
                // It has as much to say again by then, and no more.
                sleep(BREATH).await;
            }
            Some(FromBell::TokenRefused) => return Ok(End::TokenRefused),
            // It has no other words, and each of these once.
            _ => return Ok(end),
        }
    }
}

const fn state(end: End) -> BellState {
    match end {
        End::Lost | End::Failed => BellState::Unreachable,
        End::TokenRefused => BellState::TokenRefused,
    }
}

/// With jitter: many hosts lose one vault at the same time.
fn pause(end: End, failures: u32, random: &mut impl Rng) -> Duration {
    if end == End::TokenRefused {
        return TOKEN + random.random_range(Duration::ZERO..=TOKEN / 2);
    }
    let longest = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    random.random_range(longest / 2..=longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hostile_bell_rings_now_and_then_and_is_ended_for_another_word() {
        let (shown, status) = watch::channel(BellView::default());
        let rung = Notify::new();
        let begun = Instant::now();
        let rings = "R".repeat(1000);
        let end = hear(&mut format!("L{rings}").as_bytes(), &shown, &rung).await.unwrap();
        assert_eq!(end, End::Lost);
        assert!(begun.elapsed() >= BREATH * 1000, "{:?}", begun.elapsed());
        assert_eq!(status.borrow().state, BellState::Listening);
        for (said, expected) in
            [("R", End::Failed), ("x", End::Failed), ("LL", End::Lost), ("T", End::TokenRefused)]
        {
            let rest = "R".repeat(9);
            let begun = Instant::now();
            let end = hear(&mut format!("{said}{rest}").as_bytes(), &shown, &rung).await.unwrap();
            assert_eq!((end, begun.elapsed()), (expected, Duration::ZERO), "{said}");
        }
    }

    #[test]
    fn a_lost_bell_is_soon_back_and_a_vault_without_one_is_asked_now_and_then() {
        let mut random = rand::rng();
        let mut pause = |end, failures| pause(end, failures, &mut random);
        assert!((0..100).all(|_| pause(End::Lost, 0) <= FIRST));
        assert!((0..100).all(|_| (LONGEST / 2..=LONGEST).contains(&pause(End::Failed, 50))));
        assert!((0..100).all(|_| pause(End::TokenRefused, 1) >= TOKEN));
    }
}
