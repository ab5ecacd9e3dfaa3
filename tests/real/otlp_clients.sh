#!/usr/bin/env bash
# What applications and agents send OTLP with, against a real daybook: the Python SDK, the Rust SDK, JSON by hand, and the
# OpenTelemetry Collector with its queue and retries, built from its Go modules.
#
#   DAYBOOK=target/release/daybook tests/real/otlp_clients.sh
#
# The Rust sender is a cargo project of its own in tests/real/otlp_rust.

source "$(dirname "$0")/prepare.bash"

PYTHON_SDK=1.45.2
COLLECTOR=v0.165.0

python_packages "$PEERS/venv" "opentelemetry-sdk==$PYTHON_SDK" "opentelemetry-exporter-otlp-proto-grpc==$PYTHON_SDK" \
    "opentelemetry-exporter-otlp-proto-http==$PYTHON_SDK"

command -v cargo > /dev/null || skip "there is no cargo"
TARGET="${CARGO_TARGET_DIR:-target}"
cargo build --quiet --locked --manifest-path tests/real/otlp_rust/Cargo.toml --target-dir "$TARGET" \
    || skip "the Rust SDK cannot be built"

# All of one release.
go_program "$PEERS/collector" tests/real/otel_collector.go.txt \
    github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver@v0.165.1 \
    "go.opentelemetry.io/collector/otelcol@$COLLECTOR" \
    "go.opentelemetry.io/collector/receiver/otlpreceiver@$COLLECTOR" \
    "go.opentelemetry.io/collector/exporter/otlpexporter@$COLLECTOR" \
    "go.opentelemetry.io/collector/exporter/otlphttpexporter@$COLLECTOR" \
    go.opentelemetry.io/collector/confmap/provider/fileprovider@v1.71.0

exec "$PEERS/venv/bin/python" tests/real/otlp_clients.py "$TARGET/debug/otlp_rust" "$PEERS/collector/program"
