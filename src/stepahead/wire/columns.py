"""Columns under construction: rows are appended by the formats, and become a batch at the end."""

from dataclasses import dataclass, field

__all__ = ["Columns"]


@dataclass(slots=True)
class Columns:
    """Growing columns of readings.

    Attributes:
        series: slots.
        time_ns: UTC nanoseconds.
        value: finite.
        message: index of the delivery that a row came in.
    """

    series: list[int] = field(default_factory=list)
    time_ns: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    message: list[int] = field(default_factory=list)

    def cut(self, length: int) -> None:
        """Take back all rows from this one on."""
        for column in (self.series, self.time_ns, self.value, self.message):
            del column[length:]

    def add(self, slot: int, time_ns: int, value: float, message: int) -> None:
        """Append a row."""
        self.series.append(slot)
        self.time_ns.append(time_ns)
        self.value.append(value)
        self.message.append(message)
