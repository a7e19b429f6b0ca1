#!/usr/bin/env bash
# Prints the directory of an oidc-provider: $OIDC_PROVIDER if set, else the version of tests/peers/oidc/package-lock.json, installed below target/
# at the first run, with a Node.js that is installed too if there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${OIDC_PROVIDER:-}" ]; then
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        apt-get update -qq >&2
        apt-get install -y -qq nodejs npm >&2
    fi
    if [ "$(node --print 'parseInt(process.versions.node)')" -lt 20 ]; then
        echo "oidc-provider needs Node.js 20; this is $(node --version)" >&2
        exit 1
    fi
    lock=$PWD/tests/peers/oidc
    mkdir -p "${CARGO_TARGET_DIR:-target}/oidc-provider"
    home=$(cd "${CARGO_TARGET_DIR:-target}/oidc-provider" && pwd)
    OIDC_PROVIDER=$home/node_modules/oidc-provider
    if [ ! -d "$OIDC_PROVIDER" ] || ! cmp -s "$lock/package-lock.json" "$home/package-lock.json"; then
        cp "$lock/package.json" "$lock/package-lock.json" "$home/"
        npm ci --prefix "$home" --ignore-scripts --no-audit --no-fund --silent >&2
    fi
fi
printf '%s\n' "$OIDC_PROVIDER"
