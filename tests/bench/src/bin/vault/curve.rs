//! Time and memory for 1 to 1,000 jails of one collection set, as a plot.

use crate::fleet::{self, Fleet, Memory};
use crate::lookups;
use anyhow::Result;
use colibri_e2e::host::checkout;
use std::fmt::Write;
use std::fs;

const SIZES: [usize; 4] = [1, 10, 100, 1_000];

struct Point {
    jails: usize,
    seconds: f64,
    memory: Memory,
}

/// The curve, or only its largest fleet, whose daemon answers the lookups.
pub fn run(curve: bool, lookups: bool) -> Result<()> {
    let mut points = Vec::new();
    for jails in SIZES {
        let largest = jails == SIZES[SIZES.len() - 1];
        if !curve && !largest {
            continue;
        }
        println!("\ncurve: {jails} jails, load {}", fleet::load());
        let fleet = Fleet::new(jails, jails)?;
        let seconds = fleet.storm(0..jails)?.as_secs_f64();
        let memory = fleet.memory()?;
        let logins = fleet.vault.logins();
        println!(
            "  {seconds:.2} s, {logins} login; peak MiB: daemon {:.1}, fetcher {:.1}, bw serve {:.0}",
            memory.daemon, memory.fetcher, memory.bw
        );
        points.push(Point { jails, seconds, memory });
        if lookups && largest {
            lookups::run(&fleet, jails)?;
        }
    }
    if curve {
        let file = checkout().join("docs/plots/vault.svg");
        fs::create_dir_all(checkout().join("docs/plots"))?;
        fs::write(&file, plot(&points)?)?;
        println!("\n{}", file.display());
    }
    Ok(())
}

/// One line of a panel: its name, its colour, how far below it its labels are,
/// and a value for each point.
type Line<'a> = (&'a str, &'a str, f64, &'a dyn Fn(&Point) -> f64);

fn plot(points: &[Point]) -> Result<String> {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 340\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>Cold start: time and peak memory by number of jails</title>\n\
         <rect width=\"760\" height=\"340\" fill=\"#fff\"/>\n",
    );
    panel(
        &mut svg,
        60.0,
        "seconds until the last file",
        points,
        &[("", "#1f5fa8", -8.0, &|point| point.seconds)],
    )?;
    let lines: [Line; 3] = [
        ("bw serve", "#b5472f", -8.0, &|point| point.memory.bw),
        ("daemon", "#1f5fa8", -8.0, &|point| point.memory.daemon),
        ("fetcher", "#3b7d3b", 18.0, &|point| point.memory.fetcher),
    ];
    panel(&mut svg, 440.0, "peak memory, MiB", points, &lines)?;
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// Both axes are logarithmic.
fn panel(svg: &mut String, left: f64, title: &str, points: &[Point], lines: &[Line]) -> Result<()> {
    const TOP: f64 = 50.0;
    const BOTTOM: f64 = 290.0;
    const WIDTH: f64 = 240.0;
    let x = |jails: usize| left + (jails as f64).log10() / 3.0 * WIDTH;
    let y = |value: f64| BOTTOM - value.max(1.0).log10() / 3.0 * (BOTTOM - TOP);
    writeln!(svg, "<text x=\"{left}\" y=\"28\" font-weight=\"bold\">{title}</text>")?;
    for mark in SIZES {
        let (across, up) = (x(mark), y(mark as f64));
        let right = left + WIDTH;
        writeln!(svg, "<path d=\"M{left} {up:.1}H{right}\" stroke=\"#ddd\"/>")?;
        writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>", left - 16.0, up + 4.0)?;
        writeln!(svg, "<text x=\"{across:.1}\" y=\"308\" text-anchor=\"middle\">{mark}</text>")?;
    }
    writeln!(svg, "<text x=\"{}\" y=\"328\" text-anchor=\"middle\">jails</text>", left + WIDTH / 2.0)?;
    for (name, colour, below, value) in lines {
        let places: Vec<String> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.jails), y(value(point)))).collect();
        let path = places.join(" ");
        writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>")?;
        for point in points {
            let (across, up, shown) = (x(point.jails), y(value(point)), value(point));
            writeln!(svg, "<circle cx=\"{across:.1}\" cy=\"{up:.1}\" r=\"3\" fill=\"{colour}\"/>")?;
            let label = format!("{shown:.*}", if shown < 100.0 { 1 } else { 0 });
            writeln!(
                svg,
                "<text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                up + below
            )?;
        }
        if let Some(last) = points.last() {
            let (across, up) = (x(last.jails) + 16.0, y(value(last)) + 0.5 * below + 4.0);
            writeln!(svg, "<text x=\"{across:.1}\" y=\"{up:.1}\" fill=\"{colour}\">{name}</text>")?;
        }
    }
    Ok(())
}
