import pytest

from stepahead.contract.errors import StateError
from stepahead.contract.records import REFUSED
from stepahead.contract.settings import GroupSettings
from stepahead.forecasting.series import SeriesTable

PUMP = GroupSettings(name="pump", members=("flow", "power"), prefix="plant/")


def test_a_series_too_many_is_refused_and_the_old_ones_stay() -> None:
    table = SeriesTable(max_series=2)
    assert [table.intern(k) for k in ("a", "b", "c", "a")] == [0, 1, REFUSED, 0]
    assert (len(table), table.refused) == (2, 1)


def test_a_unit_is_taken_whole_or_not_at_all() -> None:
    table = SeriesTable(max_series=2, groups=(PUMP,))
    assert table.intern("x") == 0
    assert table.intern("plant/1/flow") == REFUSED
    assert len(table) == 1


@pytest.mark.parametrize(
    ("key", "cohort"), [("plant/1/flow", 1), ("plant/flow", 1), ("plant/1/overflow", 0), ("other/flow", 0), ("flow", 0)]
)
def test_only_whole_last_levels_under_the_prefix_make_a_member(key: str, cohort: int) -> None:
    table = SeriesTable(max_series=10, groups=(PUMP,))
    assert table.cohort[table.intern(key)] == cohort


def test_it_grows_and_loads_what_it_saved() -> None:
    table = SeriesTable(max_series=1000, groups=(PUMP,))
    for number in range(150):
        table.intern(f"plant/{number}/power")
    again = SeriesTable(max_series=1000, groups=(PUMP,))
    again.load_state_dict(table.state_dict())
    assert again.intern("plant/149/flow") == table.intern("plant/149/flow") == 298
    assert (again.unit[:300] == table.unit[:300]).all()
    assert (again.digest[:300] == table.digest[:300]).all()


def test_stored_series_that_do_not_fit_are_refused() -> None:
    with pytest.raises(StateError, match="max_series"):
        SeriesTable(max_series=1).load_state_dict(["a", "b"])
    with pytest.raises(StateError, match="groups"):
        SeriesTable(max_series=9, groups=(PUMP,)).load_state_dict(["plant/1/power", "plant/1/flow"])
