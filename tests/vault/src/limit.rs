//! The limit on logins, as Vaultwarden has it: a bucket per address that
//! holds `burst` logins and gets one back each `period`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many logins one address has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginLimit {
    /// Logins that may come at once.
    pub burst: u32,
    /// Until one more may come.
    pub period: Duration,
}

impl Default for LoginLimit {
    /// Vaultwarden's defaults: ten at once, then one a minute.
    fn default() -> Self {
        Self { burst: 10, period: Duration::from_secs(60) }
    }
}

/// The buckets.
pub(crate) struct Limiter {
    limit: Option<LoginLimit>,
    buckets: HashMap<IpAddr, Bucket>,
}

struct Bucket {
    spent: u32,
    since: Instant,
}

impl Limiter {
    pub(crate) fn new(limit: Option<LoginLimit>) -> Self {
        Self { limit, buckets: HashMap::new() }
    }

    /// Whether a login from there is allowed now; an allowed one is counted.
    pub(crate) fn admit(&mut self, from: IpAddr, now: Instant) -> bool {
        let Some(limit) = self.limit else { return true };
        let bucket = self.buckets.entry(from).or_insert(Bucket { spent: 0, since: now });
        while bucket.spent > 0 && now.duration_since(bucket.since) >= limit.period {
            bucket.spent -= 1;
            bucket.since += limit.period;
        }
        if bucket.spent == 0 {
            bucket.since = now;
        }
        let admitted = bucket.spent < limit.burst;
        bucket.spent += u32::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_eleventh_login_fails_and_one_a_minute_comes_back() {
        let mut limiter = Limiter::new(Some(LoginLimit::default()));
        let start = Instant::now();
        assert!((0..10).all(|_| limiter.admit(HERE, start)));
        assert!(!limiter.admit(HERE, start + Duration::from_secs(59)));
        assert!(limiter.admit(HERE, start + Duration::from_secs(60)));
        assert!(!limiter.admit(HERE, start + Duration::from_secs(61)));
    }

    #[test]
    fn without_a_limit_every_login_is_admitted() {
        let mut limiter = Limiter::new(None);
        assert!((0..100).all(|_| limiter.admit(HERE, Instant::now())));
    }
}
