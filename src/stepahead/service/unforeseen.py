"""What is said of a message that our decoder could not cope with."""

from stepahead.telemetry.log import Log

__all__ = ["Unforeseen"]

SAID = 10
"""So many are told with topic and payload; the others are in the count of what was dropped."""
SHOWN_BYTES = 200


class Unforeseen:
    """Logs messages over which the decoder stumbled, so that the defect can be found.

    Args:
        log: told.

    Example:
        >>> import sys
        >>> from stepahead.telemetry.log import make_log
        >>> Unforeseen(make_log(sys.stdout))(b"plant/pump", b"21", KeyError(3))  # doctest: +ELLIPSIS
        2... error unforeseen topic=plant/pump error=KeyError(3) payload=21
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._left = SAID

    def __call__(self, topic: bytes, payload: bytes, error: Exception) -> None:
        """Take a message and what was raised over it."""
        if self._left:
            self._left -= 1
            shown = payload[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
            where = topic.decode("utf-8", "backslashreplace")
            self._log.error("unforeseen", topic=where, error=repr(error)[:SHOWN_BYTES], payload=shown)
