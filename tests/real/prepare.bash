# Sourced by the scripts here: the binary to test (DAYBOOK), a folder for peers that stays (PEERS), and how to get peers. Scripts may
# run next to each other; each has a folder of its own.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export DAYBOOK="${DAYBOOK:-target/debug/daybook}" PYTHONDONTWRITEBYTECODE=1 PATH="$PATH:/usr/sbin:/sbin"
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

# One at a time, as two would refuse to; of others on this machine the lock is waited for.
apt() { DEBIAN_FRONTEND=noninteractive flock "$PEERS/../apt.lock" apt-get -o DPkg::Lock::Timeout=300 "$@"; }

# COMMAND PACKAGE...: what brings this command, where it is missing.
install_packages() {
    local program="$1"; shift
    if command -v "$program" > /dev/null; then return 0; fi
    { apt update && apt install -y --no-install-recommends "$@"; } > /dev/null 2>&1 || skip "cannot be installed: $*"
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
    local root="$PEERS/$1"; shift
    [ ! -e "$root/done" ] || return 0
    rm -rf "$root"; mkdir -p "$root/debs"
    download "$root/debs" "$@" 2> /dev/null || { apt update && download "$root/debs" "$@"; } > "$root/log" 2>&1 \
        || skip "cannot be downloaded: $*"
    local deb
    for deb in "$root"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
    rm -rf "$root/debs"
    touch "$root/done"
}

download() {
    local folder="$1"; shift
    local needed
    needed="$(apt -s --no-install-recommends install "$@" 2> /dev/null | awk '/^Inst/ {print $2}')"
    # shellcheck disable=SC2046,SC2086
    (cd "$folder" && apt -qq download $(printf '%s\n' "$@" $needed | sort -u))
}

# FOLDER GROUP:NAME:VERSION: a jar of Maven Central and those it needs.
maven_jars() {
    local folder="$1" group name version
    IFS=: read -r group name version <<< "$2"
    [ ! -e "$folder/done" ] || return 0
    rm -rf "$folder"; mkdir -p "$folder"
    cat > "$folder/pom.xml" << POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>daybook</groupId><artifactId>peer</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>$group</groupId><artifactId>$name</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
POM
    mvn -q -B -f "$folder/pom.xml" dependency:copy-dependencies -DoutputDirectory="$folder" > "$folder/log" 2>&1 \
        || { tail -3 "$folder/log" >&2; skip "cannot be had from Maven Central: $2"; }
    touch "$folder/done"
}
