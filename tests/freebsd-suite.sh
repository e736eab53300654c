#!/bin/sh
# What the suites in tests/freebsd have in common: the product installed below a
# directory of their own, with a stand-in for bw, and what is cleaned up after it.
# Sourced by sh. run-tests gives COLIBRI_TEST_ROOT, COLIBRI_TEST_BIN and TMPDIR.
# shellcheck shell=sh
set -u
PATH=/sbin:/bin:/usr/sbin:/usr/bin
work=$(mktemp -d "$TMPDIR/XXXXXX") || exit 1
chmod 755 "$work"
prefix=$work/usr/local
jails=$work/jails
rc=$prefix/etc/rc.d/colibrid
provider=$prefix/etc/colibri/provider.env
export COLIBRI_SOCKET="$work/var/run/colibri/control/colibrid.sock"
passed=0
failed=0
our_jails=

# check NAME COMMAND...: one test, which holds when the command succeeds.
check() {
	check=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		passed=$((passed + 1))
		echo "test $check ... ok"
	else
		failed=$((failed + 1))
		echo "test $check ... FAILED"
		sed 's/^/    /' "$work/said"
	fi
}
not() { ! "$@"; }

# over: takes everything away again and says how it was.
over() {
	[ ! -e "$rc" ] || sh "$rc" onestop >/dev/null 2>&1
	for pid in $(ps -axww -o pid= -o args= | awk -v ours="$prefix/" 'index($0, ours) { print $1 }'); do
		kill -9 "$pid" 2>/dev/null
	done
	for jail in $our_jails $(jls jid path | awk -v below="$work/" 'index($2, below) == 1 { print $1 }'); do
		jail -r "$jail" 2>/dev/null
	done
	while point=$(mount -p | awk -v below="$work/" 'index($2, below) == 1 { at = $2 } END { print at }') && [ -n "$point" ]; do
		umount -f "$point" || break
	done
	chflags -R noschg "$work" 2>/dev/null
	rm -rf "$work"
	if [ "$failed" = 0 ] && [ "$passed" -gt 0 ]; then verdict=ok; else verdict=FAILED; fi
	echo "test result: $verdict. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out"
	trap - EXIT
	[ "$verdict" = ok ]
	exit
}
trap over EXIT
trap 'exit 1' HUP INT TERM

# The product as `make install` and `colibri init` lay it out, below $work.
install_product() {
	(
		cd "$COLIBRI_TEST_ROOT" &&
			CARGO_TARGET_DIR=${COLIBRI_TEST_BIN%/*} PROFILE=${COLIBRI_TEST_BIN##*/} \
				PREFIX="$prefix" SYSTEM=FreeBSD sh scripts/install
	) || exit 1
	"$prefix/bin/colibri" init --prefix "$work" >/dev/null || exit 1
	# As on a host: other users pass through.
	mkdir -p "$jails" "$work/var/run"
	install -m 755 "$COLIBRI_TEST_BIN/colibri-test-bw" "$prefix/bin/bw"
	mkdir "$prefix/bin/bw.vault"
	settings
}

# The settings of a host, without bw's jail.
settings() {
	cat >"$provider" <<-SETTINGS
		BW_CLIENTID=user.canary-id
		BW_CLIENTSECRET='canary secret \$(id)'
		BW_PASSWORD=canary-password
		BW_SERVER=https://localhost:1
		COLIBRI_JAIL_ROOT_BASE=$jails
		COLIBRI_STATE_DIR=$work/var/db/colibri
		COLIBRI_RUN_DIR=$work/var/run/colibri
		COLIBRI_LOG_DIR=$work/var/log/colibri
		COLIBRI_FETCHER_USER=nobody
		COLIBRI_BW=$prefix/bin/bw
		COLIBRI_SESSION_IDLE=600s
	SETTINGS
	chmod 600 "$provider"
}

# secret COLLECTION NAME: standard input becomes the password of a login item.
secret() {
	mkdir -p "$prefix/bin/bw.vault/$1"
	cat >"$prefix/bin/bw.vault/$1/$2"
}

# jail_root NAME PROGRAM...: a root with these programs and their libraries.
jail_root() {
	root=$jails/$1/root
	mkdir -p "$root/dev" "$root/libexec"
	shift
	cp /libexec/ld-elf.so.1 "$root/libexec/"
	for program; do
		for file in "$program" $(ldd -f '%p\n' "$program" | grep '^/'); do
			[ -f "$file" ] || continue
			mkdir -p "$root$(dirname "$file")"
			cp "$file" "$root$file"
		done
	done
	echo "$root"
}

colibri() { "$prefix/bin/colibri" "$@"; }
# What colibri answers in JSON, on one line and without blanks.
json() { colibri --json "$@" | tr -d ' \n'; }
# The daemon's number, from the daemon.
daemon_pid() { json status | sed -n 's/.*"pid":\([0-9]*\).*/\1/p'; }
# soon COMMAND...: waits until it succeeds.
soon() {
	tries=0
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 300 ] || { echo "never: $*"; return 1; }
		sleep 0.2
	done
}
