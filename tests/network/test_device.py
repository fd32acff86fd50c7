"""A device that was asked for is there, or the start is refused in one sentence."""

import pytest
import torch

from stepahead.contract.errors import SettingsError
from stepahead.network.device import device_of, full_precision
from tests.devices import needs_cuda


def refused(name: str, seen: list[str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        device_of(name, seen)
    return str(caught.value)


def test_the_cpu_is_always_there_and_a_name_without_number_is_the_first_gpu() -> None:
    assert device_of("cpu", seen=[]) == torch.device("cpu")
    assert device_of("cuda", seen=["one", "two"]) == torch.device("cuda", 0)
    assert device_of("cuda:1", seen=["one", "two"]) == torch.device("cuda", 1)


def test_what_is_not_there_is_refused_with_what_torch_sees() -> None:
    told = refused("cuda", seen=[])
    assert told.startswith(f"engine.device = 'cuda': torch {torch.__version__}")
    assert told.endswith("sees no CUDA device")
    assert refused("cuda:2", seen=["one", "two"]).endswith("sees only cuda:0 (one), cuda:1 (two)")


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built with CUDA")
def test_a_build_without_cuda_is_named() -> None:
    assert "a build without CUDA, sees no CUDA device" in refused("cuda")


@needs_cuda
def test_a_gpu_that_is_there_is_found_and_one_more_than_there_are_is_not() -> None:
    count = torch.cuda.device_count()
    assert device_of(f"cuda:{count - 1}") == torch.device("cuda", count - 1)
    assert torch.cuda.get_device_name(0) in refused(f"cuda:{count}")


def test_factors_are_not_rounded_within_full_precision_and_the_flags_come_back() -> None:
    before = torch.backends.cudnn.allow_tf32
    with full_precision():
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.enabled
    assert torch.backends.cudnn.allow_tf32 == before
