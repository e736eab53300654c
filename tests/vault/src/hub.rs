//! The vault's bell, `/notifications/hub`: a WebSocket that tells a client that
//! something it sees has changed, in the messages that Vaultwarden sends.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::server::lock;

/// What a client says first, and what it is answered.
const HELLO: &str = "{\"protocol\":\"messagepack\",\"version\":1}\u{1e}";
const WELCOME: &[u8] = b"{}\x1e";
/// How often the server makes sure that the client is there.
const PING: Duration = Duration::from_secs(15);
/// An item was changed, of Vaultwarden's kinds of news.
const ITEM_CHANGED: u8 = 0;

/// Who listens.
#[derive(Default)]
pub(crate) struct Hub {
    listeners: Mutex<BTreeMap<u64, Listener>>,
    next: Mutex<u64>,
}

struct Listener {
    account: String,
    to: mpsc::UnboundedSender<Message>,
}

impl Hub {
    /// Tells those of the account that an item has changed.
    pub(crate) fn ring(&self, account: &str) {
        let message = framed(&rung());
        for listener in lock(&self.listeners).values().filter(|it| it.account == account) {
            let _ = listener.to.send(Message::binary(message.clone()));
        }
    }

    /// Sends these bytes to all, whatever they are.
    pub(crate) fn send_all(&self, message: &[u8]) {
        for listener in lock(&self.listeners).values() {
            let _ = listener.to.send(Message::binary(message.to_vec()));
        }
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        lock(&self.listeners).clear();
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        lock(&self.listeners).len()
    }

    /// Serves one of the account until it ends, or is cut.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, account: &str) {
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        if !matches!(socket.next().await, Some(Ok(Message::Text(hello))) if hello.as_str() == HELLO) {
            return;
        }
        let (to, mut news) = mpsc::unbounded_channel();
        let _ = to.send(Message::binary(WELCOME));
        let number = self.join(Listener { account: account.to_owned(), to });
        let mut pings = tokio::time::interval(PING);
        loop {
            let sent = tokio::select! {
                message = news.recv() => match message {
                    Some(message) => socket.send(message).await,
                    None => break,
                },
                _ = pings.tick() => socket.send(Message::Ping(Vec::new().into())).await,
                heard = socket.next() => match heard {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    // As Vaultwarden does with what it does not know.
                    Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => socket.send(message).await,
                    Some(Ok(_)) => Ok(()),
                },
            };
            if sent.is_err() {
                break;
            }
        }
        lock(&self.listeners).remove(&number);
    }

    fn join(&self, listener: Listener) -> u64 {
        let mut next = lock(&self.next);
        *next += 1;
        lock(&self.listeners).insert(*next, listener);
        *next
    }
}

/// The parameter of that name in what comes after `?`.
pub(crate) fn access_token(query: &str) -> String {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "access_token").map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// `[1, {}, nil, "ReceiveMessage", [{…}]]` in MessagePack.
fn rung() -> Vec<u8> {
    let news = json!([{ "ContextId": null, "Type": ITEM_CHANGED, "Payload": { "Id": "an item" } }]);
    rmp_serde::to_vec(&(1_u8, json!({}), (), "ReceiveMessage", news)).unwrap_or_default()
}

/// With its length before it, seven bits a byte, the lowest first.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut left = message.len();
    while left > 0x7f {
        frame.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    frame.push((left & 0x7f) as u8);
    frame.extend(message);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_form_that_was_measured() {
        let message = rung();
        assert_eq!(message[..2], [0x95, 0x01], "an array of five, the first of them 1");
        let frame = framed(&message);
        assert_eq!((usize::from(frame[0]), frame.len()), (message.len(), message.len() + 1));
        assert_eq!(framed(&[0; 200])[..2], [0xc8, 0x01]);
    }

    #[test]
    fn the_token_is_found_among_others() {
        assert_eq!(access_token("a=b&access_token=x%2Ey"), "x.y");
        assert_eq!(access_token("a=b"), "");
    }
}
