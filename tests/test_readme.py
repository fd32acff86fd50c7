"""Every fenced block of README.md holds.

The first word behind the fence is the language, the others are orders to this test (GitHub ignores them):

- `sh`: run with `sh -eu` in a copy of the repository, all blocks in one copy, in the order of the text; exit code 0.
- `sh stop-after=8`: the same for a program that runs until Ctrl-C: interrupted 8 s after its first output, and it must
  then exit 0.
- `sh limit=20`: may take so many seconds instead of 240.
- `sh no-run`: for commands that need a foreign broker or make an installation: the shell's grammar, each
  `stepahead` command with its flags, and that each script of ours is there, are checked instead.
- `python`: run in the same copy, warnings being errors. `toml`: settings that load. `json`: parses, and a forecast
  message has no unknown and no missing field. `text` and `mermaid` are pictures. Any other language fails.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest
import typer.main

from stepahead import cli
from stepahead.contract.errors import SettingsError
from stepahead.service.configuration import load_settings

ROOT = Path(__file__).parents[1]
NOT_IN_A_CLONE = (".git", ".venv", ".node", ".*_cache", ".hypothesis", "*.egg-info", "build", "state")
"""`__pycache__` goes along: it holds the compiled loops, which every installation of ours fills."""
BEING_WRITTEN = ("*.pyc.*", "*.tmp.*")
"""What Python, pytest and Numba rename when it is whole: gone between the look into a folder and the copy."""
DEFAULT_LIMIT_S = 240
FORECAST_ALWAYS = {"series", "issued_at", "valid_at", "value", "mean", "observed", "anomaly", "status", "model", "id"}
FORECAST_SOMETIMES = {"lower", "upper", "level", "error", "path", "intervals"}


class Block(NamedTuple):
    line: int
    language: str
    orders: tuple[str, ...]
    text: str


def blocks_of(text: str) -> Iterator[Block]:
    """Every fenced block; one that is never closed is an error."""
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        opening = re.match(r"^\s*(`{3,}|~{3,})\s*(.*)$", line)
        if opening is None:
            continue
        fence, info = opening.groups()
        body: list[str] = []
        for _, inner in lines:
            if re.fullmatch(rf"\s*{fence[0]}{{{len(fence)},}}\s*", inner):
                break
            body.append(inner)
        else:
            raise AssertionError(f"line {number}: the block is never closed")
        language, *orders = info.split() or [""]
        yield Block(number, language, tuple(orders), "\n".join(body) + "\n")


def environment(clone: Path) -> dict[str, str]:
    """The environment of a user whose virtual environment is active, with our sources and nobody's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STEPAHEAD_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    sources = f"{clone / 'src'}{os.pathsep}{clone}"
    return kept | {"PATH": path, "PYTHONPATH": sources, "HOME": str(clone.parent)}


def run(arguments: list[str], clone: Path, limit_s: float, stop_after_s: float | None) -> None:
    """Run to the end, or interrupt as Ctrl-C does; the exit code must be 0 in time. Nothing is left running."""
    with tempfile.TemporaryFile("w+") as output:
        # A file and not a pipe: a job left in the background would hold a pipe open.
        program = subprocess.Popen(
            arguments, cwd=clone, env=environment(clone), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            if stop_after_s is not None:
                wait_for_output(program, output, limit_s)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.wait(stop_after_s)
                    pytest.fail(f"ended by itself before {stop_after_s} s")
                os.killpg(program.pid, signal.SIGINT)
            try:
                code = program.wait(limit_s)
            except subprocess.TimeoutExpired:
                pytest.fail(f"not done within {limit_s} s")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        output.seek(0)
        assert code == 0, f"exit code {code}:\n{output.read()}"


def wait_for_output(program: subprocess.Popen[bytes], output: IO[str], limit_s: float) -> None:
    """Until the program has said a word, or ended: one that is still being loaded cannot be interrupted in order."""
    until_s = time.monotonic() + limit_s
    while program.poll() is None and not os.fstat(output.fileno()).st_size:
        if time.monotonic() > until_s:
            pytest.fail(f"no output within {limit_s} s")
        time.sleep(0.05)


def check_shell(block: Block, clone: Path) -> None:
    stop_after_s, limit_s, runs = None, float(DEFAULT_LIMIT_S), True
    for order in block.orders:
        name, _, value = order.partition("=")
        if name == "stop-after":
            stop_after_s = float(value)
        elif name == "limit":
            limit_s = float(value)
        elif order == "no-run":
            runs = False
        else:
            raise AssertionError(f"unknown order {order!r}")
    if runs:
        # The shell must outlive Ctrl-C to report the program's own exit code; a trapped signal is not inherited.
        run(["sh", "-euc", f"trap : INT\n{block.text}"], clone, limit_s, stop_after_s)
    else:
        check_without_running(block.text, clone)


def check_without_running(text: str, clone: Path) -> None:
    grammar = subprocess.run(["sh", "-nc", text], capture_output=True, text=True, check=False)
    assert grammar.returncode == 0, grammar.stderr
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for script in (word for word in words if re.fullmatch(r"(\./)?[\w/.-]+\.(sh|py|toml)", word)):
            assert not script.startswith("deploy/") or (clone / script).is_file(), f"there is no {script}"
        if "stepahead" in words:
            check_flags(words[words.index("stepahead") + 1 :])


@cache
def command_tree() -> Any:
    """Our commands and those plugged in."""
    cli.add_plugged_in_commands(cli.app)
    return typer.main.get_command(cli.app)


def check_flags(words: list[str]) -> None:
    """The command is there, and so is each of its long flags."""
    command = command_tree()
    while hasattr(command, "commands") and words:
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    for word in words:
        if word in {"|", "&&", ";", "&", ">"}:
            return
        assert not word.startswith("--") or word.partition("=")[0] in flags, f"there is no flag {word!r}"


def check_json(text: str) -> None:
    documents = [json.loads(text)] if text.lstrip().startswith(("{\n", "[")) else [*map(json.loads, text.splitlines())]
    for document in documents:
        if isinstance(document, dict) and "valid_at" in document:
            missing, unknown = FORECAST_ALWAYS - set(document), set(document) - FORECAST_ALWAYS - FORECAST_SOMETIMES
            assert not missing, f"a forecast without {missing}"
            assert not unknown, f"a forecast has no {unknown}"


def check(block: Block, clone: Path) -> None:
    if block.language == "sh":
        check_shell(block, clone)
        return
    assert not block.orders, f"orders {block.orders} are for sh blocks"
    if block.language == "python":
        run([sys.executable, "-W", "error", "-c", block.text], clone, DEFAULT_LIMIT_S, None)
    elif block.language == "toml":
        file = clone.parent / f"line-{block.line}.toml"
        file.write_text(block.text, "utf-8")
        load_settings(file, {}, {})
    elif block.language == "json":
        check_json(block.text)
    else:
        assert block.language in {"text", "mermaid"}, f"nobody checks blocks of {block.language or 'no language'}"


def make_clone(folder: Path) -> Path:
    """The repository as a clone would have it, built things left out."""
    clone = folder / "stepahead"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*NOT_IN_A_CLONE, *BEING_WRITTEN))
    return clone


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clone(tmp_path_factory.mktemp("readme"))


README = list(blocks_of((ROOT / "README.md").read_text("utf-8")))


@pytest.mark.parametrize("block", README or [Block(0, "text", (), "")], ids=lambda b: f"line-{b.line}-{b.language}")
def test_the_block_of_the_readme_holds(block: Block, clone: Path) -> None:
    check(block, clone)


def fenced(info: str, text: str) -> Block:
    (block,) = blocks_of(f"words\n\n```{info}\n{text}\n```\nwords\n")
    return block


INTERRUPTIBLE = (
    "import time\ntry:\n print('up', flush=True)\n time.sleep(600)\nexcept KeyboardInterrupt:\n print('bye')"
)


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ("sh", "test -f pyproject.toml && test ! -e .venv"),
        ("sh", "echo x > made-by-readme\npython -c 'import stepahead' | cat"),
        ("sh stop-after=5", f'python -c "{INTERRUPTIBLE}"'),
        ("sh limit=90 stop-after=1", "trap 'exit 0' INT; echo up; sleep 30 & wait"),
        ("sh no-run", "stepahead run --broker mqtt://plant:1883 \\\n  --subscribe 'a/#'  # ours\nfalse"),
        ("python", "from stepahead.contract.settings import Settings\nassert Settings().broker.qos == 1"),
        ("toml", "[learning]\nevery = 12"),
        ("json", '{"temperature": 3.5}\n{"temperature": 3.6}'),
        ("json", '[\n  {"t": 1}\n]'),
        ("text", "anything"),
    ],
)
def test_a_block_that_holds_is_accepted(info: str, text: str, clone: Path) -> None:
    check(fenced(info, text), clone)


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ("sh", "false\ntrue"),
        ("sh", "echo $NOT_SET"),
        ("sh limit=0.5", "sleep 600"),
        ("sh stop-after=5", "true"),
        ("sh limit=20 stop-after=1", "echo up; sleep 600"),
        ("sh hidden", "true"),
        ("sh no-run", "if true"),
        ("sh no-run", "stepahead rum"),
        ("sh no-run", "stepahead run --brokr x"),
        ("sh no-run", "sh deploy/absent.sh"),
        ("python", "assert 1 == 2"),
        ("python", "import warnings; warnings.warn('old')"),
        ("python no-run", "1"),
        ("toml", "[learning]\nevry = 12"),
        ("json", '{"a": 1,}'),
        ("json", '{"valid_at": 1}'),
        ("yaml", "a: 1"),
        ("", "$ stepahead"),
    ],
)
def test_a_block_that_does_not_hold_is_refused(info: str, text: str, clone: Path) -> None:
    with pytest.raises((AssertionError, SettingsError, ValueError, pytest.fail.Exception)):
        check(fenced(info, text), clone)


def test_blocks_know_their_line_language_orders_and_text() -> None:
    text = "a\n```sh no-run limit=3\necho 1\n\n```\n~~~\n```\n~~~\n````text\n```\n````\n"
    assert list(blocks_of(text)) == [
        Block(2, "sh", ("no-run", "limit=3"), "echo 1\n\n"),
        Block(6, "", (), "```\n"),
        Block(9, "text", (), "```\n"),
    ]


def test_a_block_that_is_never_closed_is_refused() -> None:
    with pytest.raises(AssertionError, match="line 1"):
        list(blocks_of("```sh\ntrue\n"))
