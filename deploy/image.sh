#!/bin/sh
# The steps that the Dockerfile runs, so that they can also be run, and checked, without a container engine:
#   sh deploy/image.sh dependencies VENV     everything stepahead needs, in a virtual environment
#   sh deploy/image.sh package VENV FOLDER   stepahead itself, installed into FOLDER with the pip of VENV
#   sh deploy/image.sh trim VENV             takes out what a service never opens
# PYTHON names the interpreter of VENV. See deploy/venv.sh for PIP_EXTRA_INDEX_URL and STEPAHEAD_ALLOW_CUDA.
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
# shellcheck source=deploy/venv.sh
. "$ROOT/deploy/venv.sh"

pip() {
    "$VENV/bin/python" -m pip --disable-pip-version-check --no-cache-dir "$@"
}

dependencies() {
    "$(find_python)" -m venv "$VENV"
    refuse_surprise_cuda
    "$VENV/bin/python" -c '
import sys, tomllib
print("\n".join(tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"]))' \
        "$ROOT/pyproject.toml" >"$VENV/requirements.txt"
    # Compiled by the imports of `trim`: what is never imported needs no second copy.
    pip install --quiet --no-compile -c "$ROOT/deploy/constraints.txt" -r "$VENV/requirements.txt"
}

package() {
    pip install --quiet --no-deps --target "$1" "$ROOT"
    rm -rf "${1:?}/bin" # a script there would name the building machine's interpreter
}

# Sizes in MB as measured with torch 2.13 on x86-64: see `deploy/check-image.sh`.
trim() {
    site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # torch: its own test programs and data (133), C++ headers (62); the others' tests (about 110); pip (25).
    rm -rf "$site/torch/test" "$site/torch/include" "$site/torch/share"
    find "$site/torch/bin" -type f ! -name torch_shm_manager -delete
    for package in pandas numba scipy numpy statsmodels sympy networkx river sklearn mpmath; do
        [ ! -d "$site/$package" ] || find "$site/$package" -type d -name tests -prune -exec rm -rf {} +
    done
    find "$site" -name '*.a' -delete
    # Symbols that only a debugger reads (torch 70, llvmlite 17). Where a library cannot be stripped it stays whole.
    find "$site" -path '*/torch/lib/*.so*' -type f -exec strip --strip-unneeded {} + || true
    find "$site" -path '*/llvmlite/*.so' -type f -exec strip --strip-unneeded {} + || true
    find "$site" -name __pycache__ -type d -prune -exec rm -rf {} +
    # What a service imports is compiled now, since it may not write later; what it does not import stays as it is.
    "$VENV/bin/python" -W ignore -c '
from importlib import import_module, util
for name in """anyio._backends._asyncio msgspec numba numpy pandas paho.mqtt.client prometheus_client pydantic_settings
    rich.live river.drift safetensors.torch scipy.stats starlette.routing statsmodels.tsa.stattools structlog torch.optim
    torch.multiprocessing typer uvicorn""".split():
    if util.find_spec(name.partition(".")[0]) is not None:
        import_module(name)
import torch
weights = torch.nn.Linear(1, 1)
torch.optim.AdamW(weights.parameters()).step()'
    rm -rf "$site/pip" "$site"/pip-*.dist-info "$site/setuptools" "$site"/setuptools-*.dist-info \
        "$site/pkg_resources" "$site/_distutils_hack" "$site/distutils-precedence.pth" "$VENV"/bin/pip*
}

step=${1:-}
VENV=${2:-}
[ -n "$VENV" ] || fail "usage: sh $0 dependencies|package|trim VENV [FOLDER]"
case $step in
    dependencies | trim) "$step" ;;
    package) package "${3:?the folder to install into}" ;;
    *) fail "there is no step $step: dependencies, package, trim" ;;
esac
