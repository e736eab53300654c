//! What `bw` says, by name. Its own words are not passed on: they may hold
//! what was sent to it. Each name comes with a text of ours.

use colibri_session::Failure;
use colibri_tenant::ErrorName::{
    self, BadCredentials, BwCrashed, BwUnusable, ClientTooOld, RateLimited, ServerMismatch, TlsOutOfDate,
    TlsUntrusted, TlsWrongName, VaultError, VaultLocked, VaultTimeout, VaultUnreachable,
};

/// What `bw` says of a vault that has to be unlocked first.
const LOCKED: &str = "vault is locked";

/// A word of `bw`, its name, and what we say. The first that is found counts.
const TABLE: &[(&str, ErrorName, &str)] = &[
    ("rate limit exceeded", RateLimited, "the vault limits logins"),
    ("too many requests", RateLimited, "the vault limits requests"),
    ("please update your app", ClientTooOld, "the vault refuses a bw this old"),
    ("logout required before server config", ServerMismatch, "bw is logged in to another server"),
    ("incorrect client_secret", BadCredentials, "the vault refuses the client secret"),
    ("client_secret is required", BadCredentials, "the vault refuses the client secret"),
    ("client_id or client_secret is incorrect", BadCredentials, "the vault refuses the client id or secret"),
    ("invalid client_id", BadCredentials, "the vault does not know the client id"),
    ("invalid_client", BadCredentials, "the vault refuses the client id or secret"),
    ("invalid master password", BadCredentials, "the password does not open the vault"),
    ("the decryption operation failed", BadCredentials, "the password does not open the vault"),
    ("cryptography error", BadCredentials, "the password does not open the vault"),
    (LOCKED, VaultLocked, "the vault is locked"),
    ("you are not logged in", VaultLocked, "bw is not logged in any more"),
    ("invalid_grant", VaultLocked, "the vault does not accept the session any more"),
    ("session expired", VaultLocked, "the vault does not accept the session any more"),
    ("econnrefused", VaultUnreachable, "the vault refuses connections"),
    ("enotfound", VaultUnreachable, "the vault's name is not known"),
    ("eai_again", VaultUnreachable, "names cannot be resolved"),
    ("ehostunreach", VaultUnreachable, "there is no way to the vault"),
    ("enetunreach", VaultUnreachable, "there is no way to the vault"),
    ("econnreset", VaultUnreachable, "the vault closed the connection"),
    ("socket hang up", VaultUnreachable, "the vault closed the connection"),
    ("premature close", VaultUnreachable, "the vault closed the connection half-way"),
    ("disconnected before secure tls", VaultUnreachable, "the vault closed the connection"),
    ("etimedout", VaultTimeout, "the vault does not answer"),
    ("self-signed certificate", TlsUntrusted, "the vault's certificate is signed by nobody we trust"),
    ("self signed certificate", TlsUntrusted, "the vault's certificate is signed by nobody we trust"),
    ("unable to get local issuer", TlsUntrusted, "the vault's certificate is signed by nobody we trust"),
    ("unable to verify the first", TlsUntrusted, "the vault's certificate is signed by nobody we trust"),
    ("certificate has expired", TlsOutOfDate, "the vault's certificate has expired, by this host's clock"),
    ("not yet valid", TlsOutOfDate, "the vault's certificate is not valid yet, by this host's clock"),
    ("does not match certificate", TlsWrongName, "the vault's certificate is for another name"),
    ("certificate", TlsUntrusted, "the vault's certificate is not accepted"),
    ("ssl routines", TlsUntrusted, "the vault does not speak TLS that bw accepts"),
    ("insecure url not allowed", ErrorName::BadRequest, "the server's URL does not begin with https://"),
    ("invalid json response body", VaultError, "the vault answered with something that is no JSON"),
    ("does not contain a valid access token", VaultError, "the vault answered a login with something else"),
    ("cannot read properties of", VaultError, "the vault answered with something that bw does not expect"),
    ("\"statuscode\":401", VaultLocked, "the vault does not accept the session any more"),
    ("\"statuscode\":429", RateLimited, "the vault limits requests"),
    ("cannot find module", BwUnusable, "bw is not completely installed"),
    ("syntaxerror", BwUnusable, "this Node cannot run this bw"),
    ("heap out of memory", BwCrashed, "bw ran out of memory"),
];

/// The failure that `said` means.
pub fn failure(said: &str) -> Failure {
    let said = said.to_lowercase();
    match TABLE.iter().find(|(word, ..)| said.contains(word)) {
        Some((_, name, text)) => Failure::new(*name, *text),
        None => Failure::new(VaultError, unknown(&said)),
    }
}

/// Whether it means that the vault has to be unlocked first.
pub fn is_locked(said: &str) -> bool {
    said.to_lowercase().contains(LOCKED)
}

/// Of what nobody knows only the HTTP status is passed on.
fn unknown(said: &str) -> String {
    let status = said.split_once("\"statuscode\":").and_then(|(_, rest)| rest.get(..3));
    match status.and_then(|status| status.parse::<u16>().ok()) {
        Some(status) => format!("the vault answered with HTTP status {status}"),
        None => "the vault, or bw, answered with an error that has no name of its own".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bw_was_heard_to_say_has_its_name() {
        for (said, name) in [
            ("Rate limit exceeded. Try again later.", RateLimited),
            ("Slow down! Too many requests. Try again in 1m.", RateLimited),
            ("Please update your app to continue using Bitwarden", ClientTooOld),
            ("Logout required before server config update.", ServerMismatch),
            ("Incorrect client_secret", BadCredentials),
            ("Invalid client_id", BadCredentials),
            ("client_secret is required.", BadCredentials),
            ("Cryptography error, The decryption operation failed", BadCredentials),
            ("Vault is locked.", VaultLocked),
            ("You are not logged in.", VaultLocked),
            (
                "FetchError: request to https://x/ failed, reason: connect ECONNREFUSED 127.0.0.1:1",
                VaultUnreachable,
            ),
            ("request to https://x/ failed, reason: getaddrinfo ENOTFOUND x", VaultUnreachable),
            ("request to https://x/ failed, reason: self-signed certificate", TlsUntrusted),
            ("request to https://x/ failed, reason: certificate has expired", TlsOutOfDate),
            ("request to https://x/ failed, reason: certificate is not yet valid", TlsOutOfDate),
            ("reason: Hostname/IP does not match certificate's altnames: Host: x.", TlsWrongName),
            ("Error: Insecure URL not allowed. All URLs must use HTTPS.", ErrorName::BadRequest),
            ("Error: Cannot find module './344.js'", BwUnusable),
            (r#"Syncing failed: {"response":null,"statusCode":401}"#, VaultLocked),
            ("", VaultError),
        ] {
            assert_eq!(failure(said).name, name, "{said}");
        }
    }

    #[test]
    fn what_was_said_is_not_passed_on() {
        assert!(!failure("Invalid client_id CANARY").message.contains("CANARY"));
        assert!(!failure("CANARY").message.contains("CANARY"));
        let failure = failure(r#"{"response":null,"statusCode":502}"#);
        assert_eq!(failure.message, "the vault answered with HTTP status 502");
    }

    #[test]
    fn words_are_lower_case() {
        for (word, ..) in TABLE {
            assert_eq!(*word, word.to_lowercase());
        }
    }
}
