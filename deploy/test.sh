#!/bin/sh
# Runs every check, stopping at the first that fails: sh deploy/test.sh [arguments for pytest]
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source=deploy/venv.sh
. "$ROOT/deploy/venv.sh"

# Real programs that tests run, with the Debian packages that hold them; without one its tests would fail.
PROGRAMS='mosquitto:mosquitto mosquitto_rr:mosquitto-clients chromium:chromium chromedriver:chromium-driver prometheus:prometheus promtool:prometheus systemd-analyze:systemd'

# The packages whose programs are not here, each once.
missing_packages() {
    for pair in $PROGRAMS; do
        program=${pair%%:*}
        command -v "$program" >/dev/null 2>&1 || [ -x "/usr/sbin/$program" ] || echo "${pair#*:}"
    done | uniq
}

# Installs them or asks for them.
need_programs() {
    missing=$(missing_packages)
    [ -z "$missing" ] && return
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
            as_root='sudo -n'
        else
            as_root=no
        fi
    fi
    if [ "$as_root" != no ] && command -v apt-get >/dev/null 2>&1; then
        # shellcheck disable=SC2086  # words of a message
        say Installing $missing with apt-get ...
        # shellcheck disable=SC2086  # as_root is empty or two words, missing a list of packages
        { $as_root apt-get update -q && $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends $missing; } >&2 || say "apt-get failed."
    fi
    missing=$(missing_packages)
    # shellcheck disable=SC2086,SC2116  # the list on one line
    [ -z "$missing" ] || fail "The tests need programs that are not installed here. Install them and run again:
    Debian, Ubuntu: sudo apt-get install $(echo $missing)
    Elsewhere: the MQTT broker mosquitto, Chromium with its chromedriver, Prometheus with its promtool, and systemd's systemd-analyze"
}

# MQTT clients of others, which the tests let speak to ours. Where Node.js is there, those tests must run.
need_node_clients() {
    if ! command -v node >/dev/null 2>&1; then
        say "Node.js is not installed: the tests with MQTT.js, Node-RED and sparkplug-payload will say so and be passed over."
        return
    fi
    stamp=$(cat "$ROOT/tests/clients/package.json")
    [ "$(cat "$ROOT/.node/installed.json" 2>/dev/null)" = "$stamp" ] && return
    command -v npm >/dev/null 2>&1 || fail "Node.js is installed and npm is not; the tests need it to fetch MQTT clients."
    say "Installing MQTT clients for Node.js into $ROOT/.node (once; half a minute) ..."
    mkdir -p "$ROOT/.node"
    cp "$ROOT/tests/clients/package.json" "$ROOT/.node/package.json"
    # Nothing that a package would run at its installation is needed.
    (cd "$ROOT/.node" && npm install --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
        fail "npm failed; its message stands above."
    printf '%s\n' "$stamp" >"$ROOT/.node/installed.json"
}

need_programs
need_node_clients
prepare_venv test
cd "$ROOT"
PATH="$VENV/bin:$PATH:/usr/sbin"
export PATH

ruff check .
ruff format --check .
mypy
# Compiled once here, not by several workers and services at the same time while their tests' clocks run.
python -m stepahead.forecasting.precompile
# Three workers for two cores, since many tests wait for a clock; a file stays with one worker, which keeps its brokers
# and other costly fixtures. In the order of their names, since the files with the fewest tests are the slowest and would
# be begun last.
pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder "$@"
