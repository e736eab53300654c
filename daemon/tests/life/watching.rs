//! What the daemon shows of itself: its log, and figures for Prometheus.

use crate::host::{Host, SOON, wait};
use crate::stand_in::Collection;
use colibri_tenant::ErrorName;
use prometheus_parse::{Sample, Scrape, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn scrape(host: &Host) -> Option<Scrape> {
    let text = fs::read_to_string(host.path("colibri.prom")).ok()?;
    Some(Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap())
}

fn value(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted = |sample: &&Sample| {
        let has = |(label, value): &(&str, &str)| sample.labels.get(label) == Some(value);
        sample.metric == name && labels.iter().all(has)
    };
    let number = |sample: &Sample| match sample.value {
        Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
        _ => panic!("{name} is no number"),
    };
    scrape.samples.iter().filter(wanted).map(number).reduce(|sum, value| sum + value)
}

/// A host with one tenant that was served, and one that was not.
fn half_well() -> Host {
    let host = Host::new();
    let secrets = Collection::Secrets([("A".to_owned(), "canary-value".to_owned())].into());
    let fails = Collection::Fails(ErrorName::CollectionUnreadable);
    host.vault(BTreeMap::from([("web".to_owned(), secrets), ("db".to_owned(), fails)]));
    for name in ["web", "db"] {
        host.register(name);
        host.hook(name, &host.root(name));
    }
    let told = || {
        let failed = [("outcome", "failed"), ("reason", "hook")];
        scrape(&host).is_some_and(|now| value(&now, "colibri_provisions_total", &failed) == Some(1.0))
    };
    wait(SOON, told, || host.log());
    host
}

#[test]
fn the_figures_are_those_of_what_happened() {
    let host = half_well();
    let now = scrape(&host).unwrap();
    let is = |name: &str, labels: &[(&str, &str)], expected: f64| {
        assert_eq!(value(&now, name, labels), Some(expected), "{name} {labels:?}");
    };
    is("colibri_provisions_total", &[("outcome", "written")], 1.0);
    is("colibri_provisions_total", &[("outcome", "removed")], 0.0);
    assert!(
        value(&now, "colibri_provision_failures_total", &[("error", "CollectionUnreadable")]) >= Some(1.0)
    );
    is("colibri_tenants", &[("status", "active")], 1.0);
    is("colibri_tenants", &[("status", "provisioned")], 1.0);
    is("colibri_tenants_failing", &[], 1.0);
    is("colibri_retries_pending", &[], 1.0);
    is("colibri_session_state", &[("state", "unlocked")], 1.0);
    is("colibri_tenant_keys", &[("tenant", "web")], 1.0);
    let success = value(&now, "colibri_tenant_last_success_seconds", &[("tenant", "web")]).unwrap();
    assert!((success * 1000.0 - host.show("web").last_success.unwrap() as f64).abs() < 1.0);
    assert_eq!(value(&now, "colibri_tenant_last_success_seconds", &[("tenant", "db")]), None);
    let text = fs::read_to_string(host.path("colibri.prom")).unwrap();
    assert!(!text.contains("canary"), "{text}");
    let mode = fs::metadata(host.path("colibri.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    assert!(!host.path(".colibri.prom.new").exists());
}

/// The names of ours that a text speaks of.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(word).filter(|word| word.starts_with("colibri_")).map(Into::into).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_figures_that_there_are() {
    let host = half_well();
    let text = fs::read_to_string(host.path("colibri.prom")).unwrap();
    let known: BTreeSet<String> =
        text.lines().filter_map(|line| Some(line.split_once([' ', '{'])?.0.to_owned())).collect();
    let monitoring = colibri_test_host::tree().join("packaging/monitoring");
    let alerts = fs::read_to_string(monitoring.join("alerts.yml")).unwrap();
    // Who is not refreshed by itself is not late, and that is the default.
    let old = alerts.split("alert: ").find(|alert| alert.starts_with("ColibriSecretsOld")).unwrap();
    assert!(old.contains("and on (instance, tenant) colibri_tenant_refresh_seconds > 0"), "{old}");
    let now = scrape(&host).unwrap();
    assert_eq!(value(&now, "colibri_tenant_refresh_seconds", &[("tenant", "web")]), Some(0.0));
    let dashboard: serde_json::Value =
        serde_json::from_slice(&fs::read(monitoring.join("dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let asked: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(asked.len() >= 10 && dashboard["schemaVersion"].as_u64() >= Some(39));
    for text in asked.into_iter().chain(alerts.lines().filter(|line| line.contains("expr:"))) {
        let names = names(text);
        assert!(!names.is_empty(), "{text}");
        let unknown: Vec<_> = names.difference(&known).collect();
        assert!(unknown.is_empty(), "{text}: {unknown:?}");
    }
}

#[test]
fn a_provision_is_one_span_with_its_steps_and_times() {
    let host = Host::with(&[("COLIBRI_LOG_FORMAT", "json")]);
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    let hook = host.hook("web", &host.root("web")).provision.unwrap();
    let lines = || -> Vec<serde_json::Value> {
        host.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let lines = lines();
    let ended: Vec<_> = lines.iter().filter(|line| line["fields"]["message"] == "written").collect();
    let [line] = ended.as_slice() else { panic!("{lines:?}") };
    assert_eq!(line["level"], "INFO");
    let span = &line["span"];
    let told = ["name", "tenant", "reason", "outcome"].map(|field| span[field].as_str().unwrap_or_default());
    assert_eq!(told, ["provision", "web", "hook", "written"]);
    assert_eq!((span["keys"].as_u64(), span["ms"].as_u64()), (Some(1), Some(hook.ms)));
    let steps: Vec<_> = hook.steps.iter().map(|step| format!("{}={}", step.name, step.ms)).collect();
    assert_eq!(span["steps"].as_str(), Some(steps.join(" ").as_str()));
}

#[test]
fn the_log_is_text_unless_it_is_asked_for_otherwise() {
    let host = Host::with(&[("COLIBRI_LOG", "warn")]);
    host.has("web", Collection::Fails(ErrorName::VaultLocked));
    host.register("web");
    host.hook("web", &host.root("web"));
    let log = host.log();
    let line = log.lines().find(|line| line.contains("VaultLocked")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("WARN provision{tenant=web reason=hook outcome=failed"), "{line}");
    let refused = host.command().env("COLIBRI_LOG_FORMAT", "xml").output().unwrap();
    assert!(!refused.status.success());
}
