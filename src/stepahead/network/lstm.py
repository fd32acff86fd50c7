"""One small network: an LSTM with a learned embedding per series and a linear skip around it.

Axes: B sequences, T steps, F features, E embedding, H hidden, L layers, K horizon. The LSTM is that of Hochreiter &
Schmidhuber (1997) with forget gates (Gers et al. 2000), in torch's parametrisation (gates i, f, g, o).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["EMBEDDED_SERIES", "Hidden", "MemberNetwork", "NetworkShape"]

EMBEDDED_SERIES = 1024
"""Rows of the embedding table. Series beyond that share rows (slot modulo rows): a table that grew with the series
would be millions of weights that see a gradient once a day."""

Hidden = tuple[Tensor, Tensor]
"""(h, c), each [L, B, H]."""


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Sizes that weights depend on; weights of another shape are refused.

    Attributes:
        features: F, input features of one step.
        hidden: H, units of a layer.
        layers: L, stacked layers.
        embedding: E, width of the embedding of a series; 0 = none.
        horizon: K, steps ahead that the head answers.
    """

    features: int
    hidden: int = 32
    layers: int = 1
    embedding: int = 4
    horizon: int = 1


class MemberNetwork(nn.Module):
    """Maps standardized steps to forecasts of the next K standardized differences, passing state through.

    The head reads [hidden, inputs, embedding] and starts at zero: an untrained network forecasts "no change" of the
    differenced value, which for order one is persistence, and its linear part alone can already be an autoregression.

    Args:
        shape: the sizes.
        seed: seed of the initial weights; no global generator is touched.

    Example:
        >>> network = MemberNetwork(NetworkShape(features=3, hidden=5), seed=1)
        >>> out, (h, c) = network(torch.zeros(2, 7, 3), torch.tensor([0, 1]))
        >>> tuple(out.shape), tuple(h.shape), float(out.detach().abs().max())
        ((2, 7, 1), (1, 2, 5), 0.0)
    """

    def __init__(self, shape: NetworkShape, seed: int) -> None:
        super().__init__()
        self.shape = shape
        inputs = shape.features + shape.embedding
        with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator when they are made
            self.lstm = nn.LSTM(inputs, shape.hidden, shape.layers, batch_first=True)
            self.head = nn.Linear(shape.hidden + inputs, shape.horizon)
        self.embedding = nn.Parameter(torch.empty(EMBEDDED_SERIES, shape.embedding))
        self._initialise(seed)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        bound = 1 / math.sqrt(self.shape.hidden)  # torch's own default for nn.LSTM
        for parameter in self.lstm.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
        self.embedding.normal_(generator=generator)
        self.head.weight.zero_()
        self.head.bias.zero_()

    def forward(self, inputs: Tensor, series: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Run whole sequences.

        Args:
            inputs: float32[B, T, F].
            series: int64[B], slot of each sequence.
            hidden: state before the first step; None = zeros.

        Returns:
            Forecasts float32[B, T, K] of standardized differences, and the state after the last step.
        """
        embedded = self.embedding[series % EMBEDDED_SERIES]  # [B, E]
        embedded = embedded.unsqueeze(1).expand(-1, inputs.shape[1], -1)  # [B, T, E]
        inputs = torch.cat((inputs, embedded), dim=-1)  # [B, T, F + E]
        out, hidden = self.lstm(inputs, hidden)  # out [B, T, H]
        return self.head(torch.cat((out, inputs), dim=-1)), hidden
