"""Memory of a process, and whether it still grows."""

from pathlib import Path

import numpy as np

__all__ = ["growth_share", "resident_bytes"]


def resident_bytes(pid: int | str = "self") -> int:
    """VmRSS of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def growth_share(samples: list[int]) -> float:
    """How much a line through the samples rises from first to last, as a share of their mean."""
    slope = np.polyfit(np.arange(len(samples)), np.array(samples, float), 1)[0]
    return float(slope * (len(samples) - 1) / np.mean(samples))
