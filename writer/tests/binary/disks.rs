//! FreeBSD: a disk in memory with a UFS of its own, which is full.

use crate::jail::{Jail, commit, pair, root, run};
use colibri_ipc::Failure;
use colibri_order::Owner;
use std::fs;
use std::process::Command;

const SCRIPT: &str = r#"
dir=$1 seen=$2
shift 2
disk=$(mdconfig -a -t swap -s 4m) || exit 99
newfs "/dev/$disk" >/dev/null && mount "/dev/$disk" "$dir" || exit 99
chown 1234:1235 "$dir" && chmod 700 "$dir" && echo old >"$dir/env" && chown 1234:1235 "$dir/env"
dd if=/dev/zero of="$dir/fill" bs=16k 2>/dev/null
"$@"
status=$?
(cd "$dir" && ls -A | grep -v '^fill' | grep -v '^.snap' && cat env) >"$seen"
umount -f "$dir"
mdconfig -d -u "$disk"
exit $status
"#;

#[test]
fn a_full_ufs_is_an_answer_and_the_old_file_stays() {
    if !root("a disk in memory") {
        return;
    }
    let mut jail = Jail::new();
    jail.order.owner = Owner { uid: 1234, gid: 1235 };
    let seen = jail.outside().join("seen");
    let writer = jail.command();
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(jail.dir()).arg(&seen);
    command.arg(writer.get_program()).args(writer.get_args());
    let value = "v".repeat(60 * 1024);
    let wire = [["A", "B", "C"].map(|key| pair(key, &value)).concat(), commit(3)].concat();
    let outcome = run(command, &wire);
    assert_ne!(outcome.status.code(), Some(99), "{}", outcome.log);
    outcome.failed(Failure::WriteFailed, "cannot write the temporary file: No space left on device");
    assert_eq!(fs::read_to_string(seen).unwrap(), "env\nold\n");
}
