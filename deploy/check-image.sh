#!/bin/sh
# Runs the Dockerfile's own steps where there is no container engine, and then the image's program as the image would:
#   sh deploy/check-image.sh [FOLDER]
# It needs Debian's /usr/bin/python3 with venv (or PYTHON), binutils, and some minutes; as root it drops to user 10001.
# What it cannot check are the layers themselves and apt's steps in an empty Debian; apt is asked whether it has the packages.
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source=deploy/venv.sh
. "$ROOT/deploy/venv.sh"

LIMIT_MB=1200
# Debian and the packages of the last stage, unpacked: a debootstrap --variant=minbase of bookworm in which the last
# stage's apt step ran, less what the slim image leaves out (documents, manuals, translations, apt's lists).
BASE_MB=${BASE_MB:-127}

ROOTFS=${1:-$(mktemp -d)}
PYTHON=${PYTHON:-/usr/bin/python3}
export PYTHON
mkdir -p "$ROOTFS/opt" "$ROOTFS/var/lib/stepahead"
chmod 0755 "$ROOTFS"

# One line per step of ours, /opt moved below the folder.
sed -n 's/^RUN sh //p' "$ROOT/deploy/Dockerfile" >"$ROOTFS/steps"
[ "$(wc -l <"$ROOTFS/steps")" -eq 3 ] || fail "the Dockerfile has other steps than this script knows"
while read -r script arguments; do
    say "== $script $arguments"
    # shellcheck disable=SC2046  # the arguments are words
    (cd "$ROOT" && sh "$script" $(echo "$arguments" | sed "s|/opt/|$ROOTFS/opt/|g"))
done <"$ROOTFS/steps"

if command -v apt-get >/dev/null 2>&1; then
    packages=$(sed -n 's/.*--no-install-recommends \(.*[a-z0-9]\) *\\*$/\1/p' "$ROOT/deploy/Dockerfile")
    # shellcheck disable=SC2086  # several names
    apt-get install --simulate -qq $packages >/dev/null || fail "apt does not have: $packages"
fi

size=$(du -sm "$ROOTFS/opt" | cut -f1)
total=$((size + BASE_MB))
say "== /opt holds $size MB, about $total MB with the base"
du -sm "$ROOTFS"/opt/*/lib/python3*/site-packages/* "$ROOTFS/opt/app" 2>/dev/null | sort -rn | head -12 >&2
[ "$total" -lt "$LIMIT_MB" ] || fail "the image would have $total MB, allowed are $LIMIT_MB"

# The environment of the last stage, and nothing else; /opt is not writable by the user, as in a read-only root.
"$ROOTFS/opt/stepahead/bin/python" - "$ROOT/deploy/Dockerfile" "$ROOTFS" >"$ROOTFS/environment" <<'PYTHON'
import re
import sys

text, root = open(sys.argv[1]).read(), sys.argv[2]
stage = text[text.rindex("\nENV ") + 5 :]
lines = re.match(r"(?:.*\\\n)*.*\n", stage)[0].replace("\\\n", " ").split()
for line in lines:
    name, _, value = line.partition("=")
    value = re.sub(r"/(opt|var/lib)/stepahead|/opt/app", lambda found: root + found[0], value)
    print(f"{name}={value.replace('8420', '18420')}")
PYTHON
as_user=
if [ "$(id -u)" -eq 0 ]; then
    chown -R 10001:10001 "$ROOTFS/var/lib/stepahead"
    as_user="setpriv --reuid 10001 --regid 10001 --clear-groups"
fi
enter() {
    cd /
    # shellcheck disable=SC2046,SC2086  # no value has a space
    exec env -i $(cat "$ROOTFS/environment") $as_user "$@"
}
image() {
    (enter "$@")
}
python=$ROOTFS/opt/stepahead/bin/python
say "== $(image "$python" -m stepahead version)"
image "$python" -m stepahead simulate --help >/dev/null

enter "$python" -m stepahead run --broker mqtt://127.0.0.1:1 >"$ROOTFS/log" 2>&1 &
service=$!
trap 'kill "$service" 2>/dev/null || true' EXIT
# The image's own check of health, on another port, until it is content.
"$python" - "$ROOT/deploy/Dockerfile" >"$ROOTFS/health.py" <<'PYTHON'
import json
import re
import sys

command = json.loads(re.search(r"HEALTHCHECK .*\\\n\s*CMD (\[.*\])", open(sys.argv[1]).read())[1])
print(command[-1].replace("8420", "18420"))
PYTHON
tries=0
until image "$python" -IS "$ROOTFS/health.py" 2>"$ROOTFS/health.log"; do
    tries=$((tries + 1))
    kill -0 "$service" 2>/dev/null && [ "$tries" -lt 60 ] || fail "not healthy:
$(cat "$ROOTFS/health.log" "$ROOTFS/log")"
    sleep 1
done
say "== healthy after $tries s; writable for the service below /opt: $(image find "$ROOTFS/opt" -writable -not -type l | wc -l)"
kill -TERM "$service"
wait "$service" || fail "the service did not end in good order:
$(cat "$ROOTFS/log")"
trap - EXIT
say "== ended in good order"
