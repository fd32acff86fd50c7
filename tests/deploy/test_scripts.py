"""The scripts of deploy/: sound shell, one environment, and no CUDA build by surprise."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / "deploy").glob("*.sh")), ROOT / ".ci" / "run"]


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None, f"{name} is missing: install the test extra"
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_is_content(script: Path) -> None:
    done = subprocess.run([tool("shellcheck"), "-x", str(script)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_runs_exactly_the_test_script() -> None:
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'exec sh "$(dirname "${BASH_SOURCE[0]}")/../deploy/test.sh"']


def report(*packages: tuple[str, str]) -> str:
    return json.dumps({"version": "1", "install": [{"metadata": {"name": n, "version": v}} for n, v in packages]})


CPU = report(("torch", "2.13.0+cpu"), ("sympy", "1.14.0"), ("cudatoolkit-free", "1.0"))
CUDA = report(("torch", "2.13.0"), ("nvidia-cublas", "13.1.0"), ("cuda-bindings", "13.0"), ("triton", "3.5"))


@pytest.mark.parametrize(
    ("installation", "names"),
    [
        (CPU, ""),
        (report(("torch", "2.13.0")), ""),  # where the index's usual build is for the CPU, as on macOS
        (CUDA, "nvidia-cublas 13.1.0, cuda-bindings 13.0"),
        (report(("torch", "2.13.0+cu130")), "torch 2.13.0+cu130"),
        (report(("nvidia_cudnn_cu13", "9.1")), "nvidia_cudnn_cu13 9.1"),
        (report(("torch", "2.13.0+rocm6.4")), "torch 2.13.0+rocm6.4"),
    ],
)
def test_cuda_packages_are_found_in_pips_report(installation: str, names: str) -> None:
    command = f'ROOT={ROOT}; . "$ROOT/deploy/venv.sh"; cuda_packages {sys.executable}'
    done = subprocess.run(["sh", "-euc", command], input=installation, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == names


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the scripts with a fake virtual environment, whose pip answers what the file `report` holds."""
    (tmp_path / "deploy").mkdir()
    for name in ("venv.sh", "demo.sh", "constraints.txt"):
        shutil.copy(ROOT / "deploy" / name, tmp_path / "deploy")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    python = binaries / "python"
    python.write_text(
        f"""#!/bin/sh
case "$*" in
  *"m.version"*) exit 1 ;;
  "-m pip --version") exit 0 ;;
  "-m pip install"*--dry-run*) while [ "$1" != --report ]; do shift; done; cp "{tmp_path}/report" "$2" ;;
  "-m pip install"*) echo "$*" >>"{tmp_path}/installed" ;;
  *) exec "{sys.executable}" "$@" ;;
esac
"""
    )
    stepahead = binaries / "stepahead"
    stepahead.write_text('#!/bin/sh\necho "stepahead $*"\n')
    for file in (python, stepahead):
        file.chmod(0o755)
    return tmp_path


def demo(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(clone / "deploy" / "demo.sh"), "--seconds", "3"]
    return subprocess.run(command, cwd="/", env=os.environ | environment, capture_output=True, text=True)


def test_a_cuda_build_is_refused_before_anything_is_installed(clone: Path) -> None:
    (clone / "report").write_text(CUDA)
    done = demo(clone)
    assert done.returncode == 1
    assert "nvidia-cublas 13.1.0" in done.stderr
    assert "STEPAHEAD_ALLOW_CUDA=1" in done.stderr
    assert not (clone / "installed").exists()


def test_a_cuda_build_is_installed_when_asked_for(clone: Path) -> None:
    (clone / "report").write_text(CUDA)
    done = demo(clone, STEPAHEAD_ALLOW_CUDA="1")
    assert (done.returncode, done.stdout) == (0, "stepahead demo --seconds 3\n")
    assert f"-e {clone}[demo]" in (clone / "installed").read_text()


def test_the_second_start_installs_nothing_until_the_pins_change(clone: Path) -> None:
    (clone / "report").write_text(CPU)
    for expected in (1, 1):
        assert demo(clone).stdout == "stepahead demo --seconds 3\n"
        assert len((clone / "installed").read_text().splitlines()) == expected
    with (clone / "deploy" / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert demo(clone).returncode == 0
    assert len((clone / "installed").read_text().splitlines()) == 2


def test_an_old_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    command = f'ROOT={tmp_path}; . "{ROOT}/deploy/venv.sh"; prepare_venv demo'
    done = subprocess.run(
        ["sh", "-euc", command], env=os.environ | {"PYTHON": str(old)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr


APT = """#!/bin/sh
echo "$@" >>"{log}"
case "$*" in *install*) for name in mosquitto mosquitto_rr chromium chromedriver prometheus promtool systemd-analyze; do
    cp {true} "{folder}/$name"; done ;; esac
"""
PACKAGES = "mosquitto mosquitto-clients chromium chromium-driver prometheus systemd"


@pytest.mark.parametrize(
    ("user", "apt", "code", "calls"),
    [
        (0, APT, 0, ["update -q", f"install -q -y --no-install-recommends {PACKAGES}"]),
        (0, "#!/bin/sh\nexit 100\n", 1, []),
        (0, None, 1, []),
        (1000, APT, 1, []),  # neither root nor sudo
    ],
    ids=["installs", "apt fails", "no apt", "not root"],
)
def test_real_programs_are_installed_or_asked_for(
    tmp_path: Path, user: int, apt: str | None, code: int, calls: list[str]
) -> None:
    binaries, log = tmp_path / "bin", tmp_path / "log"
    binaries.mkdir()
    for name in ("env", "dirname", "printf", "cat", "cp", "true", "uniq"):
        (binaries / name).symlink_to(tool(name))
    (binaries / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (binaries / "id").chmod(0o755)
    if apt is not None:
        (binaries / "apt-get").write_text(apt.format(log=log, true=tool("true"), folder=binaries))
        (binaries / "apt-get").chmod(0o755)
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "venv.sh", tmp_path / "deploy")
    script = (ROOT / "deploy" / "test.sh").read_text()
    assert script.count("\nneed_programs\n") == 1
    only_programs = script.replace("\nneed_programs\n", "\nneed_programs\nexit 0\n")
    (tmp_path / "deploy" / "test.sh").write_text(only_programs.replace("/usr/sbin/", f"{tmp_path}/absent/"))
    command = ["/bin/sh", str(tmp_path / "deploy" / "test.sh")]
    done = subprocess.run(command, env={"PATH": str(binaries)}, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert (log.read_text().splitlines() if log.exists() else []) == calls
    assert (f"sudo apt-get install {PACKAGES}" in done.stderr) == (code == 1)


@pytest.mark.parametrize(
    ("programs", "code", "words"),
    [
        ({}, 0, "Node.js is not installed"),
        ({"node": "true"}, 1, "npm is not"),
        ({"node": "true", "npm": "true"}, 0, "Installing MQTT clients"),
        ({"node": "true", "npm": "false"}, 1, "npm failed"),
    ],
    ids=["no node", "no npm", "installs", "npm fails"],
)
def test_node_clients_are_installed_where_node_is(
    tmp_path: Path, programs: dict[str, str], code: int, words: str
) -> None:
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in ("dirname", "printf", "cat", "cp", "mkdir"):
        (binaries / name).symlink_to(tool(name))
    for name, behaviour in programs.items():
        (binaries / name).symlink_to(tool(behaviour))
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "venv.sh", tmp_path / "deploy")
    (tmp_path / "tests" / "clients").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "clients" / "package.json", tmp_path / "tests" / "clients")
    script = (ROOT / "deploy" / "test.sh").read_text()
    assert script.count("\nneed_programs\nneed_node_clients\nprepare_venv test\n") == 1
    script = script.replace("\nneed_programs\nneed_node_clients\n", "\nneed_node_clients\nexit 0\n")
    (tmp_path / "deploy" / "test.sh").write_text(script)
    command = ["/bin/sh", str(tmp_path / "deploy" / "test.sh")]
    done = subprocess.run(command, env={"PATH": str(binaries)}, capture_output=True, text=True)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    if words.startswith("Installing"):  # and a second time there is nothing to do
        again = subprocess.run(command, env={"PATH": str(binaries)}, capture_output=True, text=True)
        assert (again.returncode, again.stderr) == (0, "")
