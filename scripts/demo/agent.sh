#!/bin/sh
# The agent of `make demo`, run by the jail's own shell: it reads its secrets as
# rc.subr(8) would, and says what it found, never a value.
set -a
# shellcheck source=/dev/null
. "$COLIBRI_ENV_FILE"
set +a
echo "keys: $(sed -n 's/^\([A-Z_][A-Z0-9_]*\)=.*/\1/p' "$COLIBRI_ENV_FILE" | tr '\n' ' ')"
same() {
	if [ "$2" = "$3" ]; then echo "same: $1"; else echo "DIFFERENT: $1"; fi
}
# shellcheck disable=SC1003,SC2016,SC2154 # the values stay as they are
{
same HOSTILE "$HOSTILE" 'it'"'"'s $(id) #1 "x" `id` \'
same DATABASE_URL "$DATABASE_URL" 'postgres://app:pa$$word@db/app'
same GREETING "$GREETING" 'hello # world'
same LOG_LEVEL "$LOG_LEVEL" info
}
[ -z "${LD_PRELOAD:-}" ] && echo "same: no LD_PRELOAD"
echo ready
exec sleep 600
