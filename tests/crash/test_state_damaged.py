"""A bit of a service's state is flipped, or its journal cut: it starts with the truth, or says what is damaged.

`tests/storage/test_damage.py` and `test_journal.py` show the same of the files alone.
"""

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stepahead.contract.errors import StateError
from stepahead.contract.settings import DurabilitySettings, Settings
from stepahead.service.recovery import Knowledge
from stepahead.storage.segment import frames
from stepahead.storage.tree import flatten
from tests.service.engine_double import small_settings
from tests.service.service_double import Service

READINGS = 40


class Lived:
    """A service that was killed, with what it knew at each position of its journal."""

    def __init__(self, directory: Path) -> None:
        durability = DurabilitySettings(state_dir=directory, snapshot_every_s=8.0, generations=2)
        self.settings: Settings = small_settings(durability=durability)
        self.directory = directory
        self.truth: dict[int, tuple[Any, ...]] = {}
        service = Service(self.settings, directory)
        for number in range(READINGS):
            service.send(number // 2, float(number * number % 11), f"sensors/{number % 2}")
            service.loop.turn()
            service.clock.now_s += 0.5
            writing = service.keeper._writer._thread  # so that it lies where it lies in each run
            if writing is not None:
                writing.join()
            service.loop.turn()
            assert service.keeper.durable == service.keeper.position
            self.truth[service.keeper.position] = known(service.knowledge)
        service.release()
        self.end = service.keeper.position
        assert len(list((directory / "snapshots").iterdir())) == 2

    def start_again(self, directory: Path, seen: Counter[str], prefix: bool = False) -> None:
        """Start on a copy that was tampered with; what comes of it is the truth, or a sentence.

        Args:
            directory: of the copy.
            seen: counts what came of it.
            prefix: a journal that ends between two records is what an earlier kill leaves.
        """
        refusal = ""
        try:
            service = Service(self.settings, directory)
        except StateError as error:
            refusal = str(error)
        if refusal:
            assert "is damaged at offset" in refusal, refusal
            seen["refused by name"] += 1
            return
        position = service.keeper.position - 1  # its settings are a record of their own
        log = service.log.getvalue()
        service.release()
        assert known(service.knowledge) == self.truth[position], (position, log)
        if position < self.end:
            assert prefix or "torn_bytes=0" not in log
            seen["torn"] += 1
        elif 'state_damaged text="snapshot' in log:
            seen["the generation before"] += 1
        elif "state_damaged" in log:
            seen["named, and no longer needed"] += 1
        else:
            seen["harmless"] += 1  # in a part that is not read


def known(knowledge: Knowledge) -> tuple[Any, ...]:
    """All state, comparable to the bit."""
    flat = flatten(knowledge.capture())
    arrays = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in flat.arrays.items()}
    return flat.values, flat.scalars, arrays


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return Lived(tmp_path_factory.mktemp("lived"))


@pytest.mark.timeout(1800)
def test_a_flipped_bit_is_never_a_silent_wrong_answer(lived: Lived, tmp_path: Path, long_form: bool) -> None:
    flips = 2000 if long_form else 60
    chance = random.Random(5)
    files = sorted(path.relative_to(lived.directory) for path in lived.directory.rglob("*") if path.is_file())
    files = [path for path in files if path.parts[0] in ("journal", "snapshots")]
    # The journal is small beside the snapshots, and has half of the flips.
    sizes = [(lived.directory / path).stat().st_size for path in files]
    total = {room: sum(size for path, size in zip(files, sizes, strict=True) if path.parts[0] == room)
             for room in ("journal", "snapshots")}  # fmt: skip
    weights = [size / total[path.parts[0]] for path, size in zip(files, sizes, strict=True)]
    seen: Counter[str] = Counter()
    for number in range(flips):
        copy = tmp_path / str(number)
        shutil.copytree(lived.directory, copy)
        path = copy / chance.choices(files, weights)[0]
        data = bytearray(path.read_bytes())
        at = chance.randrange(8 * len(data))
        data[at // 8] ^= 1 << at % 8
        path.write_bytes(data)
        lived.start_again(copy, seen)
        shutil.rmtree(copy)
    print(f"{flips} flips in a service's state:", dict(seen))
    assert seen["the generation before"] > 0
    assert seen["refused by name"] > 0


@pytest.mark.timeout(1800)
def test_cut_at_any_length_the_journal_gives_what_was_known_there(
    lived: Lived, tmp_path: Path, long_form: bool
) -> None:
    last = max((lived.directory / "journal").iterdir())
    size = last.stat().st_size
    whole = {0, *(frame.end for frame in frames(last.read_bytes(), last.name))}
    lengths = list(range(size)) if long_form else [0, *random.Random(6).sample(range(1, size), 39)]
    seen: Counter[str] = Counter()
    for length in lengths:
        copy = tmp_path / str(length)
        shutil.copytree(lived.directory, copy)
        journal = copy / "journal" / last.name
        journal.write_bytes(journal.read_bytes()[:length])
        lived.start_again(copy, seen, prefix=length in whole)
        shutil.rmtree(copy)
    print(f"{len(lengths)} of {size} lengths of a service's journal:", dict(seen))
    assert seen["torn"] > len(lengths) // 4
