//! `bw serve` on standard input: HTTP/1.1, one request after another.

use crate::success;
use crate::vault::{Content, Vault, item_id};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

const LOCKED: &str = r#"{"success":false,"message":"Vault is locked."}"#;
const MAX_BODY: usize = 64 * 1024;

/// Answers until the fetcher closes. `reached` is a collection of its own.
pub fn run(vault: &Vault, reached: &BTreeMap<String, String>) -> Result<()> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let (mut asked, mut answers) = (BufReader::new(socket.try_clone()?), socket);
    let mut content = vault.content(reached)?;
    vault.store(&content)?;
    let mut open = false;
    while let Some((path, body)) = request(&mut asked)? {
        if path.starts_with("/sync") && open {
            content = vault.content(reached)?;
            vault.store(&content)?;
        }
        open |= path == "/unlock" && password(&body).is_some();
        let answer = if open || path == "/status" { answer(&path, vault, &content)? } else { LOCKED.into() };
        let status = if answer == LOCKED { "400 Bad Request" } else { "200 OK" };
        write!(answers, "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n")?;
        write!(answers, "Content-Length: {}\r\n\r\n{answer}", answer.len())?;
    }
    Ok(())
}

fn password(body: &[u8]) -> Option<String> {
    let said: Value = serde_json::from_slice(body).ok()?;
    said["password"].as_str().filter(|it| !it.is_empty()).map(Into::into)
}

/// The next request's path and body; `None` at the end.
fn request(from: &mut impl BufRead) -> Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).context("no path")?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
    }
    anyhow::ensure!(length <= MAX_BODY, "a body of {length} bytes");
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some((path, body)))
}

fn answer(path: &str, vault: &Vault, content: &Content) -> Result<String> {
    let list = |data: Vec<Value>| success(&json!({ "object": "list", "data": data }));
    Ok(match path.split_once("?collectionid=") {
        Some(("/list/object/items", collection)) => list(items(content, collection)),
        _ if path == "/status" => success(&json!({ "template": { "serverUrl": vault.server()? } })),
        _ if path == "/list/object/collections" => {
            list(content.keys().map(|name| json!({ "id": name, "name": name })).collect())
        }
        _ => success(&json!({})),
    })
}

fn items(content: &Content, collection: &str) -> Vec<Value> {
    let items = content.get(collection).into_iter().flatten();
    let item = |(name, password): (&String, &String)| {
        json!({
            "id": item_id(collection, name), "name": name, "type": 1, "collectionIds": [collection],
            "passwordHistory": [], "login": { "password": password },
        })
    };
    items.map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_whole_and_the_end_is_no_request() {
        let body = r#"{"password":"it's"}"#;
        let text =
            format!("POST /unlock HTTP/1.1\r\nhost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut bytes = text.as_bytes();
        let (path, body) = request(&mut bytes).unwrap().unwrap();
        assert_eq!((path.as_str(), password(&body).as_deref()), ("/unlock", Some("it's")));
        assert!(request(&mut bytes).unwrap().is_none());
    }
}
