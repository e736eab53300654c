//! Access tokens: JSON Web Tokens that this server signs and checks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::hmac;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::crypto;
use crate::fixture::Account;

/// How long a file's address is good, as in Vaultwarden.
const FILE_LIFETIME: Duration = Duration::from_secs(300);

/// What we read back of a token.
#[derive(Deserialize)]
pub(crate) struct Claims {
    /// The account's id.
    pub(crate) sub: String,
    exp: u64,
    /// How often tokens had been expired by hand when it was issued.
    generation: u64,
}

/// What a token for one file says.
#[derive(Deserialize)]
struct FileClaims {
    /// The item's id.
    sub: String,
    file_id: String,
    exp: u64,
}

/// Issues and checks tokens.
pub(crate) struct Mint {
    key: hmac::Key,
    /// How long a token is good.
    pub(crate) lifetime: Duration,
    generation: u64,
}

impl Mint {
    pub(crate) fn new() -> Self {
        Self { key: crypto::token_key(), lifetime: Duration::from_secs(7200), generation: 0 }
    }

    /// Makes every token issued so far worthless.
    pub(crate) fn expire_all(&mut self) {
        self.generation += 1;
    }

    pub(crate) fn issue(&self, account: &Account, url: &str) -> String {
        let now = now();
        let claims = json!({
            "nbf": now, "exp": now + self.lifetime.as_secs(), "iss": format!("{url}|login"),
            "sub": account.id, "premium": true, "name": account.name(), "email": account.email,
            "email_verified": true, "sstamp": crypto::uuid_of(&["stamp", &account.id]),
            "device": crypto::uuid_of(&["device"]), "devicetype": "Linux",
            "client_id": account.client_id(), "scope": ["api"], "amr": ["Application"],
            "generation": self.generation,
        });
        self.sign(&claims)
    }

    /// A token that fetches one file for a while.
    pub(crate) fn issue_for_file(&self, item: &str, file: &str, url: &str) -> String {
        let now = now();
        self.sign(&json!({
            "nbf": now, "exp": now + FILE_LIFETIME.as_secs(), "iss": format!("{url}|file_download"),
            "sub": item, "file_id": file,
        }))
    }

    fn sign(&self, claims: &Value) -> String {
        let header = crypto::base64_url(br#"{"typ":"JWT","alg":"HS256"}"#);
        let signed = format!("{header}.{}", crypto::base64_url(claims.to_string().as_bytes()));
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", crypto::base64_url(tag.as_ref()))
    }

    /// The claims of a token that is ours and good now.
    pub(crate) fn check(&self, token: &str) -> Option<Claims> {
        let claims: Claims = self.verify(token)?;
        (claims.exp > now() && claims.generation == self.generation).then_some(claims)
    }

    /// Whether a token fetches that file now.
    pub(crate) fn opens(&self, token: &str, item: &str, file: &str) -> bool {
        let claims: Option<FileClaims> = self.verify(token);
        claims.is_some_and(|it| it.exp > now() && it.sub == item && it.file_id == file)
    }

    fn verify<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let (signed, tag) = token.rsplit_once('.')?;
        hmac::verify(&self.key, signed.as_bytes(), &crypto::from_base64_url(tag)?).ok()?;
        let claims = crypto::from_base64_url(signed.split_once('.')?.1)?;
        serde_json::from_slice(&claims).ok()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_until_it_is_expired_by_hand() {
        let mut mint = Mint::new();
        let account = Account::new("a@example.com", "p");
        let token = mint.issue(&account, "https://localhost");
        assert_eq!(mint.check(&token).unwrap().sub, account.id);
        mint.expire_all();
        assert!(mint.check(&token).is_none());
    }

    #[test]
    fn a_token_without_lifetime_is_expired_at_once() {
        let mint = Mint { lifetime: Duration::ZERO, ..Mint::new() };
        assert!(mint.check(&mint.issue(&Account::new("a@example.com", "p"), "")).is_none());
    }

    #[test]
    fn a_token_with_other_claims_is_refused() {
        let mint = Mint::new();
        let token = mint.issue(&Account::new("a@example.com", "p"), "");
        let other = mint.issue(&Account::new("b@example.com", "p"), "");
        let (head, _) = token.rsplit_once('.').unwrap();
        let (_, tag) = other.rsplit_once('.').unwrap();
        assert!(mint.check(&format!("{head}.{tag}")).is_none());
    }

    #[test]
    fn the_address_of_a_file_fetches_that_file_only() {
        let mint = Mint::new();
        let token = mint.issue_for_file("item", "file", "");
        assert!(mint.opens(&token, "item", "file"));
        assert!(!mint.opens(&token, "item", "other") && !mint.opens(&token, "other", "file"));
        assert!(!mint.opens(&mint.issue(&Account::new("a@example.com", "p"), ""), "item", "file"));
        assert!(mint.check(&token).is_none());
    }
}
