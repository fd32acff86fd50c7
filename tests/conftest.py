"""One thread for torch: its results must not depend on the machine, and small products are slower with two."""

import torch

torch.set_num_threads(1)
