//! What most programs do, as the race harness's control: make the directories,
//! write the file under its own name, then set its mode. It takes the writer's
//! order and frames, so that the harness cannot tell the two apart.

use anyhow::Result;
use colibri_pair::{MAX_FRAME, Order, Report, ToWriter};
use std::fmt::Write;
use std::fs;
use std::io::{stdin, stdout};
use std::os::unix::fs::{PermissionsExt, chown};

fn main() -> Result<()> {
    let order = Order::from_args(std::env::args_os().skip(1))?;
    say(&Report::Ready)?;
    let mut text = String::new();
    while let Some(frame) = colibri_pair::recv(&mut stdin().lock(), MAX_FRAME)? {
        let ToWriter::Pair(pair) = colibri_pair::decode(&frame)? else { break };
        writeln!(text, "{}={}", pair.key, pair.value.expose())?;
    }
    let dir = order.base.join(order.root.as_path()).join(order.dir.as_path());
    fs::create_dir_all(&dir)?;
    let file = dir.join(order.file.as_os_str());
    fs::write(&file, text)?;
    chown(&file, Some(order.owner.uid), Some(order.owner.gid))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    say(&Report::Written { keys: 0 })
}

fn say(report: &Report) -> Result<()> {
    Ok(colibri_pair::send(&mut stdout().lock(), &colibri_pair::encode(report)?)?)
}
