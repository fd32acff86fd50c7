"""`stepahead top` beside a running service."""

import os
import re
import subprocess
import sys
import time

from tests.dashboard.conftest import Plant


def test_top_shows_the_scores_of_a_running_service(plant: Plant) -> None:
    url = plant.url
    command = [sys.executable, "-m", "stepahead", "top", "--broker", url, "--seconds", "15"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    top = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while top.poll() is None:
        plant.publish({"oven": 180.0 + plant.step % 5, "mill": 3.0})
        time.sleep(0.05)
    out, err = top.communicate()
    assert (top.returncode, err) == (0, "")
    # A line comes every five seconds; the first may come before a forecast has, or tell of a second of standing still.
    rates = re.findall(r"(\d+) readings/s +2 series +model \d+ .*skill .* coverage", out)
    assert any(int(rate) > 0 for rate in rates), out


def test_a_time_that_is_none_is_named() -> None:
    command = [sys.executable, "-m", "stepahead", "top", "--seconds", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "stepahead: --seconds is 0.0, allowed are more than 0\n")
