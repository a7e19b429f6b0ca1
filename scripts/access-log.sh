#!/usr/bin/env bash
# Plays logrotate with the example of the access log: requests, a moved file, SIGHUP, more requests, SIGTERM.
set -euo pipefail
cd "$(dirname "$0")/.."

directory=$(mktemp -d)
program=
trap '[ -z "$program" ] || kill -KILL "$program" 2>/dev/null || true; rm -rf "$directory"' EXIT
fail() { echo "access-log.sh: $1" >&2; cat "$directory/said" >&2; exit 1; }
# Waits until a command succeeds.
wait_for() {
    for _ in $(seq 1 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "waited in vain: $*"
}
# One request, without a tool that may not be there.
ask() {
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET %s HTTP/1.1\r\nhost: patients\r\nconnection: close\r\n\r\n' "$1" >&3
    grep -q '200 OK' <&3 || fail "no answer to $1"
    exec 3>&-
}

cargo build --quiet --example access_log
log=$directory/access.log
"${CARGO_TARGET_DIR:-target}/debug/examples/access_log" "$log" 127.0.0.1:0 >"$directory/said" 2>&1 &
program=$!
wait_for grep -q '^process .* serves ' "$directory/said"
port=$(sed -n 's/^process .* serves .*://p' "$directory/said")

ask '/patients/7?name=Ada'
ask /healthz
wait_for grep -q 'GET /patients/{id}?… HTTP/1.1" 200' "$log"
mv "$log" "$log.1"
kill -HUP "$program"
wait_for grep -q '^opened ' "$directory/said"
ask /patients/8
kill -TERM "$program"
wait "$program" || fail "the program failed"
program=
grep -q 'all lines are written: true' "$directory/said" || fail "lines were left"
[ "$(wc -l <"$log.1")" = 1 ] || fail "the old file: $(cat "$log.1")"
[ "$(wc -l <"$log")" = 1 ] || fail "the new file: $(cat "$log")"
if grep -q 'Ada\|/patients/[78]' "$log" "$log.1"; then fail "a patient is in the log"; fi
echo "access log: moved, opened again, nothing lost"
