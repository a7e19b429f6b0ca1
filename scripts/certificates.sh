#!/usr/bin/env bash
# Runs the openssl block of docs/certificates.md in an empty directory, and checks that a mesh takes what comes out and tells each usual mistake.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v openssl >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq openssl
fi
openssl version
PEERS_REQUIRED=1 cargo test --all-features --test peers -- certificates::
