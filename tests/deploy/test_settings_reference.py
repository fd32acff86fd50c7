"""deploy/SETTINGS.md is what `stepahead config reference` prints, and says all that the model says."""

from pathlib import Path

from stepahead.contract.settings import Settings
from stepahead.service.settings_reference import settings_reference

COMMITTED = Path(__file__).parents[2] / "deploy" / "SETTINGS.md"
UPDATE = "stepahead config reference > deploy/SETTINGS.md"


def test_the_committed_reference_is_up_to_date() -> None:
    assert COMMITTED.read_text("utf-8") == settings_reference(), f"run: {UPDATE}"


def test_every_setting_has_a_line_with_its_default_and_a_meaning() -> None:
    parts = settings_reference().split("\n## ")[1:]
    assert [part.split()[0] for part in parts] == list(Settings.model_fields)
    for part in parts:
        rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]
        assert all(len(row) == 4 and all(row) for row in rows)
        model = getattr(Settings(), part.split()[0])
        section = (model or (None,))[0] if isinstance(model, tuple) else model
        if section is not None:
            assert [row[0] for row in rows] == [f"`{name}`" for name in type(section).model_fields]
        for name, _, default, _ in rows:
            value = getattr(section, name.strip("`"), None)
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert float(default.strip("`")) == value
