//! The page's text and tables. Every name is escaped by the template: item names
//! come from whoever can edit the vault.

use super::{Proof, Report, chart};
use crate::screen::{has_nothing, moment, newest};
use colibri_control::{Outcome, Provision, TenantView};
use colibri_tenant::Fault;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeMap;

/// By this a page is known again, within so many bytes.
pub const TITLE: &str = "<title>Colibri report</title>";
pub const HEAD: u64 = 1024;

const STYLE: &str = include_str!("style.css");
/// Nothing from elsewhere, and no script at all.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The whole page.
pub fn render(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width";
                (PreEscaped(TITLE))
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Colibri report" }
                p.quiet {
                    (moment(report.now)) " · colibrid " (report.status.version) ", running since "
                    (moment(report.status.started)) " · base " (report.status.base.display())
                }
                h2 { "What is wrong" }
                (wrong(report))
                (tiles(report))
                h2 { "Tenants" }
                (tenants(&report.tenants, report.now))
                h2 { "Provisions" }
                div.scroll { (chart::timeline(&report.history)) (key(&report.history)) }
                h2 { "Durations by step" }
                div.scroll { (chart::steps(&report.history)) }
                h2 { "Skipped items and doubts, of each tenant's newest provision" }
                (skipped(&report.history))
                h2 { "Sandbox proof" }
                (proof(&report.proof))
            }
        }
    };
    page.into_string()
}

/// Who fails, and what to do: once for all who need the same.
fn wrong(report: &Report) -> Markup {
    let failing = |tenant: &TenantView| Some((tenant.tenant.to_string(), tenant.last_error.clone()?));
    let session = report.status.session_error.clone().map(|fault| ("the vault session".to_owned(), fault));
    let mut by_advice: BTreeMap<String, Vec<(String, Fault)>> = BTreeMap::new();
    for (who, fault) in session.into_iter().chain(report.tenants.iter().filter_map(failing)) {
        by_advice.entry(fault.advice.clone()).or_default().push((who, fault));
    }
    let empty: Vec<_> = report.tenants.iter().filter(|tenant| has_nothing(tenant)).collect();
    if by_advice.is_empty() && empty.is_empty() && report.strays.is_empty() {
        return html! { p.good { "Nothing: each tenant has what the vault has for it." } };
    }
    html! {
        ul.wrong {
            @for (jail, found, advice) in &report.strays { li {
                div { b { "jail " (jail) } " " span.bad { "no tenant, and " (found) } }
                div.quiet { (advice) }
            } }
            @for (advice, all) in &by_advice { li {
                @for (who, fault) in all { div { b { (who) } " " span.bad { (fault) } } }
                div.quiet { (advice) }
            } }
            @if !empty.is_empty() { li {
                @for tenant in &empty { div { b { (tenant.tenant) } " " span.bad { "no item became a key" } } }
                div.quiet { "see below which items were skipped, and why" }
            } }
        }
    }
}

fn tiles(report: &Report) -> Markup {
    let status = &report.status;
    let failed = count(&report.history, Outcome::Failed);
    let sandbox = match &report.proof {
        Ok(proof) if proof.held && status.sandbox => "holds",
        _ => "not proven",
    };
    let tiles = [
        ("tenants", report.tenants.len().to_string()),
        ("active", status.active.to_string()),
        ("failing", status.failing.to_string()),
        ("provisions kept", report.history.len().to_string()),
        ("of them failed", failed.to_string()),
        ("sandbox", sandbox.into()),
    ];
    html! {
        ul.tiles { @for (name, figure) in &tiles { li { b data-figure=(name) { (figure) } (name) } } }
    }
}

fn count(history: &[Provision], outcome: Outcome) -> usize {
    history.iter().filter(|provision| provision.outcome == outcome).count()
}

fn tenants(tenants: &[TenantView], now: u64) -> Markup {
    html! {
        div.scroll { table.tenants {
            thead { tr { @for head in ["Tenant", "Status", "Keys", "Last success", "Age", "Wrong"] { th { (head) } } } }
            tbody {
                @for tenant in tenants {
                    tr data-tenant=(tenant.tenant) {
                        td { (tenant.tenant) }
                        td.status { (tenant.status) }
                        td.number { (tenant.keys.len()) }
                        td.number { (tenant.last_success.map_or_else(|| "never".into(), moment)) }
                        td.number { (tenant.last_success.map_or_else(|| "-".into(), |at| age(now, at))) }
                        td {
                            @match &tenant.last_error {
                                Some(fault) => span.bad { (fault.name) },
                                None => { "-" },
                            }
                        }
                    }
                }
            }
        } }
    }
}

fn age(now: u64, at: u64) -> String {
    let seconds = now.saturating_sub(at) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The marks of the timeline, each with its number.
fn key(history: &[Provision]) -> Markup {
    html! {
        ul.key { @for outcome in Outcome::ALL {
            @let number = count(history, *outcome);
            @if number > 0 {
                li {
                    svg viewBox="0 0 14 14" aria-hidden="true" {
                        g.(outcome.as_str()) {
                            @match outcome {
                                Outcome::Failed => path d="M3 3l8 8m0 -8l-8 8" {},
                                Outcome::Removed | Outcome::Absent => rect x="3" y="3" width="8" height="8" {},
                                Outcome::Written | Outcome::Unchanged => circle cx="7" cy="7" r="4.5" {},
                            }
                        }
                    }
                    b data-outcome=(outcome) { (number) } " " (outcome)
                }
            }
        } }
    }
}

fn skipped(history: &[Provision]) -> Markup {
    let doubtful: Vec<_> = newest(history).filter(|provision| !provision.warnings.is_empty()).collect();
    if doubtful.is_empty() {
        return html! { p.quiet { "None." } };
    }
    html! {
        div.scroll { table { tbody { @for provision in doubtful { tr {
            td { (provision.tenant) }
            td { ul.plain { @for warning in &provision.warnings { li.warning { (warning) } } } }
        } } } } }
    }
}

fn proof(proof: &Result<Proof, String>) -> Markup {
    let proof = match proof {
        Ok(proof) => proof,
        Err(why) => return html! { p.bad { "Not tried: " (why) } },
    };
    let held = proof.rows.iter().filter(|row| row.held).count();
    let class = if proof.held { "good" } else { "bad" };
    html! {
        p class=(class) {
            b data-figure="held" { (held) } " of " (proof.rows.len()) " attempts came out as expected on this host."
        }
        details {
            summary { "Every attempt" }
            div.scroll { table {
                thead { tr { @for head in ["Case", "Attempt", "Expected", "Got", "Without sandbox"] { th { (head) } } } }
                tbody { @for row in &proof.rows { tr.attempt {
                    td { (row.case) }
                    td { (row.attempt) }
                    td { (row.expected) }
                    td.bad[!row.held] { (row.got) }
                    td { (row.without_sandbox.as_deref().unwrap_or("-")) }
                } } }
            } }
        }
    }
}
