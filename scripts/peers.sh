#!/usr/bin/env bash
# Builds the peers that are Go programs, of the versions that go.mod and go.sum beside their tests pin, and prints the directory of each one's
# programs. They are kept outside the checkout, below $TOWER_MESH_PEERS (~/.cache/tower-mesh/peers); the first build takes minutes.
#   scripts/peers.sh jaeger|opa|ratelimit|spire|all
#   scripts/peers.sh --built NAME      the directory, if it is built; else fails
set -euo pipefail
cd "$(dirname "$0")/.."

store=${TOWER_MESH_PEERS:-$HOME/.cache/tower-mesh/peers}

# The programs of a peer: where each is built from.
programs() {
    case $1 in
        jaeger) echo "jaeger=github.com/jaegertracing/jaeger/cmd/jaeger" ;;
        opa) echo "opa=." ;;
        ratelimit) echo "ratelimit=github.com/envoyproxy/ratelimit/src/service_cmd" ;;
        spire) echo "spire-server=github.com/spiffe/spire/cmd/spire-server spire-agent=github.com/spiffe/spire/cmd/spire-agent" ;;
        *) sed -n '2,5s/^# *//p' scripts/peers.sh >&2 && exit 2 ;;
    esac
}

# One directory for each state of the sources.
directory() {
    local sources sum
    sources=$(find "tests/peers/$1" -maxdepth 1 -name 'go.*' -o -maxdepth 1 -name '*.go' | LC_ALL=C sort)
    # shellcheck disable=SC2086
    sum=$(cat $sources | sha256sum)
    echo "$store/$1-${sum:0:12}"
}

is_built() {
    local program
    for program in $(programs "$1"); do
        [ -x "$2/${program%%=*}" ] || return 1
    done
}

build() {
    local name=$1 to go program
    to=$(directory "$name")
    if ! is_built "$name" "$to"; then
        # SPIRE's store of entries is C.
        if [ "$name" = spire ] && ! command -v cc >/dev/null; then
            apt-get update -qq >&2
            apt-get install -y -qq gcc libc6-dev >&2
        fi
        go=$(scripts/find-go.sh go1.26.0)
        mkdir -p "$to"
        for program in $(programs "$name"); do
            echo "building ${program%%=*}" >&2
            # Under another name until it is whole.
            (cd "tests/peers/$name" && GOTOOLCHAIN=local GOFLAGS="-mod=readonly ${GOFLAGS:-}" \
                "$go" build -buildvcs=false -trimpath -o "$to/${program%%=*}.new" "${program#*=}") >&2
            mv "$to/${program%%=*}.new" "$to/${program%%=*}"
        done
    fi
    echo "$to"
}

case ${1:-} in
    --built)
        programs "${2:-}" >/dev/null
        to=$(directory "$2")
        is_built "$2" "$to"
        echo "$to"
        ;;
    all)
        for name in jaeger opa ratelimit spire; do build "$name"; done
        ;;
    *)
        programs "${1:-}" >/dev/null
        build "$1"
        ;;
esac
