#!/bin/sh
# Shows live forecasts for simulated sensors: sh deploy/demo.sh [--seconds N] [--json] [--series N] [--rate HZ]
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source=deploy/venv.sh
. "$ROOT/deploy/venv.sh"

prepare_venv demo
exec "$VENV/bin/stepahead" demo "$@"
