"""Where torch computes: the setting `engine.device` as a device that is there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch

from stepahead.contract.errors import SettingsError

__all__ = ["CPU", "device_of", "full_precision"]

CPU = torch.device("cpu")


def device_of(name: str, seen: Sequence[str] | None = None) -> torch.device:
    """The device that `engine.device` names.

    Args:
        name: "cpu", "cuda" (the first one) or "cuda:1".
        seen: names of the CUDA devices; None = ask torch, which is not asked for "cpu".

    Raises:
        SettingsError: it is not there; the text says what torch sees.

    Example:
        >>> device_of("cpu"), device_of("cuda", seen=["GPU of an example"])
        (device(type='cpu'), device(type='cuda', index=0))
        >>> device_of("cuda:1", seen=[])
        Traceback (most recent call last):
            ...
        stepahead.contract.errors.SettingsError: engine.device = 'cuda:1': torch ... sees no CUDA device
    """
    if name == "cpu":
        return CPU
    index = int(name.partition(":")[2] or 0)
    names = cuda_devices() if seen is None else seen
    if index >= len(names):
        listed = ", ".join(f"cuda:{at} ({text})" for at, text in enumerate(names))
        build = f"torch {torch.__version__}" + ("" if torch.version.cuda else ", a build without CUDA,")
        raise SettingsError(f"engine.device = {name!r}: {build} sees {f'only {listed}' if names else 'no CUDA device'}")
    return torch.device("cuda", index)


def cuda_devices() -> list[str]:
    """Names of the CUDA devices that torch can use."""
    return [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]


def full_precision() -> AbstractContextManager[None]:
    """Within it cuDNN keeps all 24 bits of a float32: by default its LSTM rounds factors to 11 (TF32)."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
