//! Spreads what is done for many tenants that have changed at once: not all services
//! restart in the same second.

use colibri_tenant::TenantId;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Hands tenants on, the first at once and the others so far apart. One that waits
/// already does not wait twice: what it gets is what it has changed to by then.
pub async fn spread(
    apart: Duration,
    mut changed: mpsc::UnboundedReceiver<TenantId>,
    mut begin: impl FnMut(TenantId),
) {
    let (mut waiting, mut next) = (VecDeque::new(), Instant::now());
    loop {
        tokio::select! {
            id = changed.recv() => match id {
                Some(id) if waiting.contains(&id) => {}
                Some(id) => waiting.push_back(id),
                None => return,
            },
            () = sleep_until(next), if !waiting.is_empty() => {
                waiting.pop_front().into_iter().for_each(&mut begin);
                next = Instant::now() + apart;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// What is handed on, and when, in milliseconds.
    type Begun = Arc<Mutex<Vec<(String, u64)>>>;

    fn started(apart: u64) -> (mpsc::UnboundedSender<TenantId>, Begun) {
        let (sender, changed) = mpsc::unbounded_channel();
        let begun = Begun::default();
        let (seen, start) = (begun.clone(), Instant::now());
        tokio::spawn(spread(Duration::from_millis(apart), changed, move |id| {
            let at = u64::try_from(start.elapsed().as_millis()).unwrap();
            seen.lock().unwrap().push((id.to_string(), at));
        }));
        (sender, begun)
    }

    fn say(sender: &mpsc::UnboundedSender<TenantId>, names: &[&str]) {
        names.iter().for_each(|name| sender.send(name.parse().unwrap()).unwrap());
    }

    fn at(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_begin_one_after_another_and_each_once() {
        let (sender, begun) = started(1000);
        say(&sender, &["a", "b", "c", "b", "c"]);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        // One that was begun has changed again.
        say(&sender, &["a", "c"]);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(*begun.lock().unwrap(), at(&[("a", 0), ("b", 1000), ("c", 2000), ("a", 3000)]));
        // Who comes alone does not wait.
        say(&sender, &["d"]);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(begun.lock().unwrap().last(), at(&[("d", 61_500)]).last());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_stagger_all_begin_at_once() {
        let (sender, begun) = started(0);
        say(&sender, &["a", "b", "c"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(begun.lock().unwrap().len(), 3);
        assert!(begun.lock().unwrap().iter().all(|(_, at)| *at <= 5));
    }
}
