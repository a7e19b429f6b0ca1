#!/usr/bin/env bash
# Speaks with openssl, curl, h2spec, a real Envoy and a real OpenID provider. Installs what is missing; nothing is skipped but SPIRE, which has spire.sh.
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
ENVOY=$(scripts/install-envoy.sh)
H2SPEC=$(scripts/install-h2spec.sh)
OIDC_PROVIDER=$(scripts/install-oidc-provider.sh)
export ENVOY H2SPEC OIDC_PROVIDER

PEERS_REQUIRED=1 cargo test --all-features --test peers -- --nocapture --skip spire:: "$@"
