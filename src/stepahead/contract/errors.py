"""The tree of errors.

```
StepaheadError
├── SettingsError        a setting is unknown, malformed or out of range      -> exit code 2
├── UsageError           a file, column, peer or flag that cannot be used     -> exit code 2
├── MissingExtraError    a feature was asked for whose packages are absent    -> exit code 2
├── BrokerError          the broker refused us, for good                      -> exit code 1
├── StateError           stored state is damaged or of another schema         -> exit code 1
├── FencedError          a shard of a cluster belongs to another process now  -> exit code 1
└── BrokenLawError       a promise of the engine was broken: a defect         -> exit code 1
```

A bad *message* is never an exception: it is counted by reason (see `stepahead.contract.reasons`).
"""

__all__ = [
    "BrokenLawError",
    "BrokerError",
    "FencedError",
    "MissingExtraError",
    "SettingsError",
    "StateError",
    "StepaheadError",
    "UsageError",
]


class StepaheadError(Exception):
    """Everything that stepahead raises on purpose."""

    exit_code = 1


class SettingsError(StepaheadError):
    """A setting is unknown, malformed or out of range; the text names key, value and what is allowed."""

    exit_code = 2


class UsageError(StepaheadError):
    """A file, column, peer or flag cannot be used; the text names it."""

    exit_code = 2


class MissingExtraError(StepaheadError):
    """A feature needs packages that are not installed; the text gives the command that installs them."""

    exit_code = 2

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra '{extra}': pip install 'stepahead[{extra}]'")


class BrokerError(StepaheadError):
    """The broker refused us in a way that trying again cannot mend."""


class StateError(StepaheadError):
    """Stored state is damaged or was written by another schema version."""


class FencedError(StepaheadError):
    """A shard of a cluster belongs to another process now: this one neither writes nor publishes for it any more."""


class BrokenLawError(StepaheadError):
    """A promise of the engine was broken, such as weights that are not finite: stop loudly."""
