//! The observers' share of the daemon: one answer at a time, after what changes
//! something, and for a tenth of the time at most.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout};

/// They get one part of this many.
const PARTS: u32 = 10;
/// So long they wait for what goes before them, so that no rush shuts them out.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shared by the clients of both sockets.
#[derive(Debug, Default)]
pub struct Share {
    /// How many requests go before.
    ahead: watch::Sender<usize>,
    turn: Arc<Mutex<()>>,
}

/// Held as long as a request goes before the observers'.
#[derive(Debug)]
pub struct Ahead<'a>(&'a Share);

impl Share {
    /// A request that observers wait for.
    pub fn ahead(&self) -> Ahead<'_> {
        self.ahead.send_modify(|count| *count += 1);
        Ahead(self)
    }

    /// Works for an observer, when it is its turn.
    pub async fn work<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.turn.clone().lock_owned().await;
        let mut ahead = self.ahead.subscribe();
        let _over = timeout(PATIENCE, ahead.wait_for(|count| *count == 0)).await.is_ok();
        let began = Instant::now();
        let done = work.await;
        // This one has its answer now; the next one waits.
        let rest = began.elapsed() * (PARTS - 1);
        tokio::spawn(async move {
            sleep(rest).await;
            drop(turn);
        });
        done
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        self.0.ahead.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// With a clock that goes on by itself when there is nothing to do.
    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn however_many_ask_they_get_a_tenth_of_the_time() {
        run(async {
            let share = Arc::new(Share::default());
            let busy = Arc::new(AtomicUsize::new(0));
            let since = Instant::now();
            let mut observers = tokio::task::JoinSet::new();
            for _ in 0..120 {
                let (share, busy) = (share.clone(), busy.clone());
                observers.spawn(async move {
                    let work = async {
                        assert_eq!(busy.fetch_add(1, Ordering::Relaxed), 0, "two at once");
                        sleep(Duration::from_millis(50)).await;
                        busy.fetch_sub(1, Ordering::Relaxed);
                    };
                    share.work(work).await;
                });
            }
            observers.join_all().await;
            assert!(since.elapsed() >= Duration::from_millis(119 * 500));
        });
    }

    #[test]
    fn an_observer_waits_for_what_goes_before_but_not_for_ever() {
        run(async {
            let share = Share::default();
            let ahead = share.ahead();
            let since = Instant::now();
            let gone = async {
                sleep(Duration::from_millis(300)).await;
                drop(ahead);
            };
            tokio::join!(share.work(async {}), gone);
            assert!(since.elapsed() >= Duration::from_millis(300) && since.elapsed() < PATIENCE);
            let _rush = share.ahead();
            let since = Instant::now();
            share.work(async {}).await;
            assert!(since.elapsed() >= PATIENCE);
        });
    }
}
