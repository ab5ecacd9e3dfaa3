# Sourced by the scripts here: the binary to test (DAYBOOK), a folder for peers that stays (PEERS), and how to get peers.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export DAYBOOK="${DAYBOOK:-target/debug/daybook}" PYTHONDONTWRITEBYTECODE=1
PEERS="${CARGO_TARGET_DIR:-target}/real/$(basename "$0" .sh)"
mkdir -p "$PEERS"
PEERS="$(realpath "$PEERS")"

[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

# What cannot be had here is told; where the test is required, that is a failure.
skip() {
    echo "skipped: $1"
    if [ -n "${CI:-}${DAYBOOK_REQUIRE_REAL:-}" ]; then exit 1; fi
    exit 0
}

install_packages() {
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } > /dev/null 2>&1 \
        || skip "cannot be installed: $*"
}

# FOLDER PACKAGE...: a virtual environment with these packages, made again when they change.
python_packages() {
    local folder="$1"; shift
    [ "$(cat "$folder/packages" 2> /dev/null)" != "$*" ] || return 0
    python3 -m venv "$folder" || skip "python cannot make a virtual environment"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" || skip "cannot be installed: $*"
    echo "$*" > "$folder/packages"
}

# FOLDER PACKAGE...: the same for Node, in its node_modules.
node_packages() {
    local folder="$1"; shift
    [ "$(cat "$folder/node_packages" 2> /dev/null)" != "$*" ] || return 0
    command -v npm > /dev/null || skip "there is no npm"
    npm install --silent --no-fund --no-audit --prefix "$folder" "$@" > /dev/null || skip "cannot be installed: $*"
    echo "$*" > "$folder/node_packages"
}
