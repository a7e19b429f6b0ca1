#!/usr/bin/env bash
# Every feature stands alone, and so does none of them: lints for no features, for the default ones, and for each single one.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo clippy --quiet --no-default-features --lib -- -D warnings
cargo clippy --quiet --lib -- -D warnings
for feature in access-log tls,aws-lc-rs tls,ring jwt gate rbac coverage policy-testing propagation metrics metrics,metrics-facade metrics,prometheus-client server,aws-lc-rs client,ring opentelemetry otlp otlp,access-log otlp,audit otlp,server,client,ring zipkin otlp,zipkin axum axum,rbac axum,tls,aws-lc-rs tonic tonic,tls,ring convert diff vet rate-limit rate-limit-service external cel external,cel routing audit audit,server,client,aws-lc-rs; do
    echo "feature $feature"
    cargo clippy --quiet --no-default-features --features "$feature" --lib -- -D warnings
done
# The command as it is installed: without the commands that need more, each of which names its feature.
cargo clippy --quiet --no-default-features --features cli --bins -- -D warnings
cargo test --quiet --no-default-features --features cli --test cli a_command_that_is_not_built
# Without `cel` an expression of a Telemetry resource is an error with its place that names the feature. The tests of this package are always built
# with it.
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cat >"$directory/logs.yaml" <<'YAML'
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: logs, namespace: default}
spec: {accessLogging: [{filter: {expression: response.code >= 400}}]}
YAML
cat >"$directory/metrics.yaml" <<'YAML'
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: metrics, namespace: default}
spec: {metrics: [{overrides: [{tagOverrides: {host: {value: request.host}}}]}]}
YAML
said=$(cargo run --quiet --no-default-features --features cli -- check --config "$directory" --workload default/app GET / 2>&1) && status=0 || status=$?
if [ "$status" = 0 ] || ! grep -q 'logs.yaml:4:.*spec.accessLogging\[0\].filter.expression: .*need the feature `cel`' <<<"$said" ||
    ! grep -q 'metrics.yaml:4:.*spec.metrics\[0\].overrides\[0\].tagOverrides\[host\].value: .*need the feature `cel`' <<<"$said"; then
    echo "features.sh: an expression without the feature cel: status $status, said: $said" >&2
    exit 1
fi
# And with them.
cargo clippy --quiet --no-default-features --features pki --lib --bins -- -D warnings
