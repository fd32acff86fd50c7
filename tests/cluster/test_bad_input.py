"""What cannot work is refused in words, at once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stepahead.cluster.directory import ClusterDirectory
from stepahead.cluster.program import check
from stepahead.cluster.ray_start import need_somebody, refuse_strangers
from stepahead.contract.errors import SettingsError, StateError, UsageError
from stepahead.contract.settings import Settings
from stepahead.storage.lock import StateLock

WITHOUT_RAY = "import sys; sys.modules['ray'] = None; from stepahead.cli import main; sys.exit(main())"


def stepahead(folder: Path, *arguments: str, program: str | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    start = ["-m", "stepahead"] if program is None else ["-c", program]
    command = [sys.executable, *start, "cluster", *arguments, "--set", f"durability.state_dir={folder}/state"]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_without_ray_the_command_says_what_to_install(tmp_path: Path) -> None:
    done = stepahead(tmp_path, "run", program=WITHOUT_RAY)
    assert (done.returncode, done.stderr) == (
        2,
        "stepahead: stepahead cluster needs the extra 'ray': pip install 'stepahead[ray]'\n",
    )


def test_an_address_where_nobody_listens_is_refused_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        done = stepahead(tmp_path, "run", "--address", f"127.0.0.1:{sock.getsockname()[1]}")
    assert done.returncode == 2
    assert "no Ray at 127.0.0.1:" in done.stderr
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize("address", ["nonsense", "ray://127.0.0.1:10001", "127.0.0.1:port"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="allowed are HOST:PORT and auto"):
        need_somebody(address)


def test_status_without_a_cluster_says_what_to_name(tmp_path: Path) -> None:
    done = stepahead(tmp_path, "status")
    assert done.returncode == 2
    assert "no cluster has run on" in done.stderr


def test_another_number_of_shards_is_refused(tmp_path: Path) -> None:
    ClusterDirectory(tmp_path, 64).release()
    with pytest.raises(StateError, match=r"was made with 64 shards, cluster\.shards is 8"):
        ClusterDirectory(tmp_path, 8)
    ClusterDirectory(tmp_path, 64).release()


@pytest.mark.parametrize(("made_with", "now"), [("shared", "shard"), ("shard", "shared")])
def test_other_weights_are_refused(tmp_path: Path, made_with: str, now: str) -> None:
    ClusterDirectory(tmp_path, 64, made_with).release()
    with pytest.raises(StateError, match=rf"was made with cluster\.weights = '{made_with}', it is '{now}' now"):
        ClusterDirectory(tmp_path, 64, now)
    ClusterDirectory(tmp_path, 64, made_with).release()


def test_the_state_of_a_release_without_shared_weights_is_one_of_weights_of_each_shard(tmp_path: Path) -> None:
    ClusterDirectory(tmp_path, 64).release()
    (tmp_path / "cluster.json").write_text('{"schema": 1, "shards": 64}')
    with pytest.raises(StateError, match=r"cluster\.weights = 'shard', it is 'shared' now"):
        ClusterDirectory(tmp_path, 64, "shared")
    ClusterDirectory(tmp_path, 64, "shard").release()


def test_nodes_with_public_addresses_are_refused() -> None:
    refuse_strangers(["127.0.0.1", "10.0.0.7", "192.168.3.4", "fd00::7"])
    with pytest.raises(UsageError, match=r"public addresses: 8\.8\.8\.8, 2606:4700::1111\. .* cluster\.public = true"):
        refuse_strangers(["10.0.0.7", "8.8.8.8", "2606:4700::1111"])


def test_two_clusters_on_one_state_are_refused(tmp_path: Path) -> None:
    with StateLock(tmp_path / "state"):
        done = stepahead(tmp_path, "run")
    assert done.returncode == 1
    assert f"is in use by process {os.getpid()}" in done.stderr


def test_the_state_of_a_plain_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with pytest.raises(StateError, match="holds the state of a `stepahead run`"):
        ClusterDirectory(tmp_path, 64)


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    ClusterDirectory(tmp_path, 64).release()
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(StateError, match="is damaged"):
        ClusterDirectory(tmp_path, 64)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"durability": {"mode": "snapshot"}}, "allowed is 'journal'"),
        ({"broker": {"qos": 0}}, "a cluster needs 1"),
        ({"publish": {"format": "sparkplug"}}, "an edge node is one process"),
        ({"engine": {"device": "cuda:1"}}, "engine.device = 'cuda:1': a cluster steps its shards on the CPU"),
        ({"cluster": {"readings": "shared", "hashing_broker": "emqx"}}, "set broker.protocol = '5'"),
        ({"subscriptions": [{"filter": "#"}]}, "also matches our own output"),
        (
            {"subscriptions": [{"filter": "a/#", "shard": 0}], "cluster": {"readings": "filters", "shards": 2}},
            "none is for shard 1 of 2",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check(Settings.model_validate(settings))


def test_shared_subscriptions_need_the_name_of_the_broker() -> None:
    with pytest.raises(ValueError, match="readings = shared and hashing_broker belong together"):
        Settings.model_validate({"cluster": {"readings": "shared"}})
