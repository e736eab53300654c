//! The report in a real browser: its figures are those of the daemon's history,
//! names from the vault stay text, and it has a light and a dark face.

#[path = "stand-ins/daemon.rs"]
mod daemon;

use colibri_control::{Answer, Content};
use serde_json::{Value, json};
use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const AT: u64 = 1_767_225_600_000;
/// An item's name, from somebody who means harm.
const HOSTILE: &str = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";

fn history() -> Vec<Value> {
    let outcome = |number: u64| match number % 7 {
        0 => "failed",
        1 | 2 => "written",
        3 => "removed",
        _ => "unchanged",
    };
    let provision = |number: u64| {
        let failed = json!({ "name": "CollectionNotFound", "message": "none", "advice": "make it" });
        json!({
            "number": number, "tenant": format!("web{:02}", number % 5), "reason": "refresh",
            "at": AT + number * 900_000, "ms": 40 + number, "outcome": outcome(number),
            "error": if outcome(number) == "failed" { failed } else { Value::Null },
            "keys": 3, "steps": [{ "name": "sync", "ms": number }, { "name": "write", "ms": 5 }],
            "warnings": [HOSTILE],
        })
    };
    (1..=40).rev().map(provision).collect()
}

/// Three of five fail alike, and one has no keys.
fn tenant(number: u64) -> Value {
    let fault = json!({ "name": "CollectionNotFound", "message": "none", "advice": "make it, and wait" });
    json!({
        "tenant": format!("web{number:02}"), "root": "/jails/x", "status": "active", "settings": {},
        "collection-id": null, "keys": if number == 4 { json!([]) } else { json!(["A", "B", "C"]) },
        "registered": AT, "last-success": AT, "last-error": if number < 3 { fault } else { Value::Null }, "next-try": null, "busy": false,
    })
}

/// Has the page written into `dir`.
fn page(dir: &Path) -> Outcome<String> {
    let check = dir.join("colibri-sandbox-check");
    let tell = colibri_test_host::tree().join("cli/tests/stand-ins/tell");
    assert!(Command::new("install").args(["-m", "755"]).arg(tell).arg(&check).status()?.success());
    let row = json!({
        "case": "root", "attempt": "open /etc/passwd", "expected": "SIGSYS", "got": "SIGSYS",
        "without_sandbox": "done", "note": null, "held": true,
    });
    fs::write(check.with_extension("json"), format!("{row}\n{row}\n"))?;
    fs::write(check.with_extension("status"), "0")?;
    let file = dir.join("jails/<b>clone/root/usr/local/etc/colibri/env");
    fs::create_dir_all(file.parent().ok_or("no directory")?)?;
    fs::write(file, "# Written by colibri from the vault. Edits are lost.\n# Tenant: web03\nA=1\n")?;
    let status = json!({
        "version": "0.1.0", "pid": 4000, "started": AT, "base": dir.join("jails"), "sandbox": true, "session": "idle",
        "fetcher": null, "fetcher-user": "_colibri", "bw-version": null, "session-error": null,
        "provisioned": 0, "active": 5, "stopped": 0, "destroyed": 0, "failing": 1, "under-way": 0,
        "agents": 0, "setup": { "writer": dir.join("colibri-writer") },
    });
    let tell = |answer: Value| serde_json::from_value::<Answer>(answer).map(Content::Ok);
    let answers = vec![
        ("status", tell(json!({ "status": status }))?),
        ("list-tenants", tell(json!({ "tenants": (0..5).map(tenant).collect::<Vec<_>>() }))?),
        ("check-root", Content::Ok(Answer::Done)),
        ("history", tell(json!({ "provisions": history() }))?),
    ];
    daemon::serve(&dir.join("s"), answers)?;
    let file = dir.join("report.html");
    let run = Command::new(colibri_test_host::program("colibri")?)
        .args(["report", "--html"])
        .arg(&file)
        .env("COLIBRI_SOCKET", dir.join("s"))
        .stdin(Stdio::null())
        .output()?;
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    Ok(fs::read_to_string(file)?)
}

fn chromium(dir: &Path, words: &[&str]) -> Option<std::process::Output> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.iter().find_map(|name| {
        Command::new("timeout")
            .args(["-k", "5", "240", name, "--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--hide-scrollbars", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", dir.join("browser").display()))
            .args(words)
            .arg(format!("file://{}", dir.join("report.html").display()))
            .env("HOME", dir)
            .stdin(Stdio::null())
            .output()
            .ok()
            // timeout(1) ends so where there is no such program.
            .filter(|output| output.status.code() != Some(127))
    })
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_keeps_names_text() -> Outcome {
    let dir = tempfile::tempdir()?;
    let page = page(dir.path())?;
    for forbidden in ["<script", "<img", "<link", "<iframe", "<object", " href=", "url(", "@import"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("&lt;script&gt;"), "the hostile name is shown");
    let head: String = page.chars().take(1024).collect();
    assert!(head.contains("<title>Colibri report</title>"), "by it the next one takes its place: {head}");
    Ok(())
}

#[test]
fn it_leads_with_what_is_wrong_and_says_each_advice_once() -> Outcome {
    let dir = tempfile::tempdir()?;
    let page = page(dir.path())?;
    let place = |text: &str| page.find(text).ok_or_else(|| format!("no {text}"));
    assert!(place("What is wrong")? < place("data-figure")?);
    assert_eq!(page.matches("make it, and wait").count(), 1, "one advice for three tenants");
    assert_eq!(page.matches("CollectionNotFound: none").count(), 3);
    assert!(page.contains("no item became a key"));
    let clone = "jail &lt;b&gt;clone</b> <span class=\"bad\">no tenant, and usr/local/etc/colibri/env in its \
        root is a file of colibri's, for the tenant web03";
    assert!(page.contains(clone), "{page}");
    assert!(page.contains("web03 has its own jail, so this is a clone"), "{page}");
    Ok(())
}

/// What a phone shows at once is as wide as the page: nothing is to the right of it.
#[test]
fn on_a_phone_the_page_is_no_wider_than_the_screen() -> Outcome {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700))?;
    page(dir.path())?;
    let file = dir.path().join("report.html");
    let text = fs::read_to_string(&file)?;
    // A frame of a phone's width, and a script of the test's that says how wide its page is.
    let measured = "<script>document.title='wide '+document.documentElement.scrollWidth+' '\
        +document.querySelector('svg text').getBoundingClientRect().height</script></body>";
    let policy = text.replace("default-src 'none'", "default-src 'unsafe-inline'");
    fs::write(dir.path().join("inner.html"), policy.replace("</body>", measured))?;
    let frame = "<iframe src=inner.html width=390 height=800></iframe><script>onload=()=>{document.title=\
        document.querySelector('iframe').contentDocument.title}</script>";
    fs::write(&file, frame)?;
    let words = ["--dump-dom", "--allow-file-access-from-files", "--virtual-time-budget=2000"];
    let Some(output) = chromium(dir.path(), &words) else {
        colibri_test_host::skip("no Chromium here");
        return Ok(());
    };
    let seen = String::from_utf8(output.stdout)?;
    let said = seen.split("<title>wide ").nth(1).and_then(|rest| rest.split("</title>").next());
    let (width, type_height) = said.and_then(|said| said.split_once(' ')).ok_or(seen.as_str())?;
    assert!(width.parse::<f64>()? <= 390.0, "the page is {width} wide");
    assert!(type_height.parse::<f64>()? >= 9.0, "a chart's type is {type_height} high");
    Ok(())
}

#[test]
fn a_browser_shows_what_the_history_holds() -> Outcome {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700))?;
    page(dir.path())?;
    let Some(output) = chromium(dir.path(), &["--dump-dom"]) else {
        colibri_test_host::skip("no Chromium here");
        return Ok(());
    };
    let seen = String::from_utf8(output.stdout)?;
    let all = history();
    let count = |outcome: &str| all.iter().filter(|provision| provision["outcome"] == outcome).count();
    assert!(seen.contains("<title>Colibri report</title>"), "a name has become a script: {seen}");
    for provision in &all {
        let mark = format!(
            "<g class=\"mark {}\" data-number=\"{}\"",
            provision["outcome"].as_str().unwrap_or_default(),
            provision["number"]
        );
        assert!(seen.contains(&mark), "{mark}");
    }
    assert_eq!(seen.matches("class=\"mark ").count(), all.len());
    for outcome in ["written", "unchanged", "removed", "failed"] {
        let figure = format!("data-outcome=\"{outcome}\">{}</b>", count(outcome));
        assert!(seen.contains(&figure), "{figure}");
    }
    for (name, figure) in
        [("tenants", 5), ("provisions kept", all.len()), ("of them failed", count("failed")), ("held", 2)]
    {
        assert!(seen.contains(&format!("data-figure=\"{name}\">{figure}</b>")), "{name}");
    }
    let sync = "data-step=\"sync\" data-count=\"40\" data-median=\"21\" data-longest=\"40\"";
    assert!(seen.contains(sync), "{sync}");
    assert_eq!(seen.matches("data-tenant=").count(), 5);
    Ok(())
}

#[test]
fn it_is_another_page_in_the_dark() -> Outcome {
    let dir = tempfile::tempdir()?;
    page(dir.path())?;
    let mut faces = Vec::new();
    for scheme in ["0", "1"] {
        let file = dir.path().join(format!("{scheme}.png"));
        let words = [
            format!("--screenshot={}", file.display()),
            format!("--blink-settings=preferredColorScheme={scheme}"),
            "--window-size=600,400".into(),
        ];
        if chromium(dir.path(), &words.each_ref().map(String::as_str)).is_none() {
            colibri_test_host::skip("no Chromium here");
            return Ok(());
        }
        faces.push(fs::read(file)?);
    }
    assert!(faces[0] != faces[1], "dark and light are the same");
    Ok(())
}
