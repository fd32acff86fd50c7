"""Why a reading or a message was not forecast: every drop is counted under one of these names."""

from collections import Counter
from enum import StrEnum

__all__ = ["DropCounter", "Reason"]


class Reason(StrEnum):
    """Names of the drop counters; they are metric labels and do not change."""

    # A whole message.
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    NOT_UTF8 = "not_utf8"
    NOT_DECODABLE = "not_decodable"
    NO_READING = "no_reading"
    OWN_OUTPUT = "own_output"
    ASK_INVALID = "ask_invalid"
    UNFORESEEN = "unforeseen"
    # One reading in a message.
    VALUE_MISSING = "value_missing"
    VALUE_NOT_NUMBER = "value_not_number"
    VALUE_NOT_FINITE = "value_not_finite"
    VALUE_TOO_LARGE = "value_too_large"
    TIME_NOT_DECODABLE = "time_not_decodable"
    TIME_ABSURD = "time_absurd"
    QUALITY_BAD = "quality_bad"
    UNIT_OTHER = "unit_other"
    TYPE_SKIPPED = "type_skipped"
    KEY_INVALID = "key_invalid"
    TOO_MANY_SERIES = "too_many_series"
    # One metric of an edge node (Sparkplug B); the last counts lost messages, whose readings nobody can count.
    BEFORE_BIRTH = "before_birth"
    SESSION_OVER = "session_over"
    ALIAS_UNKNOWN = "alias_unknown"
    SEQUENCE_GAP = "sequence_gap"
    # Found by the engine, per series.
    DUPLICATE = "duplicate"
    LATE = "late"


class DropCounter(Counter[Reason]):
    """How often each reason struck; a plain `Counter` whose keys are `Reason`.

    Example:
        >>> drops = DropCounter()
        >>> drops[Reason.LATE] += 2
        >>> drops.as_dict()
        {'late': 2}
    """

    def as_dict(self) -> dict[str, int]:
        """Counts by reason name, zero counts left out, sorted by name."""
        return {str(reason): count for reason, count in sorted(self.items()) if count}
