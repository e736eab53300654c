//! Figures for Prometheus: names and numbers, no secret, and no port. What was
//! done is counted as it happens; what there is, is looked up when it is written.

mod textfile;

pub use textfile::keep;

use crate::clock;
use crate::session::SessionStatus;
use crate::tenant::Tenant;
use colibri_control::{AgentState, ConfinementView, Outcome, Provision, Reason, SessionView};
use colibri_tenant::{ErrorName, Status};
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, Result,
    TextEncoder,
};

/// Seconds; a write takes milliseconds, a login seconds, a deadline half a minute.
const BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// The steps that are told apart. The fetcher names its own, and must not be
/// able to make up series without end.
const STEPS: [&str; 14] = [
    "contain",
    "queue",
    "fetch",
    "wait",
    "login",
    "serve",
    "unlock",
    "wake",
    "sync",
    "collections",
    "items",
    "send",
    "write",
    "remove",
];
const OTHER: &str = "other";

/// A handle to the figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    provisions: IntCounterVec,
    failures: IntCounterVec,
    duration: Histogram,
    steps: HistogramVec,
    now: Now,
}

/// What there is at the moment of writing.
#[derive(Clone, Debug)]
struct Now {
    info: GaugeVec,
    bw: GaugeVec,
    started: Gauge,
    written: Gauge,
    sandbox: Gauge,
    lacking: GaugeVec,
    tenants: GaugeVec,
    failing: Gauge,
    retries: Gauge,
    not_mounted: Gauge,
    removals: Gauge,
    under_way: Gauge,
    last_success: GaugeVec,
    refresh: GaugeVec,
    age: GaugeVec,
    in_a_row: GaugeVec,
    keys: GaugeVec,
    agents: GaugeVec,
    session: GaugeVec,
    session_failing: Gauge,
    logins: Gauge,
}

/// All that the figures of a moment are made of.
#[derive(Debug)]
pub struct Moment {
    /// When the daemon started.
    pub started: u64,
    /// Whether its children are confined.
    pub sandbox: bool,
    /// What confines them.
    pub confinement: Vec<ConfinementView>,
    /// All tenants.
    pub tenants: Vec<Tenant>,
    /// The newest agent of each jail.
    pub agents: Vec<AgentState>,
    /// The vault session.
    pub session: SessionStatus,
    /// Provisions under way or waiting.
    pub under_way: usize,
}

impl Metrics {
    /// Figures that all stand at nothing.
    ///
    /// # Errors
    /// Never, unless a name is given twice.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let counter =
            |name, help, labels: &[&str]| add(&registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        let timed = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        let duration = timed("colibri_provision_duration_seconds", "How long provisions took.");
        let steps = timed("colibri_provision_step_duration_seconds", "How long each step of them took.");
        let metrics = Self {
            provisions: counter(
                "colibri_provisions_total",
                "Provisions since the daemon started.",
                &["outcome", "reason"],
            )?,
            failures: counter(
                "colibri_provision_failures_total",
                "Failed provisions by the name of the error.",
                &["error"],
            )?,
            duration: add(&registry, Histogram::with_opts(duration)?)?,
            steps: add(&registry, HistogramVec::new(steps, &["step"])?)?,
            now: Now::new(&registry)?,
            registry,
        };
        metrics.begin();
        Ok(metrics)
    }

    /// A series that is not there before the first failure shows no increase
    /// with it.
    fn begin(&self) {
        for outcome in Outcome::ALL {
            for reason in Reason::ALL {
                self.provisions.with_label_values(&[outcome.as_str(), reason.as_str()]).reset();
            }
        }
        for name in ErrorName::ALL {
            self.failures.with_label_values(&[name.as_str()]).reset();
        }
    }

    /// Counts a provision that is over.
    pub fn observe(&self, provision: &Provision) {
        let Provision { outcome, reason, error, .. } = provision;
        self.provisions.with_label_values(&[outcome.as_str(), reason.as_str()]).inc();
        if let Some(fault) = error {
            self.failures.with_label_values(&[fault.name.as_str()]).inc();
        }
        self.duration.observe(seconds(provision.ms));
        for step in &provision.steps {
            let name = STEPS.into_iter().find(|name| *name == step.name).unwrap_or(OTHER);
            self.steps.with_label_values(&[name]).observe(seconds(step.ms));
        }
    }

    /// All figures as Prometheus reads them.
    ///
    /// # Errors
    /// Never, unless a figure is malformed.
    pub fn text(&self, moment: &Moment) -> Result<String> {
        self.now.set(moment);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Now {
    fn new(registry: &Registry) -> Result<Self> {
        let one = |name, help| add(registry, Gauge::new(name, help)?);
        let by =
            |label: &str, name, help: &str| add(registry, GaugeVec::new(Opts::new(name, help), &[label])?);
        Ok(Self {
            info: by("version", "colibri_build_info", "The daemon's version.")?,
            bw: by("version", "colibri_bw_info", "The version of bw, once it was asked.")?,
            started: one("colibri_start_time_seconds", "When the daemon started, since 1970.")?,
            written: one("colibri_metrics_written_seconds", "When this file was written, since 1970.")?,
            sandbox: one("colibri_sandboxed", "1 if writers and fetcher are confined.")?,
            lacking: by(
                "process",
                "colibri_confinement_lacking",
                "What would confine a process and is not there; `colibri status` names it.",
            )?,
            tenants: by("status", "colibri_tenants", "Tenants.")?,
            failing: one("colibri_tenants_failing", "Tenants whose last provision failed.")?,
            retries: one("colibri_retries_pending", "Tenants that are tried again by themselves.")?,
            not_mounted: one(
                "colibri_tenants_root_not_mounted",
                "Tenants whose root was not there, or another directory.",
            )?,
            removals: one("colibri_removals_due", "Tenants whose file could not be removed yet.")?,
            under_way: one("colibri_provisions_under_way", "Provisions under way or waiting.")?,
            last_success: by(
                "tenant",
                "colibri_tenant_last_success_seconds",
                "When a tenant was last provisioned well, since 1970.",
            )?,
            age: by("tenant", "colibri_tenant_secrets_age_seconds", "How long ago that was.")?,
            refresh: by(
                "tenant",
                "colibri_tenant_refresh_seconds",
                "How often a tenant is looked after by itself; 0 for never.",
            )?,
            in_a_row: by("tenant", "colibri_tenant_failures", "Failures of a tenant in a row.")?,
            keys: by("tenant", "colibri_tenant_keys", "Keys in a tenant's file.")?,
            agents: by("state", "colibri_agents", "The newest agent of each jail.")?,
            session: by("state", "colibri_session_state", "1 for the state of the vault session.")?,
            session_failing: one("colibri_session_failing", "1 if the vault session failed last.")?,
            logins: one("colibri_logins_today", "Logins at the vault since midnight UTC.")?,
        })
    }

    fn set(&self, moment: &Moment) {
        let now = clock::now();
        self.info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        self.started.set(seconds(moment.started));
        self.written.set(seconds(now));
        self.sandbox.set(flag(moment.sandbox));
        for process in &moment.confinement {
            self.lacking.with_label_values(&[process.process.as_str()]).set(count(process.lacks.len()));
        }
        self.set_session(&moment.session);
        self.set_tenants(&moment.tenants, now);
        self.under_way.set(count(moment.under_way));
        for state in AgentState::ALL {
            let number = moment.agents.iter().filter(|agent| *agent == state).count();
            self.agents.with_label_values(&[state.as_str()]).set(count(number));
        }
    }

    fn set_session(&self, session: &SessionStatus) {
        for state in SessionView::ALL {
            self.session.with_label_values(&[state.as_str()]).set(flag(session.state == *state));
        }
        self.session_failing.set(flag(session.error.is_some()));
        self.logins.set(session.logins_today().into());
        self.bw.reset();
        if let Some(version) = &session.bw_version {
            self.bw.with_label_values(&[version]).set(1.0);
        }
    }

    fn set_tenants(&self, tenants: &[Tenant], now: u64) {
        let number =
            |wanted: &dyn Fn(&Tenant) -> bool| count(tenants.iter().filter(|tenant| wanted(tenant)).count());
        for status in Status::ALL {
            let of_status = number(&|tenant| tenant.status == *status);
            self.tenants.with_label_values(&[status.as_str()]).set(of_status);
        }
        self.failing.set(number(&|tenant| tenant.fault().is_some()));
        self.retries.set(number(&Tenant::waits_for_retry));
        self.not_mounted.set(number(&Tenant::is_not_mounted));
        self.removals.set(number(&|tenant| tenant.removal_due));
        let gone = [&self.last_success, &self.age, &self.refresh, &self.in_a_row, &self.keys];
        gone.iter().for_each(|figure| figure.reset());
        for tenant in tenants.iter().filter(|tenant| tenant.status != Status::Destroyed) {
            let name = [tenant.id.as_str()];
            self.in_a_row.with_label_values(&name).set(tenant.failures.into());
            self.refresh.with_label_values(&name).set(tenant.settings.refresh.into());
            self.keys.with_label_values(&name).set(count(tenant.keys.len()));
            if let Some(at) = tenant.last_success {
                self.last_success.with_label_values(&name).set(seconds(at));
                self.age.with_label_values(&name).set(seconds(now.saturating_sub(at)));
            }
        }
    }
}

fn add<T: Collector + Clone + 'static>(registry: &Registry, figure: T) -> Result<T> {
    registry.register(Box::new(figure.clone()))?;
    Ok(figure)
}

/// Milliseconds as the unit that Prometheus wants.
#[expect(clippy::cast_precision_loss, reason = "exact for the next 280,000 years")]
const fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn count(number: usize) -> f64 {
    u32::try_from(number).unwrap_or(u32::MAX).into()
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_control::{LackView, ProcessKind, Step};

    fn moment() -> Moment {
        let session = SessionStatus {
            state: SessionView::Idle,
            bw_version: Some("2026.8.0\"\n".into()),
            logins: (clock::today(), 4),
            ..SessionStatus::default()
        };
        let agents = vec![AgentState::Running, AgentState::Running, AgentState::Lost];
        let lack = LackView { what: "a jail".into(), advice: "make one".into() };
        let confinement =
            vec![ConfinementView { process: ProcessKind::Fetcher, holds: Vec::new(), lacks: vec![lack] }];
        let tenants = Vec::new();
        Moment { started: 1500, sandbox: true, confinement, tenants, agents, session, under_way: 3 }
    }

    #[test]
    fn a_step_that_the_fetcher_makes_up_is_counted_as_another() {
        let metrics = Metrics::new().unwrap();
        let step = |name: &str| Step { name: name.into(), ms: 20 };
        metrics.observe(&Provision {
            number: 1,
            tenant: "web".parse().unwrap(),
            reason: Reason::Hook,
            at: 1,
            ms: 1250,
            outcome: Outcome::Written,
            error: None,
            keys: 1,
            steps: vec![step("login"), step("canary-1"), step("canary-2")],
            warnings: Vec::new(),
            files: Vec::new(),
        });
        let text = metrics.text(&moment()).unwrap();
        assert!(!text.contains("canary"), "{text}");
        for line in [
            "colibri_provisions_total{outcome=\"written\",reason=\"hook\"} 1",
            "colibri_provisions_total{outcome=\"failed\",reason=\"refresh\"} 0",
            "colibri_provision_duration_seconds_sum 1.25",
            "colibri_provision_step_duration_seconds_count{step=\"login\"} 1",
            "colibri_provision_step_duration_seconds_count{step=\"other\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_moment_is_told_in_whole_words() {
        let text = Metrics::new().unwrap().text(&moment()).unwrap();
        for line in [
            "colibri_start_time_seconds 1.5",
            "colibri_session_state{state=\"idle\"} 1",
            "colibri_session_state{state=\"unlocked\"} 0",
            "colibri_agents{state=\"running\"} 2",
            "colibri_provisions_under_way 3",
            "colibri_logins_today 4",
            "colibri_confinement_lacking{process=\"fetcher\"} 1",
            "colibri_bw_info{version=\"2026.8.0\\\"\\n\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
