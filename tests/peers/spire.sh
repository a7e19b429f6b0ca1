#!/usr/bin/env bash
# Takes identities from a real SPIRE server and agent, calls with mutual TLS and watches them rotate. Builds SPIRE at the first run, which
# takes minutes; after that run.sh does the same beside its other peers.
#   tests/peers/spire.sh [FILTER]
set -euo pipefail
cd "$(dirname "$0")/../.."

SPIRE=$(scripts/peers.sh spire)
PATH=$SPIRE:$PATH PEERS_REQUIRED=1 cargo test --all-features --test peers -- --nocapture "${@:-spire::}"
