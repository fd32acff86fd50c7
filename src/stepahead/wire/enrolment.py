"""Series keys to slots, and the factor that a series' values are multiplied by."""

import numpy as np

from stepahead.contract.reasons import DropCounter, Reason
from stepahead.contract.records import FloatArray, Intern, Readings
from stepahead.wire.columns import Columns
from stepahead.wire.units import Units

__all__ = ["Enrolment"]


class Enrolment:
    """Gives each key its slot and remembers its factor.

    Two subscriptions that read one series at different scales would make nonsense of it: the second is refused.

    Args:
        intern: series key -> slot, or `REFUSED`.
        drops: counts values that a factor makes too large.
        scaled: whether any subscription has a factor other than 1.

    Attributes:
        units: of the series.

    Example:
        >>> enrolment = Enrolment(lambda key: 0, DropCounter(), scaled=True)
        >>> enrolment.enrol("boiler", 0.1), enrolment.enrol("boiler", 1.0)
        (0, <Reason.KEY_INVALID: 'key_invalid'>)
    """

    def __init__(self, intern: Intern, drops: DropCounter, scaled: bool) -> None:
        self._intern = intern
        self._drops = drops
        self._scaled = scaled
        self._factors: FloatArray = np.full(0, np.nan)
        self.units = Units()

    def enrol(self, key: str, scale: float, unit: object = None) -> int | Reason:
        """The slot of a key, or why it gets none.

        Args:
            key: of the series.
            scale: factor of its values.
            unit: of its values before; behind a factor they have another, which nobody tells.
        """
        slot = self._intern(key)
        if slot < 0:
            return Reason.TOO_MANY_SERIES
        if self._scaled:
            if slot >= len(self._factors):
                more = np.full(max(slot + 1 - len(self._factors), len(self._factors), 64), np.nan)
                self._factors = np.concatenate([self._factors, more])
            if np.isnan(self._factors[slot]):
                self._factors[slot] = scale
            elif self._factors[slot] != scale:
                return Reason.KEY_INVALID
        if scale == 1.0:
            self.units.note(slot, unit)
        return slot

    def finish(self, columns: Columns) -> tuple[Readings, "np.typing.NDArray[np.int32]"]:
        """Columns as a batch, every value in its series' scale, and the delivery of each row."""
        readings = Readings.of(columns.series, columns.time_ns, columns.value)
        message = np.asarray(columns.message, dtype=np.int32)
        if not self._scaled or not len(readings):
            return readings, message
        with np.errstate(over="ignore"):
            value = readings.value * self._factors[readings.series]
        sound = np.isfinite(value)
        if not sound.all():
            self._drops[Reason.VALUE_TOO_LARGE] += int((~sound).sum())
        return Readings(readings.series[sound], readings.time_ns[sound], value[sound]), message[sound]

    def forget(self) -> None:
        """Forget every factor and unit: for when slots were given to other series."""
        self.units.forget()
        self._factors = np.full(0, np.nan)
