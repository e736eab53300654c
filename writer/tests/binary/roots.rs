//! Jail roots: what the writer tells of one, and that another is not taken for it.

use crate::jail::{Jail, Outcome, finish, one, start};
use colibri_pair::{ANY, Failure, Report, Verb};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::{self, File};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixStream;

/// What a look tells, and the descriptor that comes with it.
fn look(jail: &mut Jail) -> (Outcome, Option<File>) {
    jail.order.verb = Verb::Look;
    let (child, socket) = start(jail.command());
    let outcome = finish(child);
    (outcome, receive(&socket))
}

fn receive(from: &UnixStream) -> Option<File> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(from, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next().map(File::from),
        _ => None,
    })
}

fn numbers(jail: &Jail) -> (u64, u64) {
    let state = fs::metadata(jail.root()).unwrap();
    (state.dev(), state.ino())
}

#[test]
fn a_look_tells_what_the_root_is_and_hands_it_over() {
    let mut jail = Jail::bare();
    let (outcome, root) = look(&mut jail);
    assert!(outcome.status.success(), "{}", outcome.log);
    let [Report::Looked { device, inode, empty, .. }] = outcome.reports[..] else {
        panic!("{:?}", outcome.reports)
    };
    assert_eq!(((device, inode), empty), (numbers(&jail), true));
    let handed = root.unwrap().metadata().unwrap();
    assert_eq!((handed.dev(), handed.ino()), numbers(&jail));
    fs::write(jail.root().join("bin"), "").unwrap();
    let (outcome, _) = look(&mut jail);
    assert!(matches!(outcome.last(), Report::Looked { empty: false, .. }), "{:?}", outcome.reports);
}

/// Linux compares all that is in flight of one user with the sender's own limit.
#[test]
fn a_look_hands_over_beside_others_of_its_user() {
    if nix::unistd::geteuid().is_root() {
        colibri_test_host::skip("root is exempt from the bound of descriptors in flight");
        return;
    }
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let sent = vec![ours.as_fd(); 100];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(100))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&sent)));
    sendmsg(&ours, &[IoSlice::new(&[0])], &mut control, SendFlags::empty()).unwrap();
    let (outcome, root) = look(&mut Jail::bare());
    assert!(outcome.status.success() && root.is_some(), "{}", outcome.log);
}

#[test]
fn a_directory_made_anew_has_another_birth() {
    let born = |jail: &mut Jail| match look(jail).0.last() {
        Report::Looked { born, .. } => *born,
        other => panic!("{other:?}"),
    };
    let mut jail = Jail::bare();
    let before = born(&mut jail);
    assert_eq!(born(&mut jail), before);
    fs::remove_dir(jail.root()).unwrap();
    fs::create_dir(jail.root()).unwrap();
    // A file system that knows no birth has only the inode.
    assert!(before.is_none() || born(&mut jail) > before);
}

#[test]
fn a_look_follows_no_link_and_hands_nothing_over_then() {
    let mut jail = Jail::bare();
    fs::remove_dir(jail.root()).unwrap();
    symlink(jail.outside(), jail.root()).unwrap();
    let (outcome, root) = look(&mut jail);
    outcome.failed(Failure::TargetEscapesRoot, "cannot open the jail root without following a link");
    assert!(root.is_none());
}

#[test]
fn another_directory_at_the_root_is_refused_before_anything_is_made() {
    let mut jail = Jail::bare();
    let (device, inode) = numbers(&jail);
    let text = |device: u64, inode: u64| format!("{device}:{inode}");
    for other in [text(device, inode + 1), text(device + 1, inode), String::new()] {
        jail.order.inode = other;
        jail.put(&one("v")).failed(Failure::RootNotMounted, "another directory");
        assert_eq!(fs::read_dir(jail.root()).unwrap().count(), 0);
    }
    jail.order.inode = text(device, inode);
    assert_eq!(*jail.put(&one("v")).last(), Report::Written { keys: 1 });
}

#[test]
fn a_removal_or_a_comparison_in_another_directory_is_no_success() {
    let mut jail = Jail::new();
    jail.put(&one("v"));
    let (device, inode) = numbers(&jail);
    jail.order.inode = format!("{device}:{}", inode + 1);
    for verb in [Verb::Remove, Verb::Compare] {
        jail.order.verb = verb;
        jail.put(b"").failed(Failure::RootNotMounted, "another directory");
    }
    jail.order.inode = ANY.into();
    jail.order.verb = Verb::Remove;
    jail.order.root = crate::jail::rel("jail/gone");
    jail.put(b"").failed(Failure::RootNotMounted, "No such file");
    jail.order.root = crate::jail::rel("jail/root");
    jail.holds("K=v\n");
}
