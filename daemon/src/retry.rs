//! When to try again: exponential backoff with full jitter, slower where the
//! vault limits logins, once an hour where an operator has to see to the session,
//! and never where one has to see to the tenant.

use colibri_tenant::{ErrorName, Retry};
use rand::Rng;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(600);
/// The least time between two logins after the vault limited or refused one,
/// and until a shrunken answer counts as confirmed.
pub const SLOW: Duration = Duration::from_secs(60);
/// Between two tries of what an operator has to see to, less what they are spread by.
const HOURLY: Duration = Duration::from_secs(3500);

/// How long to wait after the `failures`th failure in a row; `None` for ever.
pub fn delay(name: ErrorName, failures: u32, random: &mut impl Rng) -> Option<Duration> {
    let at_least = match name.retry() {
        Retry::Never => return None,
        Retry::Hourly => return Some(hourly(Instant::now(), random)),
        Retry::Slowly => SLOW,
        Retry::Later if name == ErrorName::AnswerShrunken => SLOW,
        Retry::Later => Duration::ZERO,
    };
    let longest = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    Some(at_least + random.random_range(FIRST / 4..=longest))
}

/// All of this host together, and hosts at other times: the first tells what one login
/// has come to, and the others do not try another.
fn hourly(now: Instant, random: &mut impl Rng) -> Duration {
    static SINCE: LazyLock<Instant> = LazyLock::new(Instant::now);
    let over = now.saturating_duration_since(*SINCE).as_secs() % HOURLY.as_secs();
    HOURLY - Duration::from_secs(over) + random.random_range(Duration::ZERO..SLOW / 2)
}

/// When to look for changes that could not be asked for: the vault limits logins.
pub fn stale(random: &mut impl Rng) -> Duration {
    SLOW + random.random_range(Duration::ZERO..=SLOW / 2)
}

/// The next refresh, within a tenth of the interval; `None` if there is none.
pub fn refresh(seconds: u32, random: &mut impl Rng) -> Option<Duration> {
    let interval = Duration::from_secs(seconds.into());
    (seconds > 0).then(|| random.random_range(interval * 9 / 10..=interval * 11 / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_to_its_bound_and_not_beyond() {
        let mut random = rand::rng();
        let longest = |failures, random: &mut _| {
            (0..200).filter_map(|_| delay(ErrorName::VaultUnreachable, failures, random)).max().unwrap()
        };
        assert!(longest(1, &mut random) <= FIRST * 2);
        assert!(longest(6, &mut random) > FIRST * 2);
        assert!(longest(u32::MAX, &mut random) <= LONGEST);
    }

    #[test]
    fn a_rate_limit_waits_a_minute_and_what_is_to_be_mended_in_a_jail_for_ever() {
        assert!(delay(ErrorName::RateLimited, 1, &mut rand::rng()).unwrap() > SLOW);
        assert_eq!(delay(ErrorName::NotTmpfs, 1, &mut rand::rng()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_are_tried_within_the_hour_and_once_for_all() {
        let mut due = Vec::new();
        for _ in 0..100 {
            let wait = delay(ErrorName::BadCredentials, 50, &mut rand::rng()).unwrap();
            assert!(wait <= Duration::from_secs(3600), "{wait:?}");
            due.push(Instant::now() + wait);
            tokio::time::advance(Duration::from_secs(20)).await;
        }
        let (first, last) = (due.iter().min().unwrap(), due.iter().max().unwrap());
        assert!(*last - *first <= SLOW, "within the bar that the first of them puts up");
    }

    #[test]
    fn what_is_over_its_bound_is_tried_again_and_less_and_less_often() {
        let mut random = rand::rng();
        let mut delay = |failures| delay(ErrorName::LimitExceeded, failures, &mut random).unwrap();
        assert!(delay(1) > SLOW);
        assert!((0..200).map(|_| delay(12)).max().unwrap() > SLOW * 5);
    }

    #[test]
    fn a_refresh_stays_near_its_interval() {
        assert_eq!(refresh(0, &mut rand::rng()), None);
        let next = refresh(100, &mut rand::rng()).unwrap();
        assert!((90..=110).contains(&next.as_secs()));
    }
}
