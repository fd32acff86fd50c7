"""Where tests of what torch computes run: always on its CPU device, and on a GPU where there is one."""

import pytest
import torch

__all__ = ["DEVICES", "needs_cuda"]

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

DEVICES = [
    pytest.param(torch.device("cpu"), id="cpu"),
    pytest.param(torch.device("cuda", 0), id="cuda", marks=needs_cuda),
]
