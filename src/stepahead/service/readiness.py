"""Whether the service is alive and ready, with reasons."""

from stepahead.contract.settings import Settings
from stepahead.dashboard.view import Verdict
from stepahead.service.watch import Picture

__all__ = ["alive", "ready"]

DEAD_S = 180.0
"""A turn may hold a fine-tune in line (the deterministic setting) of `learning.max_seconds` per member; one this long
is stuck."""
LATE_S = 15.0


def alive(picture: Picture | None, now_s: float, began_s: float) -> Verdict:
    """Whether the loop has turned within the last three minutes.

    Args:
        picture: the newest.
        now_s: monotonic seconds.
        began_s: when the service began.

    Example:
        >>> alive(None, 10.0, 0.0).fine, alive(None, 1000.0, 0.0).reasons
        (True, ('the loop has not turned for 1000 s',))
    """
    since_s = now_s - (began_s if picture is None else picture.at_s)
    return Verdict(since_s <= DEAD_S, () if since_s <= DEAD_S else (f"the loop has not turned for {since_s:.0f} s",))


def ready(picture: Picture | None, settings: Settings, now_s: float) -> Verdict:
    """Whether the session is up, the lag small and what was learned safe.

    Args:
        picture: the newest; None = the loop has not begun.
        settings: `http.ready_lag_s`, `http.ready_snapshot_s`.
        now_s: monotonic seconds.
    """
    if picture is None:
        return Verdict(False, ("starting",))
    http, durability, reasons = settings.http, picture.durability, []
    if not picture.connected:
        reasons.append("no connection to the broker")
    if now_s - picture.at_s > LATE_S:
        reasons.append(f"the loop has not turned for {now_s - picture.at_s:.0f} s")
    lag_s = picture.fields["lag_s"]
    # Without new readings the lag is that of the last one, and says nothing of now.
    moving = picture.fields["waiting"] or picture.fields["readings_per_second"]
    if lag_s is not None and moving and lag_s > http.ready_lag_s:
        reasons.append(f"the lag is {lag_s:.1f} s, more than {http.ready_lag_s:g} s")
    age_s = durability["snapshot_age_s"]
    if age_s is not None and age_s > http.ready_snapshot_s:
        reasons.append(f"the newest snapshot is {age_s:.0f} s old, more than {http.ready_snapshot_s:g} s")
    if durability["trouble"] is not None:
        reasons.append(f"the disk refuses: {durability['trouble']}")
    return Verdict(not reasons, tuple(reasons))
