//! A daemon that answers each verb as the test says, for one client.

use colibri_control::{Content, Reply, VERSION};
use serde_json::Value;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

/// Listens when this returns.
pub fn serve(socket: &Path, answers: Vec<(&'static str, Content)>) -> std::io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        let talk = || -> Result<(), Box<dyn Error>> {
            let (stream, _) = listener.accept()?;
            for line in BufReader::new(&stream).lines() {
                let asked: Value = serde_json::from_str(&line?)?;
                let answer =
                    answers.iter().find(|(verb, _)| asked["verb"] == **verb).ok_or("not asked for")?;
                let id = asked["id"].as_u64().ok_or("no id")?;
                let reply = Reply { v: VERSION, id, content: answer.1.clone() };
                writeln!(&stream, "{}", serde_json::to_string(&reply)?)?;
            }
            Ok(())
        };
        // Whatever fails here shows at the client.
        let _ = talk();
    });
    Ok(())
}
