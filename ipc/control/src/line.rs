//! The lines themselves: version, id, and either side's content, with the
//! bounds that the daemon enforces.

use crate::{Answer, Event, Request};
use colibri_tenant::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The protocol's version.
pub const VERSION: u32 = 1;
/// Longest request, its newline included, in bytes.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Longest answer that a client should expect, in bytes.
pub const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A request and the client's number for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Repeated in the answer.
    pub id: u64,
    /// The request.
    pub request: Request,
}

/// A line that is no request.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Malformed {
    /// Its id, if it had one.
    pub id: u64,
    /// Why, in one line for the client that sent it.
    pub message: String,
}

/// One line from the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The protocol's version.
    pub v: u32,
    /// The request's id.
    pub id: u64,
    /// What it holds.
    #[serde(flatten)]
    pub content: Content,
}

/// What a line from the daemon holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// The request's answer.
    Ok(Answer),
    /// The request failed.
    Error(Fault),
    /// Something happened, after `watch`.
    Event(Event),
}

impl Call {
    /// The request as a line, with its newline.
    ///
    /// # Errors
    /// Only for a path that is not UTF-8, which JSON cannot carry.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            v: u32,
            id: u64,
            #[serde(flatten)]
            request: &'a Request,
        }
        end(serde_json::to_vec(&Line { v: VERSION, id: self.id, request: &self.request })?)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`Malformed`] with the id, so that it can be answered.
    pub fn from_line(line: &[u8]) -> Result<Self, Malformed> {
        let bad = |id, message: String| Malformed { id, message };
        let mut fields: Map<String, Value> =
            serde_json::from_slice(line).map_err(|error| bad(0, format!("not a JSON object: {error}")))?;
        let id = fields.remove("id").and_then(|id| id.as_u64());
        let version = fields.remove("v").and_then(|v| v.as_u64());
        let id = id.ok_or_else(|| bad(0, "id is missing or no number".into()))?;
        if version != Some(VERSION.into()) {
            return Err(bad(id, format!("v is missing or not {VERSION}, the only version spoken here")));
        }
        let request = serde_json::from_value(Value::Object(fields)).map_err(|e| bad(id, e.to_string()))?;
        Ok(Self { id, request })
    }
}

impl Reply {
    /// The line's content under the request's id.
    pub const fn new(id: u64, content: Content) -> Self {
        Self { v: VERSION, id, content }
    }

    /// The line, with its newline.
    ///
    /// # Errors
    /// Only for a path that is not UTF-8, which JSON cannot carry.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        end(serde_json::to_vec(self)?)
    }
}

fn end(mut line: Vec<u8>) -> Result<Vec<u8>, serde_json::Error> {
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_tenant::ErrorName;

    fn refused(line: &str) -> Malformed {
        Call::from_line(line.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_request_survives_its_line() {
        let register = r#"{"v":1,"id":7,"verb":"register-tenant","tenant":"web01","root":"/j/web01/root",
            "settings":{"format":"json","refresh":900}}"#;
        let call = Call::from_line(register.as_bytes()).unwrap();
        assert!(matches!(&call.request, Request::RegisterTenant { settings, .. } if settings.refresh == 900));
        assert_eq!(Call::from_line(&call.to_line().unwrap()).unwrap(), call);
    }

    #[test]
    fn the_hook_is_one_short_line() {
        let line = br#"{"v":1,"id":1,"verb":"hook","jail":"web01","root":"/j/web01/root"}"#;
        assert!(matches!(Call::from_line(line).unwrap().request, Request::Hook { .. }));
    }

    #[test]
    fn what_is_no_request_is_refused_under_its_id() {
        assert_eq!(refused("[]").id, 0);
        assert_eq!(refused(r#"{"v":1,"verb":"status"}"#).id, 0);
        assert!(refused(r#"{"v":2,"id":3,"verb":"status"}"#).message.contains("version"));
        for body in [r#""verb":"fly""#, r#""verb":"status","x":1"#, r#""verb":"show-tenant","tenant":"-x""#] {
            assert_eq!(refused(&format!(r#"{{"v":1,"id":3,{body}}}"#)).id, 3, "{body}");
        }
    }

    #[test]
    fn answers_read_as_the_protocol_says() {
        let text = |content| String::from_utf8(Reply::new(7, content).to_line().unwrap()).unwrap();
        assert_eq!(text(Content::Ok(Answer::Done)), "{\"v\":1,\"id\":7,\"ok\":\"done\"}\n");
        let error = text(Content::Error(Fault::new(ErrorName::TenantNotFound, "no tenant web01")));
        assert!(error.starts_with(r#"{"v":1,"id":7,"error":{"name":"TenantNotFound","message":"#), "{error}");
        assert!(matches!(serde_json::from_str::<Reply>(&error).unwrap().content, Content::Error(_)));
    }
}
