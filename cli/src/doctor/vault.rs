//! The vault: that it is reached, trusted and of the same time, and that it
//! takes the credentials, which only the daemon can ask.

use super::Finding;
use super::program::FetcherUser;
use colibri_control::{Answer, Client, ClientError, Request, SetupView};
use colibri_tenant::{ErrorName, Fault};
use serde::Deserialize;

const ASK: &str = include_str!("ask-vault.js");
const CLOUD: &str = "https://vault.bitwarden.com";
/// Tokens and certificates bear no more, in milliseconds.
const CLOCKS: u64 = 60_000;
/// Versions of `bw` and of the server that do not go together, and why.
const BAD_PAIRS: [(&str, &str, &str); 2] = [
    ("2025.12.0", "1.35.2", "this bw cannot log in at this server"),
    ("2026.8.0", "1.37.2", "this bw was seen to find an empty vault at this server"),
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    status: u16,
    now: u64,
    date: Option<u64>,
    version: Option<String>,
    error: Option<String>,
    message: String,
}

/// Asks the vault who it is. Whether it was reached.
pub fn reach(setup: &SetupView, user: &FetcherUser, bw: Option<&str>, findings: &mut Vec<Finding>) -> bool {
    let url = setup.server.as_deref().unwrap_or(CLOUD);
    let told = match ask(setup, user, url) {
        Ok(told) => told,
        Err(why) => {
            let mend = "mend what is said of Node and of the fetcher's user, and run doctor again";
            findings.push(Finding::warning("vault", format!("{url} was not asked: {why}"), mend));
            return false;
        }
    };
    let finding = answered(url, &told);
    let reached = finding.verdict == super::Verdict::Ok;
    findings.push(finding);
    if reached {
        findings.push(clock(&told));
        findings.extend(pair(bw, told.version.as_deref()));
    }
    reached
}

fn ask(setup: &SetupView, user: &FetcherUser, url: &str) -> Result<Told, String> {
    if !user.can_be_had() {
        return Err("there is nobody but root to do it".into());
    }
    let node = setup.node.as_ref().ok_or("there is no Node")?;
    let mut command = user.command(node);
    command.args(["-e", ASK, url]).env("PATH", &setup.path);
    if let Some(file) = &setup.ca_file {
        command.env("NODE_EXTRA_CA_CERTS", file);
    }
    let output = command.output().map_err(|error| format!("{}: {error}", node.display()))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("{} ended with {}", node.display(), output.status))
}

fn answered(url: &str, told: &Told) -> Finding {
    let Some(code) = &told.error else {
        return if (200..300).contains(&told.status) {
            let version = told.version.as_ref().map(|version| format!(", {version}")).unwrap_or_default();
            Finding::ok("vault", format!("{url}{version}"))
        } else {
            let mend = "correct BW_SERVER in the provider file and restart colibrid";
            Finding::failure("vault", format!("{url} answers {}, as no vault does", told.status), mend)
        };
    };
    let name = if code.contains("EXPIRED") || code.contains("NOT_YET_VALID") {
        ErrorName::TlsOutOfDate
    } else if code.contains("ALTNAME") {
        ErrorName::TlsWrongName
    } else if ["CERT", "TLS", "SSL", "SIGNATURE", "ISSUER"].iter().any(|word| code.contains(word)) {
        ErrorName::TlsUntrusted
    } else if code.contains("Timeout") || code == "ETIMEDOUT" {
        ErrorName::VaultTimeout
    } else {
        ErrorName::VaultUnreachable
    };
    Finding::fault("vault", &Fault::new(name, format!("{url}: {} ({code})", told.message)))
}

fn clock(told: &Told) -> Finding {
    let Some(date) = told.date else {
        let mend = "see that time is kept here: ntpd(8) or chronyd(8)";
        return Finding::warning("clock", "the vault does not tell the time", mend);
    };
    let off = told.now.abs_diff(date);
    if off <= CLOCKS {
        return Finding::ok("clock", "the same as the vault's");
    }
    let which = if told.now > date { "ahead of" } else { "behind" };
    let found = format!("{} s {which} the vault's", off / 1000);
    Finding::failure("clock", found, "set the clock, and keep it with ntpd(8) or chronyd(8)")
}

fn pair(bw: Option<&str>, server: Option<&str>) -> Option<Finding> {
    let (bw, server) = (bw?, server?);
    let (.., why) = BAD_PAIRS.iter().find(|(one, other, _)| *one == bw && *other == server)?;
    let found = format!("bw {bw} with server {server}: {why}");
    Some(Finding::failure(
        "versions",
        found,
        "install another bw that colibri was tested with, or update the server",
    ))
}

/// Has the daemon log in, unless its session is open.
pub fn credentials(daemon: &mut Client, has_them: bool, reached: bool) -> Finding {
    let name = "credentials";
    if !has_them {
        return Finding::fault(name, &Fault::new(ErrorName::CredentialsMissing, "colibrid has none"));
    }
    if !reached {
        return Finding::warning(
            name,
            "not tried, since the vault was not reached",
            "mend the vault's line first",
        );
    }
    match daemon.call(Request::CheckVault {}) {
        Ok(Answer::Status(_)) => Finding::ok(name, "the vault takes them"),
        Ok(_) => Finding::failure(name, "colibrid speaks another protocol", "restart colibrid"),
        Err(ClientError::Refused(fault)) if fault.name == ErrorName::NotAllowed => {
            Finding::warning(name, "not tried: you may not", fault.advice)
        }
        Err(ClientError::Refused(fault)) => Finding::fault(name, &fault),
        Err(error) => Finding::failure(name, crate::failure::asked(&error), "see colibrid's log"),
    }
}
