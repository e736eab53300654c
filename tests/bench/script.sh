#!/bin/sh
# The script that people use, with care taken: one jail after the other, a
# session of its own each. script.sh OUT-DIR COLLECTION-ID...
# BW_SERVER, BW_CLIENTID, BW_CLIENTSECRET and BW_PASSWORD are in the environment.
set -eu
umask 077

out=$1
shift
bw config server "$BW_SERVER" >/dev/null
for collection; do
	bw login --apikey >/dev/null
	BW_SESSION=$(bw unlock --passwordenv BW_PASSWORD --raw)
	export BW_SESSION
	bw sync >/dev/null
	bw list items --collectionid "$collection" |
		jq -r '.[] | select(.type == 1) | "\(.name)=\(.login.password | @sh)"' >"$out/$collection.new"
	mv "$out/$collection.new" "$out/$collection"
	unset BW_SESSION
	bw logout >/dev/null
done
