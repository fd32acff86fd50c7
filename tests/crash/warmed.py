"""For the process that lives are forked from: all that they need is imported, and compiled loops are loaded.

Loading that takes some five seconds of each life otherwise: no fine-tune would end within a short one.
"""

import torch
import torch._dynamo  # which torch.optim imports when it is first used

from stepahead.forecasting.precompile import main
from tests.crash import doomed

__all__ = ["doomed"]

torch.set_num_threads(1)  # a process that has threads of its own cannot be forked
main(layers=(1,))
