#!/usr/bin/env bash
# Every feature stands alone, and so does none of them: lints for no features, for the default ones, and for each single one.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo clippy --quiet --no-default-features --lib -- -D warnings
cargo clippy --quiet --lib -- -D warnings
for feature in access-log tls,aws-lc-rs tls,ring jwt gate rbac coverage policy-testing propagation metrics metrics,metrics-facade metrics,prometheus-client server,aws-lc-rs client,ring opentelemetry otlp otlp,server,client,ring zipkin otlp,zipkin axum axum,rbac axum,tls,aws-lc-rs tonic tonic,tls,ring convert diff vet rate-limit rate-limit-service external cel external,cel; do
    echo "feature $feature"
    cargo clippy --quiet --no-default-features --features "$feature" --lib -- -D warnings
done
# The command as it is installed: without the commands that need more, each of which names its feature.
cargo clippy --quiet --no-default-features --features cli --bins -- -D warnings
cargo test --quiet --no-default-features --features cli --test cli a_command_that_is_not_built
# And with them.
cargo clippy --quiet --no-default-features --features pki --lib --bins -- -D warnings
