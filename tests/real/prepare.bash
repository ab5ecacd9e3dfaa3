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

# FOLDER SOURCE MODULE@VERSION...: FOLDER/program from one Go file and these modules, built again when they change.
go_program() {
    local folder="$1" source="$2"; shift 2
    local made_of
    made_of="$* $(sha256sum < "$source")"
    [ "$(cat "$folder/made_of" 2> /dev/null)" != "$made_of" ] || return 0
    command -v go > /dev/null || skip "there is no go"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$source" "$folder/main.go"
    (cd "$folder" && go mod init program && go get "$@" && go mod tidy && go build -trimpath -ldflags "-s -w" -o program .) \
        > "$folder/log" 2>&1 || { tail -3 "$folder/log" >&2; skip "cannot be built: $*"; }
    echo "$made_of" > "$folder/made_of"
}

# NAME PACKAGE...: downloads Debian packages, and those they need that are not installed, and unpacks them below $PEERS/NAME. For
# daemons of which a machine has one, and which should not run on it.
unpack() {
    local name="$1"; shift
    local root="$PEERS/$name"
    [ ! -e "$root/done" ] || return 0
    rm -rf "$root"; mkdir -p "$root/debs"
    local needed
    needed="$(apt-get -s --no-install-recommends install "$@" 2>/dev/null | awk '/^Inst/ {print $2}')" || true
    # shellcheck disable=SC2086
    (cd "$root/debs" && apt-get -qq download $(printf '%s\n' "$@" $needed | sort -u) >&2) || return 1
    local deb
    for deb in "$root"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
    rm -rf "$root/debs"
    touch "$root/done"
}
