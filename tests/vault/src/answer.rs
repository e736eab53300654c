//! What the server answers, before anything is sent.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::limit::Limiter;
use crate::route::{Route, file_of};
use crate::token::Mint;
use crate::vault::UserKeyId;
use crate::world::World;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Body,
}

/// A body, whole or not.
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// Sent up to its half, then the connection is closed.
    Cut(Vec<u8>),
    /// Made while it is sent: so many bytes.
    Huge(u64),
}

const JSON: &str = "application/json";

impl Answer {
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::json_bytes(status, value.to_string().into_bytes())
    }

    pub(crate) fn json_bytes(status: u16, bytes: Vec<u8>) -> Self {
        Self { status, content_type: JSON, body: Body::Whole(bytes) }
    }

    fn file(bytes: Vec<u8>) -> Self {
        Self { status: 200, content_type: "application/octet-stream", body: Body::Whole(bytes) }
    }

    pub(crate) fn html(status: u16, text: &str) -> Self {
        let page =
            format!("<!DOCTYPE html><html><head><title>{status}</title></head><body>{text}</body></html>");
        Self { status, content_type: "text/html", body: Body::Whole(page.into_bytes()) }
    }

    pub(crate) fn huge(size: u64) -> Self {
        Self { status: 200, content_type: JSON, body: Body::Huge(size) }
    }

    pub(crate) fn unauthorized() -> Self {
        Self::refused(401, "Unauthorized", "The request requires user authentication.")
    }

    pub(crate) fn not_found() -> Self {
        Self::refused(404, "Not Found", "The requested resource could not be found.")
    }

    pub(crate) fn too_many_logins() -> Self {
        Self::error(429, "Too many login requests")
    }

    /// In the shape of the errors that the web framework makes.
    fn refused(code: u16, reason: &str, description: &str) -> Self {
        let error = json!({ "code": code, "reason": reason, "description": description });
        Self::json(code, &json!({ "error": error }))
    }

    /// In the shape of the errors that Vaultwarden makes.
    fn error(status: u16, message: &str) -> Self {
        let body = json!({
            "message": message, "validationErrors": { "": [message] },
            "errorModel": { "message": message, "object": "error" }, "error": "",
            "error_description": "", "exceptionMessage": null, "exceptionStackTrace": null,
            "innerExceptionMessage": null, "object": "error",
        });
        Self::json(status, &body)
    }

    pub(crate) fn body(&self) -> &[u8] {
        match &self.body {
            Body::Whole(bytes) | Body::Cut(bytes) => bytes,
            Body::Huge(_) => &[],
        }
    }

    pub(crate) fn cut(mut self) -> Self {
        self.body = Body::Cut(self.body().to_vec());
        self
    }

    pub(crate) fn halved(mut self) -> Self {
        let half = self.body().len() / 2;
        self.body = Body::Whole(self.body()[..half].to_vec());
        self
    }
}

/// A request, as far as an answer depends on it.
pub(crate) struct Request {
    pub(crate) from: IpAddr,
    pub(crate) path: String,
    /// After `?`.
    pub(crate) query: String,
    /// After `Bearer `.
    pub(crate) token: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// What answers are made from.
pub(crate) struct State {
    pub(crate) url: String,
    pub(crate) world: World,
    pub(crate) mint: Mint,
    pub(crate) limiter: Limiter,
    pub(crate) user_key_id: UserKeyId,
    /// Logins that succeeded.
    pub(crate) logins: u64,
    /// Who logged in, as they called themselves.
    pub(crate) devices: BTreeSet<String>,
}

impl State {
    pub(crate) fn answer(&mut self, route: Route, request: &Request) -> Answer {
        let answer = match route {
            Route::Token => self.login(request),
            Route::Config => Ok(self.config()),
            // What is granted is no answer: the connection is taken over before.
            Route::Hub => Ok(Answer::unauthorized()),
            Route::Other => Ok(Answer::not_found()),
            // The address is enough: no account is asked for.
            Route::File => self.file(request),
            Route::Sync | Route::RevisionDate | Route::UserKeyId | Route::Attachment => {
                match self.account_of(request) {
                    Some(account) => self.answer_account(route, &account, &request.path),
                    None => Ok(Answer::unauthorized()),
                }
            }
        };
        answer.unwrap_or_else(|error| Answer::error(500, &format!("{error:#}")))
    }

    fn answer_account(&mut self, route: Route, account: &str, path: &str) -> Result<Answer> {
        match (route, self.user_key_id) {
            (Route::Sync, _) => {
                self.world.encrypt_all()?;
                let address = |item: &str, file: &str| address_of(&self.mint, &self.url, item, file);
                Ok(Answer::json(200, &self.world.sync(account, &address)?))
            }
            (Route::Attachment, _) => self.attachment(account, path),
            (Route::RevisionDate, _) => Ok(Answer::json(200, &json!(self.world.revision(account)))),
            (Route::UserKeyId, UserKeyId::Accepted) => Ok(Answer::json_bytes(200, Vec::new())),
            _ => Ok(Answer::not_found()),
        }
    }

    /// Where a file is, for whoever sees its item.
    fn attachment(&mut self, account: &str, path: &str) -> Result<Answer> {
        self.world.encrypt_all()?;
        let (item, file) = file_of("/api/ciphers/", "/attachment/", path).unwrap_or_default();
        let address = |item: &str, file: &str| address_of(&self.mint, &self.url, item, file);
        match self.world.attachment(account, item, file, &address)? {
            Some(found) => Ok(Answer::json(200, &found)),
            None => Ok(Answer::error(400, "Attachment doesn't exist")),
        }
    }

    fn file(&self, request: &Request) -> Result<Answer> {
        let (item, file) = file_of("/attachments/", "/", &request.path).unwrap_or_default();
        let mut pairs = form_urlencoded::parse(request.query.as_bytes());
        let token = pairs.find(|(name, _)| name == "token").map(|(_, value)| value).unwrap_or_default();
        match self.world.file(item, file)? {
            Some(bytes) if self.mint.opens(&token, item, file) => Ok(Answer::file(bytes)),
            _ => Ok(Answer::not_found()),
        }
    }

    fn account_of(&self, request: &Request) -> Option<String> {
        self.account_with(request.token.as_deref()?)
    }

    /// Whose access token it is, when it is good now.
    pub(crate) fn account_with(&self, token: &str) -> Option<String> {
        let account = self.mint.check(token)?.sub;
        self.world.account(&account).map(|_| account)
    }

    /// In Vaultwarden's order: the limit comes before the credentials.
    fn login(&mut self, request: &Request) -> Result<Answer> {
        let form = |name: &str| {
            let mut pairs = form_urlencoded::parse(&request.body);
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        if form("grant_type") != "client_credentials" {
            return Ok(Answer::error(400, "Invalid type"));
        }
        for name in ["client_id", "client_secret", "scope", "deviceIdentifier", "deviceName", "deviceType"] {
            if form(name).is_empty() {
                return Ok(Answer::error(400, &format!("{name} cannot be blank")));
            }
        }
        if !self.limiter.admit(request.from, Instant::now()) {
            return Ok(Answer::too_many_logins());
        }
        if form("scope") != "api" {
            return Ok(Answer::error(400, "Scope not supported"));
        }
        let answer = self.grant(&form("client_id"), &form("client_secret"))?;
        if answer.status == 200 {
            self.devices.insert(form("deviceIdentifier"));
        }
        Ok(answer)
    }

    fn grant(&mut self, client_id: &str, client_secret: &str) -> Result<Answer> {
        let Some(id) = client_id.strip_prefix("user.") else {
            return Ok(Answer::error(400, "Malformed client_id"));
        };
        let Some(account) = self.world.account(id) else {
            return Ok(Answer::error(400, "Invalid client_id"));
        };
        if account.client_secret != client_secret {
            return Ok(Answer::error(400, "Incorrect client_secret"));
        }
        let token = self.mint.issue(account, &self.url);
        let lifetime = self.mint.lifetime.as_secs();
        let login = self.world.keys(account)?.login(account, &token, lifetime);
        self.logins += 1;
        Ok(Answer::json(200, &login))
    }

    fn config(&self) -> Answer {
        let url = &self.url;
        Answer::json(
            200,
            &json!({
                "version": "2026.6.0", "gitHash": "46d71107",
                "server": { "name": "Vaultwarden", "url": "https://github.com/dani-garcia/vaultwarden" },
                "settings": { "disableUserRegistration": false, "suppressOnboardingInterstitials": false },
                "environment": {
                    "vault": url, "api": format!("{url}/api"), "identity": format!("{url}/identity"),
                    "notifications": format!("{url}/notifications"), "sso": "", "cloudRegion": null,
                },
                "push": { "pushTechnology": 0, "vapidPublicKey": null },
                "featureStates": { "pm-19148-innovation-archive": true },
                "communication": null, "object": "config",
            }),
        )
    }
}

fn address_of(mint: &Mint, url: &str, item: &str, file: &str) -> String {
    format!("{url}/attachments/{item}/{file}?token={}", mint.issue_for_file(item, file, url))
}
