//! The page's two charts, as SVG within it. Outcomes differ in shape too, for
//! those who see no difference between their colours.

use crate::screen::moment;
use colibri_control::{Outcome, Provision};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Tenants that the timeline has room for.
pub const ROWS: usize = 60;
const NAMES: u64 = 170;
const WIDTH: u64 = 960;
const ROW: u64 = 22;

/// A row for each tenant and a mark for each provision, old to new.
pub fn timeline(history: &[Provision]) -> Markup {
    let times = || history.iter().map(|provision| provision.at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return html! { p.quiet { "Nothing was provisioned yet." } };
    };
    let mut rows: BTreeMap<&str, Vec<&Provision>> = BTreeMap::new();
    for provision in history {
        rows.entry(provision.tenant.as_str()).or_default().push(provision);
    }
    let hidden = rows.len().saturating_sub(ROWS);
    let shown = rows.len().min(ROWS) as u64;
    let place = |at: u64| NAMES + 10 + (at - first) * (WIDTH - NAMES - 30) / (last - first).max(1);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (shown * ROW + 30) } role="img" aria-label="provisions by tenant and time" {
            @for (number, (tenant, provisions)) in (0_u64..).zip(rows.iter().take(ROWS)) {
                @let middle = number * ROW + 14;
                line.grid x1=(NAMES) x2=(WIDTH) y1=(middle) y2=(middle) {}
                text x=(NAMES - 8) y=(middle + 4) text-anchor="end" { (short(tenant)) }
                @for provision in provisions.iter().rev() {
                    (mark(provision, place(provision.at), middle))
                }
            }
            @for part in 0_u64..=3 {
                @let at = first + (last - first) * part / 3;
                @let anchor = match part { 0 => "start", 3 => "end", _ => "middle" };
                text.tick x=(place(at)) y=(shown * ROW + 22) text-anchor=(anchor) { (moment(at)) }
            }
        }
        @if hidden > 0 { p.quiet { (hidden) " more tenants are not drawn; the figures count them." } }
    }
}

fn mark(provision: &Provision, x: u64, y: u64) -> Markup {
    let word = provision.outcome.as_str();
    let error = provision.error.as_ref().map(|fault| format!(", {}", fault.name)).unwrap_or_default();
    let title = format!("{}: {word}{error}, {}, {} ms", provision.tenant, moment(provision.at), provision.ms);
    html! {
        g.mark.(word) data-number=(provision.number) {
            title { (title) }
            @match provision.outcome {
                Outcome::Failed => path d={ "M" (x - 4) " " (y - 4) "l8 8m0 -8l-8 8" } {},
                Outcome::Removed | Outcome::Absent => rect x=(x - 4) y=(y - 4) width="8" height="8" {},
                Outcome::Written | Outcome::Unchanged => circle cx=(x) cy=(y) r="4.5" {},
            }
        }
    }
}

/// How long a step took, over all provisions that had it.
#[derive(Debug, PartialEq, Eq)]
struct StepTimes {
    name: String,
    count: usize,
    median: u64,
    longest: u64,
}

/// A bar for each step: its median, and a line up to its longest.
pub fn steps(history: &[Provision]) -> Markup {
    let steps = step_times(history);
    let Some(most) = steps.iter().map(|step| step.longest).max() else {
        return html! { p.quiet { "No step was timed yet." } };
    };
    let room = WIDTH - NAMES - 330;
    let wide = |ms: u64| ms.saturating_mul(room) / most.max(1);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (steps.len() as u64 * ROW + 6) } role="img" aria-label="durations by step" {
            @for (number, step) in (0_u64..).zip(&steps) {
                @let top = number * ROW + 4;
                g.step data-step=(step.name) data-count=(step.count) data-median=(step.median) data-longest=(step.longest) {
                    text x=(NAMES - 8) y=(top + 12) text-anchor="end" { (short(&step.name)) }
                    line.longest x1=(NAMES) x2=(NAMES + wide(step.longest)) y1=(top + 8) y2=(top + 8) {}
                    rect x=(NAMES) y=(top + 1) width=(wide(step.median).max(2)) height="14" rx="2" {}
                    text.tick x=(NAMES + room + 12) y=(top + 12) {
                        "median " (step.median) " ms, longest " (step.longest) " ms, " (step.count) " times"
                    }
                }
            }
        }
    }
}

fn step_times(history: &[Provision]) -> Vec<StepTimes> {
    let mut order: Vec<String> = Vec::new();
    let mut times: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for step in history.iter().flat_map(|provision| &provision.steps) {
        if !times.contains_key(step.name.as_str()) {
            order.push(step.name.clone());
        }
        times.entry(&step.name).or_default().push(step.ms);
    }
    let sum = |name: String| {
        let mut all = times.get(name.as_str())?.clone();
        all.sort_unstable();
        let median = *all.get(all.len() / 2)?;
        Some(StepTimes { count: all.len(), median, longest: *all.last()?, name })
    };
    order.into_iter().filter_map(sum).collect()
}

fn short(name: &str) -> String {
    match name.char_indices().nth(22) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_step_has_its_median_and_its_longest_time() {
        let provision = |number: u64, ms: u64| {
            serde_json::from_value::<Provision>(json!({
                "number": number, "tenant": "a", "reason": "hook", "at": 1, "ms": ms, "outcome": "written",
                "error": null, "keys": 1, "steps": [{ "name": "sync", "ms": ms }], "warnings": [],
            }))
            .unwrap()
        };
        let times = step_times(&[provision(3, 30), provision(2, 10), provision(1, 20)]);
        assert_eq!(times, [StepTimes { name: "sync".into(), count: 3, median: 20, longest: 30 }]);
    }
}
