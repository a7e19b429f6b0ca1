#!/usr/bin/env bash
# Prints the directory of a spire-server and a spire-agent: $SPIRE if set, else those of release 1.13.3, built below target/ at the first
# run. That takes some minutes, a C compiler, and a Go of at least the release that SPIRE asks for, which is installed too if there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v1.13.3

if [ -z "${SPIRE:-}" ]; then
    mkdir -p "${CARGO_TARGET_DIR:-target}/spire"
    home=$(cd "${CARGO_TARGET_DIR:-target}/spire" && pwd)
    SPIRE=$home/bin
    if [ ! -x "$SPIRE/spire-server" ] || [ ! -x "$SPIRE/spire-agent" ]; then
        if ! command -v cc >/dev/null; then
            apt-get update -qq >&2
            apt-get install -y -qq gcc libc6-dev >&2
        fi
        go=$(scripts/find-go.sh go1.25.3)
        programs=(github.com/spiffe/spire/cmd/spire-server github.com/spiffe/spire/cmd/spire-agent)
        # A module of our own, whose only content is which programs it uses. The server's store of entries is C.
        mkdir -p "$home/module"
        cd "$home/module"
        export GOTOOLCHAIN=local
        printf 'module peers\n\ngo 1.25\n' >go.mod
        for program in "${programs[@]}"; do
            "$go" get -tool "$program@$version" >&2
        done
        CGO_ENABLED=1 GOBIN=$SPIRE "$go" install -buildvcs=false "${programs[@]}" >&2
    fi
fi
"$SPIRE/spire-server" --version >&2
printf '%s\n' "$SPIRE"
