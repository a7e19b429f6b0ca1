#!/usr/bin/env bash
# Speaks with openssl, curl, h2spec, Prometheus and its tools, a real Envoy and a real OpenID provider, and installs them where they are
# missing; and with those of Jaeger, OPA, envoyproxy/ratelimit and SPIRE that scripts/peers.sh has built: it says which are left out.
#   tests/peers/run.sh [FILTER]
set -euo pipefail
cd "$(dirname "$0")/../.."

missing=()
for tool in openssl curl; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    apt-get install -y -qq "${missing[@]}"
fi
openssl version
curl --version | head -n 1
if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
    apt-get update -qq
    # Without a server of the system's own.
    RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus
fi
promtool --version | head -n 1
ENVOY=$(scripts/install-envoy.sh)
OPENMETRICS_PYTHON=$(scripts/install-openmetrics.sh)
H2SPEC=$(scripts/install-h2spec.sh)
OIDC_PROVIDER=$(scripts/install-oidc-provider.sh)
# Prometheus scrapes the example as it is.
cargo build --all-features --example patients
PATIENTS=${CARGO_TARGET_DIR:-target}/debug/examples/patients
export ENVOY H2SPEC OIDC_PROVIDER OPENMETRICS_PYTHON PATIENTS

skips=()
for name in jaeger opa ratelimit spire; do
    if directory=$(scripts/peers.sh --built "$name"); then
        PATH=$directory:$PATH
    else
        echo "SKIPPED $name: scripts/peers.sh $name builds it"
        skips+=(--skip "$name::")
    fi
done
if [[ " ${skips[*]} " != *" ratelimit:: "* ]] && ! command -v redis-server >/dev/null; then
    apt-get update -qq
    # Without a server of the system's own.
    RUNLEVEL=1 apt-get install -y -qq redis-server
fi

PEERS_REQUIRED=1 cargo test --all-features --test peers -- --nocapture ${skips[@]+"${skips[@]}"} "$@"
