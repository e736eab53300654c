//! How many looks at roots are under way. Most take milliseconds; those at file
//! systems that do not answer must neither keep others waiting nor fill the host.

use colibri_tenant::JailName;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Looks that begin at once, of jails that are being started, and as many of all others.
const AT_ONCE: usize = 16;
/// Looks that take longer.
const SLOW: usize = 32;
/// From then on a look takes longer, and lets another begin.
const PROMPT: Duration = Duration::from_millis(500);
/// How long such a look waits for its place among those before it is given up.
const CROWDED: Duration = Duration::from_secs(3);

/// The places, and the jails that are being started: those wait for no others.
#[derive(Debug)]
pub struct Looks {
    starts: Semaphore,
    others: Semaphore,
    slow: Semaphore,
    starting: Mutex<HashMap<JailName, u32>>,
    more: Notify,
}

impl Default for Looks {
    fn default() -> Self {
        let [starts, others, slow] = [AT_ONCE, AT_ONCE, SLOW].map(Semaphore::new);
        Self { starts, others, slow, starting: Mutex::default(), more: Notify::new() }
    }
}

/// Says that a jail is being started, until it is dropped.
#[derive(Debug)]
pub struct Starting {
    looks: Arc<Looks>,
    jail: JailName,
}

impl Starting {
    pub(super) fn new(looks: &Arc<Looks>, jail: &JailName) -> Self {
        looks.with(|starting| *starting.entry(jail.clone()).or_default() += 1);
        looks.more.notify_waiters();
        Self { looks: looks.clone(), jail: jail.clone() }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.looks.with(|starting| {
            let left = starting.get_mut(&self.jail).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if left == 0 {
                starting.remove(&self.jail);
            }
        });
    }
}

/// A look that may begin.
#[derive(Debug)]
pub struct Begun<'a> {
    looks: &'a Looks,
    /// Nobody closes them.
    place: Option<SemaphorePermit<'a>>,
}

impl Looks {
    fn with<T>(&self, look: impl FnOnce(&mut HashMap<JailName, u32>) -> T) -> T {
        look(&mut self.starting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a place.
    pub async fn begin(&self, jail: &JailName) -> Begun<'_> {
        let place = tokio::select! {
            biased;
            () = self.started(jail) => self.starts.acquire().await,
            place = self.others.acquire() => place,
        };
        Begun { looks: self, place: place.ok() }
    }

    /// Also of a look that waits already.
    async fn started(&self, jail: &JailName) {
        loop {
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            if self.with(|starting| starting.contains_key(jail)) {
                return;
            }
            more.await;
        }
    }
}

impl Begun<'_> {
    /// Returns when the look is to be given up.
    pub async fn patience(self, end: Instant) {
        sleep(PROMPT).await;
        let Ok(slow) = timeout(CROWDED, self.looks.slow.acquire()).await else { return };
        drop(self.place);
        sleep_until(end).await;
        drop(slow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::task::JoinSet;

    const LOOK: Duration = Duration::from_secs(10);

    fn jail(number: usize) -> JailName {
        format!("j{number}").parse().unwrap()
    }

    /// So many looks that do not end, and how many are under way.
    fn hang(looks: &Arc<Looks>, many: usize) -> (JoinSet<()>, Arc<AtomicUsize>) {
        let (mut tasks, under_way) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for number in 0..many {
            let (looks, under_way) = (looks.clone(), under_way.clone());
            tasks.spawn(async move {
                let begun = looks.begin(&jail(number)).await;
                under_way.fetch_add(1, Ordering::SeqCst);
                begun.patience(Instant::now() + LOOK).await;
                under_way.fetch_sub(1, Ordering::SeqCst);
            });
        }
        (tasks, under_way)
    }

    #[tokio::test(start_paused = true)]
    async fn looks_that_do_not_end_are_few_and_keep_no_start_waiting() {
        let looks = Arc::new(Looks::default());
        let (mut tasks, under_way) = hang(&looks, 400);
        let began = Instant::now();
        while !tasks.is_empty() {
            while tasks.try_join_next().is_some() {}
            let now = under_way.load(Ordering::SeqCst);
            assert!(now <= AT_ONCE + SLOW, "{now}");
            let since = Instant::now();
            let _starting = Starting::new(&looks, &jail(1000));
            drop(looks.begin(&jail(1000)).await);
            assert_eq!(since.elapsed(), Duration::ZERO);
            sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
        assert!(looks.with(|starting| starting.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_takes_longer_lets_another_begin() {
        let looks = Arc::new(Looks::default());
        let (_tasks, under_way) = hang(&looks, AT_ONCE + 1);
        sleep(PROMPT / 2).await;
        assert_eq!(under_way.load(Ordering::SeqCst), AT_ONCE);
        sleep(PROMPT).await;
        assert_eq!(under_way.load(Ordering::SeqCst), AT_ONCE + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_waits_begins_once_its_jail_is_being_started() {
        let looks = Arc::new(Looks::default());
        let (_tasks, under_way) = hang(&looks, 400);
        sleep(PROMPT / 2).await;
        let _starting = Starting::new(&looks, &jail(399));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(under_way.load(Ordering::SeqCst), AT_ONCE + 1);
    }
}
