"""One thread for torch: its results must not depend on the machine, and small products are slower with two."""

import hypothesis
import pytest
import torch

torch.set_num_threads(1)

# An example that is the first to call a compiled loop waits seconds for the compiler.
hypothesis.settings.register_profile("compiled", deadline=None)
hypothesis.settings.load_profile("compiled")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms of the tests that have one: minutes each")


@pytest.fixture(scope="session")
def long_form(request: pytest.FixtureRequest) -> bool:
    """Whether the long forms were asked for."""
    return bool(request.config.getoption("--long"))
