#!/usr/bin/env bash
# Compares the engine with a real Envoy, which is installed below target/ at the first run.
#   tests/envoy/run.sh [--sets N] [--requests N] [--raw N] [--seed S]
# N sets of random policies (220), each with N requests (12), and N random raw requests (300) to the sidecar example,
# from seed S; the hand-written tables always run.
set -euo pipefail
cd "$(dirname "$0")/../.."

while [ $# -gt 1 ]; do
    case $1 in
        --sets) export ENVOY_SETS=$2 ;;
        --requests) export ENVOY_REQUESTS=$2 ;;
        --raw) export ENVOY_RAW=$2 ;;
        --seed) export ENVOY_SEED=$2 ;;
        *) break ;;
    esac
    shift 2
done
if [ $# -gt 0 ]; then
    sed -n '2,5s/^# *//p' "$0" >&2
    exit 2
fi

ENVOY=$(scripts/install-envoy.sh)
export ENVOY
# The program that gets the raw requests.
cargo build --quiet --all-features --example sidecar
ENVOY_REQUIRED=1 cargo test --all-features --test envoy -- --nocapture --test-threads 1
