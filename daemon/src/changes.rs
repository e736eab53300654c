//! Whose secrets have changed: one question to the vault for all tenants that are kept up,
//! instead of one of each. Who has what the vault has is left alone.

use crate::clock;
use crate::retry;
use crate::service::Service;
use crate::store::StoreError;
use crate::tenant::Tenant;
use colibri_session::{Failure, Fingerprint, States};
use colibri_tenant::{ErrorName, Retry, TenantId};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::sleep;

/// Longest time between two questions to a vault that does not answer.
const LONGEST: Duration = Duration::from_secs(600);
/// After this long a tenant is brought whatever the vault says: its file may be gone, or
/// another than it was.
const WHATEVER_MS: u64 = 24 * 60 * 60 * 1000;
/// What nothing but an operator can put right is asked for again so often.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Until tenants are looked at again where none follows changes.
const NOBODY: Duration = Duration::from_secs(5);
/// How often the vault is asked at least while the bell listens: it does not tell of what
/// is taken away.
const SILENT: Duration = Duration::from_secs(15 * 60);
/// Least time between two looks that the bell asks for, and at most after some that
/// showed nothing: a hostile hub costs no more.
const QUIET: Duration = Duration::from_millis(250);
const NOISE: Duration = Duration::from_secs(10);

/// What a look says of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It has what the vault has.
    Same,
    /// The vault has something else.
    Changed,
    /// Nothing: it asks by itself when its time comes.
    Unknown,
}

/// Looks again and again, and brings what has changed.
pub async fn follow(service: Service) {
    let poll = service.config.settings.poll;
    if poll.is_zero() {
        return;
    }
    let (mut failures, mut idle_rings) = (0, 0);
    loop {
        let listens = service.bell.listens();
        let pause = match followers(&service).await {
            Ok(tenants) => {
                service.bell.want(!tenants.is_empty());
                pause(tenants.len(), if listens { poll.max(SILENT) } else { poll }, failures)
            }
            Err(error) => {
                tracing::error!(%error, "cannot read whose changes are followed");
                Some(LONGEST)
            }
        };
        let Some(pause) = pause else {
            sleep(NOBODY).await;
            continue;
        };
        // Hosts that were started together do not ask together.
        let due = sleep(rand::random_range(pause * 9 / 10..=pause));
        let rung = tokio::select! {
            () = due => false,
            () = service.bell.rung() => true,
            // How long to wait is another question now.
            () = service.bell.turned(listens) => continue,
        };
        let looked = look(&service).await;
        failures = match &looked {
            Ok(_) => 0,
            Err(failure) => {
                tracing::warn!(name = %failure.name, "cannot look for changes: {failure}");
                failures + 1
            }
        };
        if let Err(failure) = &looked {
            let alone = left_alone(failure.name, failures);
            // Whoever opens one has found it put right.
            tokio::select! {
                () = sleep(alone) => {}
                () = service.session.opened() => {}
            }
        }
        if rung {
            idle_rings = if matches!(looked, Ok(true)) { 0 } else { idle_rings + 1 };
            sleep(rest(idle_rings)).await;
        }
    }
}

/// The tenants that are kept up by looks. Who is to be looked after more often than the host
/// looks asks by itself.
async fn followers(service: &Service) -> Result<Vec<Tenant>, StoreError> {
    let poll = service.config.settings.poll.as_secs();
    let mut tenants = service.store.with(|db| db.tenants()).await?;
    tenants.retain(|tenant| {
        let seldom = u64::from(tenant.settings.refresh) > poll;
        seldom && tenant.follows_changes() && tenant.fingerprint.is_some()
    });
    Ok(tenants)
}

/// Until the next look; nothing where nobody follows. A vault that does not answer is asked
/// less and less often.
fn pause(followers: usize, poll: Duration, failures: u32) -> Option<Duration> {
    let pause = poll.saturating_mul(1 << failures.min(10)).min(LONGEST.max(poll));
    (followers > 0).then_some(pause)
}

/// A vault that refuses logins, or limits them, is asked no more often for this than for a
/// tenant.
fn left_alone(name: ErrorName, failures: u32) -> Duration {
    match name.retry() {
        Retry::Later => Duration::ZERO,
        _ => retry::delay(name, failures, &mut rand::rng()).unwrap_or(HOUR),
    }
}

/// After a ring, by how many rings in a row were for nothing: the account sees more than
/// this host's tenants, so that the first few cost no time.
fn rest(idle_rings: u32) -> Duration {
    QUIET.saturating_mul(1 << idle_rings.saturating_sub(1).min(16)).min(NOISE)
}

/// Whether something has changed.
async fn look(service: &Service) -> Result<bool, Failure> {
    let Some(states) = service.session.states(service.config.settings.deadline).await? else {
        return Ok(false);
    };
    let now = clock::now();
    // As they are now, not as they were before the vault was asked.
    let tenants = match followers(service).await {
        Ok(tenants) => tenants,
        Err(error) => {
            tracing::error!(%error, "cannot compare what has changed");
            return Ok(false);
        }
    };
    let known = known(&states);
    let (mut later, mut changed) = (Vec::new(), false);
    for tenant in tenants {
        match verdict(&tenant, &known, states.more) {
            Verdict::Changed => {
                tracing::info!(tenant = %tenant.id, "its collection has changed");
                service.provisioner.refresh(&tenant.id);
                changed = true;
            }
            Verdict::Same => later.extend(postponed(&tenant, now)),
            Verdict::Unknown => {}
        }
    }
    postpone(service, later).await;
    Ok(changed)
}

fn known(states: &States) -> HashMap<&str, Fingerprint> {
    states.shown.iter().map(|(id, fingerprint)| (id.as_str(), *fingerprint)).collect()
}

fn verdict(tenant: &Tenant, known: &HashMap<&str, Fingerprint>, more: u32) -> Verdict {
    let (Some(id), Some(had)) = (&tenant.collection_id, tenant.fingerprint) else { return Verdict::Unknown };
    match known.get(id.as_str()) {
        Some(now) if *now == had => Verdict::Same,
        None if more > 0 => Verdict::Unknown,
        // A collection that is not there is a change, too.
        Some(_) | None => Verdict::Changed,
    }
}

/// When the tenant asks by itself, should no more looks come; only where a good part of
/// its time is over, so that not each look writes it down.
fn postponed(tenant: &Tenant, now: u64) -> Option<(TenantId, u64)> {
    let refresh = u64::from(tenant.settings.refresh) * 1000;
    let due = tenant.next_try.is_some_and(|at| at < now.saturating_add(refresh / 4 * 3));
    let fresh = tenant.last_success.is_some_and(|at| now.saturating_sub(at) < WHATEVER_MS);
    (due && fresh).then(|| (tenant.id.clone(), now.saturating_add(refresh)))
}

async fn postpone(service: &Service, later: Vec<(TenantId, u64)>) {
    if later.is_empty() {
        return;
    }
    let rows = later.clone();
    if let Err(error) = service.store.with(move |db| db.postpone(&rows)).await {
        return tracing::error!(%error, "cannot record who has what the vault has");
    }
    for (id, at) in later {
        service.provisioner.schedule(&id, Some(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Db;
    use colibri_tenant::Settings;

    const HAD: Fingerprint = [1; 16];

    fn tenant(refresh: u32) -> Tenant {
        let dir = tempfile::tempdir().unwrap();
        let mut db = Db::open(&dir.path().join("db")).unwrap();
        let id: TenantId = "web".parse().unwrap();
        let settings = Settings { refresh, ..Settings::default() };
        db.insert(&id, std::path::Path::new("/web"), &settings, 0).unwrap();
        let tenant = db.known(&id).unwrap();
        Tenant {
            collection_id: Some("c".into()),
            fingerprint: Some(HAD),
            next_try: Some(1000),
            last_success: Some(0),
            ..tenant
        }
    }

    #[test]
    fn who_has_what_the_vault_has_is_left_alone() {
        let tenant = tenant(900);
        for (shown, more, expected) in [
            (vec![("c", HAD), ("d", [2; 16])], 0, Verdict::Same),
            (vec![("c", [2; 16])], 0, Verdict::Changed),
            (vec![("d", HAD)], 0, Verdict::Changed),
            (vec![("d", HAD)], 7, Verdict::Unknown),
        ] {
            let shown = shown.into_iter().map(|(id, one)| (id.to_owned(), one)).collect();
            let states = States { shown, more };
            assert_eq!(verdict(&tenant, &known(&states), states.more), expected, "{states:?}");
        }
        let unknown = Tenant { fingerprint: None, ..tenant };
        assert_eq!(verdict(&unknown, &HashMap::new(), 0), Verdict::Unknown);
    }

    #[test]
    fn a_look_comes_as_often_as_is_set_and_seldom_to_a_silent_vault() {
        let poll = Duration::from_secs(60);
        assert_eq!(pause(0, poll, 0), None);
        assert_eq!(pause(2, poll, 0), Some(poll));
        assert_eq!(pause(1, poll, 2), Some(poll * 4));
        assert_eq!(pause(1, poll, u32::MAX), Some(LONGEST));
        assert_eq!(pause(1, poll * 60, 9), Some(poll * 60), "not more often than is set");
    }

    #[test]
    fn refused_credentials_are_tried_for_this_no_more_often_than_for_a_tenant() {
        assert_eq!(left_alone(ErrorName::VaultUnreachable, 3), Duration::ZERO);
        assert!(left_alone(ErrorName::RateLimited, 1) >= retry::SLOW);
        // The rest of an hour that is the same for all of the host.
        assert!(left_alone(ErrorName::BadCredentials, 1) <= HOUR);
        assert_eq!(left_alone(ErrorName::TargetEscapesRoot, 1), HOUR);
    }

    #[test]
    fn rings_for_nothing_are_answered_less_and_less_often() {
        assert_eq!((rest(0), rest(1), rest(2)), (QUIET, QUIET, QUIET * 2));
        assert_eq!((rest(20), rest(u32::MAX)), (NOISE, NOISE));
    }

    #[test]
    fn who_was_looked_at_asks_by_itself_only_after_all_of_its_time() {
        let tenant = tenant(900);
        assert_eq!(postponed(&tenant, 1000).unwrap().1, 901_000);
        let later = Tenant { next_try: Some(800_000), ..tenant.clone() };
        assert_eq!(postponed(&later, 1000), None, "it is not soon");
        let old = Tenant { next_try: Some(WHATEVER_MS), ..tenant.clone() };
        assert_eq!(postponed(&old, WHATEVER_MS), None, "once a day whatever the vault says");
        let never = Tenant { next_try: None, ..tenant };
        assert_eq!(postponed(&never, 1000), None);
    }
}
