"""Node.js programs of others, installed by deploy/test.sh."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PACKAGES = Path(__file__).parents[2] / ".node" / "node_modules"


def node(package: str) -> list[str]:
    """The command to begin with; where Node.js is absent that is said, where only the package is, it is a failure."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("Node.js is not installed: no test with its MQTT clients")
    if not (PACKAGES / package / "package.json").is_file():
        pytest.fail(f"Node.js is installed and its package {package} is not: 'sh deploy/test.sh' installs it")
    return [program]


def environment() -> dict[str, str]:
    return os.environ | {"NODE_PATH": str(PACKAGES)}


def ask_node(package: str, script: str, question: Any, seconds: float = 200) -> list[Any]:
    """Run a script with JSON on its stdin; its lines of JSON."""
    command = [*node(package), str(HERE / script)]
    done = subprocess.run(
        command, input=json.dumps(question), capture_output=True, text=True, timeout=seconds, env=environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def sparkplug(tasks: list[dict[str, Any]]) -> list[Any]:
    """Payloads decoded or encoded by sparkplug-payload."""
    [answers] = ask_node("sparkplug-payload", "sparkplug.cjs", tasks)
    return list(answers)
