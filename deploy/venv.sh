# shellcheck shell=sh
# Sourced by demo.sh and test.sh with ROOT set: makes $ROOT/.venv with the system's Python and installs into it.
# Installs only when pyproject.toml, constraints.txt, the extra or the Python changed: a second start takes seconds.

VENV="$ROOT/.venv"

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

# The first Python of at least 3.11 among the usual names, or $PYTHON when that is set.
find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>/dev/null || echo 'no python3')
    fail "stepahead needs Python 3.11 or newer; found: $found. Install it, or name one: PYTHON=/path/to/python3.11 sh $0"
}

# Reads pip's installation report and prints the packages that make a CUDA build; several GB follow from them.
cuda_packages() {
    "$1" -c '
import json, re, sys
names = []
for item in json.load(sys.stdin)["install"]:
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    if re.match(r"(nvidia|cuda)[-_.]", name, re.I) or re.search(r"\+(cu|rocm)\d", version):
        names.append(f"{name} {version}")
print(", ".join(names))'
}

# Stops before several GB are fetched by surprise: pip is asked first what it would install for torch.
refuse_surprise_cuda() {
    [ "${STEPAHEAD_ALLOW_CUDA:-0}" = 1 ] && return
    "$VENV/bin/python" -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null && return
    # Before 23.2 pip fetches whole files only to read what they depend on.
    "$VENV/bin/python" -c 'import sys, pip; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (23, 2))' ||
        "$VENV/bin/python" -m pip install --quiet --upgrade 'pip>=23.2' || fail "pip could not be brought up to date."
    report="$VENV/torch-report.json"
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --dry-run --report "$report" \
        -c "$ROOT/deploy/constraints.txt" torch >&2 || fail "pip found no PyTorch to install; its message stands above."
    cuda=$(cuda_packages "$VENV/bin/python" <"$report") || fail "pip's report $report could not be read."
    rm -f "$report"
    [ -z "$cuda" ] || fail "Stopped before installing anything: the package index that pip uses here would bring in a
CUDA or ROCm build of PyTorch, several GB ($cuda).
- For the CPU build, which is all that stepahead needs, give pip PyTorch's CPU index, which stands on PyTorch's own
  installation page (choose Pip and CPU there; it is the address after --index-url):
      PIP_EXTRA_INDEX_URL=<that address> sh $0
- If you do want the CUDA build: STEPAHEAD_ALLOW_CUDA=1 sh $0"
}

# What an installation of the extra $1 by the Python $2 depends on, as one number.
stamp_of() {
    { cat "$ROOT/pyproject.toml" "$ROOT/deploy/constraints.txt"; "$2" -V; echo "$ROOT"; echo "$1"; } | cksum
}

# Makes the environment ready for the extra $1: "demo" or "test".
prepare_venv() {
    extra=$1
    if [ ! -x "$VENV/bin/python" ] || ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python) || exit 1
        say "Making $VENV with $("$python" -V) ..."
        rm -f "$VENV"/stamp-*
        "$python" -m venv "$VENV" ||
            fail "The virtual environment could not be made. On Debian and Ubuntu: apt-get install python3-venv"
    fi
    "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$VENV was made with $("$VENV/bin/python" -V); stepahead needs 3.11 or newer. Remove it and run again."
    # Whoever has the test extra has everything the demo needs.
    for covering in "$extra" test; do
        [ "$(cat "$VENV/stamp-$covering" 2>/dev/null)" = "$(stamp_of "$covering" "$VENV/bin/python")" ] && return
    done
    refuse_surprise_cuda
    say "Installing stepahead[$extra] into $VENV (once; some minutes, most of them for PyTorch) ..."
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
        -c "$ROOT/deploy/constraints.txt" -e "${ROOT}[$extra]" >&2 ||
        fail "The installation failed; pip's message stands above."
    # Once here, so that no service waits for it at its first readings.
    "$VENV/bin/python" -m stepahead.forecasting.precompile >&2 || fail "The loops could not be compiled; see above."
    stamp_of "$extra" "$VENV/bin/python" >"$VENV/stamp-$extra"
}
