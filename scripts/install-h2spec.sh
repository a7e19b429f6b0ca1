#!/usr/bin/env bash
# Prints the path of an h2spec: $H2SPEC if set, else release 2.2.1, built below target/ at the first run with a Go that is installed too if
# there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${H2SPEC:-}" ]; then
    mkdir -p "${CARGO_TARGET_DIR:-target}/h2spec"
    home=$(cd "${CARGO_TARGET_DIR:-target}/h2spec" && pwd)
    H2SPEC=$home/h2spec
    if [ ! -x "$H2SPEC" ]; then
        program=github.com/summerwind/h2spec/cmd/h2spec
        go=$(scripts/find-go.sh go1.25.0)
        mkdir -p "$home/module"
        cd "$home/module"
        # A module of our own, as the program comes without one and would take whatever is newest.
        printf 'module peers\n\ngo 1.25.0\n' >go.mod
        export GOTOOLCHAIN=local
        "$go" get golang.org/x/net@v0.52.0 >&2
        "$go" get -tool "$program@v2.2.1+incompatible" >&2
        CGO_ENABLED=0 GOBIN=$home "$go" install -buildvcs=false "$program" >&2
    fi
fi
printf '%s\n' "$H2SPEC"
