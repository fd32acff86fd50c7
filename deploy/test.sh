#!/bin/sh
# Runs every check, stopping at the first that fails: sh deploy/test.sh [arguments for pytest]
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source=deploy/venv.sh
. "$ROOT/deploy/venv.sh"

have_mosquitto() {
    command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ]
}

# The broker tests run against a real mosquitto; without one they would fail, so it is installed or asked for.
need_mosquitto() {
    have_mosquitto && return
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
            as_root='sudo -n'
        else
            as_root=no
        fi
    fi
    if [ "$as_root" != no ] && command -v apt-get >/dev/null 2>&1; then
        say "Installing mosquitto with apt-get ..."
        # shellcheck disable=SC2086  # as_root is empty or two words
        { $as_root apt-get update -q && $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends mosquitto; } >&2 || say "apt-get failed."
    fi
    have_mosquitto || fail "The tests need the MQTT broker mosquitto, which is not installed here. Install it and run again:
    Debian, Ubuntu: sudo apt-get install mosquitto
    Fedora:         sudo dnf install mosquitto
    Alpine:         sudo apk add mosquitto
    macOS:          brew install mosquitto"
}

need_mosquitto
prepare_venv test
cd "$ROOT"
PATH="$VENV/bin:$PATH:/usr/sbin"
export PATH

ruff check .
ruff format --check .
mypy
# One worker a core; a file stays with one worker, which keeps its brokers and other costly fixtures. In the order of
# their names, since the files with the fewest tests are the slowest and would be begun last.
pytest --numprocesses auto --dist loadfile --no-loadscope-reorder "$@"
