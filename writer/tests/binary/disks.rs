//! FreeBSD: a disk in memory with a UFS of its own, which is full, has a quota, or
//! was made read-only.

use crate::jail::{Jail, commit, pair, root, run};
use colibri_pair::{Failure, Owner};
use std::fs;
use std::process::Command;

const OWNER: Owner = Owner { uid: 1234, gid: 1235 };

/// Makes and mounts it, with what of the old file is there, then `prepares`.
const SCRIPT: &str = r#"
dir=$1 seen=$2 prepare=$3
shift 3
disk=$(mdconfig -a -t swap -s 4m) || exit 99
over() {
	quotaoff -u "$dir" 2>/dev/null
	umount -f "$dir"
	mdconfig -d -u "$disk"
}
trap over EXIT
# What the quota tools read in the place of /etc/fstab.
export PATH_FSTAB="$seen.fstab"
echo "/dev/$disk $dir ufs rw,userquota 0 0" >"$PATH_FSTAB"
newfs "/dev/$disk" >/dev/null && mount "/dev/$disk" "$dir" || exit 99
chown 1234:1235 "$dir" && chmod 700 "$dir" && echo old >"$dir/env" && chown 1234:1235 "$dir/env" || exit 99
eval "$prepare" || exit 99
"$@"
status=$?
(cd "$dir" && ls -A | grep -v -e '^fill' -e '^.snap' -e '^quota.user' && cat env) >"$seen"
exit $status
"#;

/// Puts 180 KiB there: it fails with these words, and only the old file is left.
fn refused(prepare: &str, words: &str) {
    if !root("a disk in memory") {
        return;
    }
    let mut jail = Jail::new();
    jail.order.owner = OWNER;
    let seen = jail.outside().join("seen");
    let writer = jail.command();
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(jail.dir()).arg(&seen).arg(prepare);
    command.arg(writer.get_program()).args(writer.get_args());
    let value = "v".repeat(60 * 1024);
    let wire = [["A", "B", "C"].map(|key| pair(key, &value)).concat(), commit(3)].concat();
    let outcome = run(command, &wire);
    assert_ne!(outcome.status.code(), Some(99), "{}", outcome.log);
    outcome.failed(Failure::WriteFailed, words);
    assert_eq!(fs::read_to_string(seen).unwrap(), "env\nold\n");
}

#[test]
fn a_full_ufs_is_an_answer_and_the_old_file_stays() {
    let fill = r#"dd if=/dev/zero of="$dir/fill" bs=16k 2>/dev/null; :"#;
    refused(fill, "cannot write the temporary file: No space left on device");
}

/// The writer has become the file's owner by then.
#[test]
fn a_quota_of_ufs_is_an_answer_and_the_old_file_stays() {
    let quota = r#"quotacheck -u "$dir" && quotaon -u "$dir" && edquota -u -e "$dir:0:64" 1234"#;
    refused(quota, "cannot write the temporary file: Disc quota exceeded");
}

#[test]
fn a_ufs_that_became_read_only_is_an_answer_and_the_old_file_stays() {
    refused(r#"mount -u -o ro "$dir""#, "cannot create the temporary file: Read-only file system");
}
