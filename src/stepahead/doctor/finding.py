"""What a check has to say: how bad it is, what is so, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Severity"]


class Severity(StrEnum):
    """How bad a finding is; a note alone leaves the exit code at 0."""

    ERROR = "error"
    """Readings or forecasts are lost, or nothing works."""
    WARNING = "warning"
    """Something is lost or slow under circumstances that will come."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        check: name of the check, stable, for machines.
        severity: how bad.
        what: one sentence that says what is so.
        do: one sentence that says what to do.
    """

    check: str
    severity: Severity
    what: str
    do: str
