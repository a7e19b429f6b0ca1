#!/usr/bin/env bash
# Prints the path of a Python that has Prometheus' client with its strict OpenMetrics parser: $OPENMETRICS_PYTHON if set, else one of its own
# below target/, made at the first run, with a Python that is installed too if there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${OPENMETRICS_PYTHON:-}" ]; then
    mkdir -p "${CARGO_TARGET_DIR:-target}/openmetrics"
    home=$(cd "${CARGO_TARGET_DIR:-target}/openmetrics" && pwd)
    OPENMETRICS_PYTHON=$home/bin/python3
    client=prometheus_client==0.26.0
    if [ ! -f "$home/$client" ]; then
        if ! python3 -m venv "$home" >/dev/null 2>&1; then
            apt-get update -qq >&2
            apt-get install -y -qq python3-venv >&2
            python3 -m venv --clear "$home" >&2
        fi
        "$home/bin/pip" install --quiet --disable-pip-version-check "$client" >&2
        touch "$home/$client"
    fi
fi
printf '%s\n' "$OPENMETRICS_PYTHON"
