#!/usr/bin/env bash
# Takes identities from a real SPIRE server and agent, calls with mutual TLS and watches them rotate. Builds SPIRE at the first run, which
# takes minutes: so it stands apart from run.sh, and .ci/run leaves it out.
#   tests/peers/spire.sh [FILTER]
set -euo pipefail
cd "$(dirname "$0")/../.."

SPIRE=$(scripts/install-spire.sh)
PATH=$SPIRE:$PATH PEERS_REQUIRED=1 cargo test --all-features --test peers -- --nocapture "${@:-spire::}"
