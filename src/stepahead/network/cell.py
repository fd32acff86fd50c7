"""The LSTM cell around its matrix product, compiled: rows gathered from the bank, gates applied, state written back.

Axes: n series of a block, M members, T steps, F features, E embedding, L layers, H hidden, K horizon.
"""

from typing import Any

import numpy as np

from stepahead.contract.compiled import compiled_freely
from stepahead.contract.sums import product

__all__ = ["apply_gates", "apply_head", "gather_above", "gather_first", "rerun_layer", "tanh"]

FARTHEST = np.float32(7.90531110763549805)
ZERO, HALF = np.float32(0.0), np.float32(0.5)
A1, A3, A5, A7 = map(
    np.float32, (4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08)
)
A9, A11, A13 = map(np.float32, (-8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16))
B0, B2, B4, B6 = map(
    np.float32, (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)


@compiled_freely
def tanh(x: Any) -> Any:
    """Hyperbolic tangent of a float32, to 4e-7; eight at once where the compiler has vectors for it.

    Source: `ptanh` of the C++ library Eigen, an odd polynomial of degree 13 over an even one of degree 6.
    """
    x = min(max(x, -FARTHEST), FARTHEST)
    s = x * x
    above = x * (A1 + s * (A3 + s * (A5 + s * (A7 + s * (A9 + s * (A11 + s * A13))))))
    return above / (B0 + s * (B2 + s * (B4 + s * B6)))


@compiled_freely
def gather_first(operand: Any, inputs: Any, embedding: Any, series: Any, state: Any, rows: Any) -> None:
    """Fill float32[M, n, F + E + H] with inputs, embedding and the lowest layer's h."""
    F, E, H = inputs.shape[1], embedding.shape[2], state.shape[4]
    for i in range(len(rows)):
        place = series[i] % embedding.shape[1]
        for m in range(len(operand)):
            row, embedded, h = operand[m, i], embedding[m, place], state[rows[i], m, 0, 0]
            for j in range(F):
                row[j] = inputs[i, j]
            for j in range(E):
                row[F + j] = embedded[j]
            for j in range(H):
                row[F + E + j] = h[j]


@compiled_freely
def gather_above(operand: Any, state: Any, rows: Any, layer: int) -> None:
    """Fill float32[M, n, 2H] with the new h of the layer below and this layer's h."""
    H = state.shape[4]
    for i in range(len(rows)):
        for m in range(len(operand)):
            row, below, h = operand[m, i], state[rows[i], m, 0, layer - 1], state[rows[i], m, 0, layer]
            for j in range(H):
                row[j] = below[j]
                row[H + j] = h[j]


@compiled_freely
def apply_gates(gates: Any, bias: Any, state: Any, rows: Any, layer: int) -> None:
    """Advance (h, c) of a layer in place by gates float32[M, n, 4H], in torch's order i, f, g, o, and their biases."""
    for i in range(len(rows)):
        for m in range(len(gates)):
            advance(gates[m, i], bias[m], state[rows[i], m, 0, layer], state[rows[i], m, 1, layer])


@compiled_freely
def advance(gate: Any, bias: Any, h: Any, c: Any) -> None:
    """Advance (h, c) of one series, float32[H] each."""
    H = len(h)
    for j in range(H):
        # The logistic function is a tangent of half the argument, so that one rational function serves all.
        enter = HALF + HALF * tanh(HALF * (gate[j] + bias[j]))
        keep = HALF + HALF * tanh(HALF * (gate[H + j] + bias[H + j]))
        leave = HALF + HALF * tanh(HALF * (gate[3 * H + j] + bias[3 * H + j]))
        cell = keep * c[j] + enter * tanh(gate[2 * H + j] + bias[2 * H + j])
        c[j] = cell
        h[j] = leave * tanh(cell)


@compiled_freely
def rerun_layer(
    steps: Any, constant: Any, matrix: Any, bias: Any, state: Any, rows: Any, member: int, layer: int, out: Any
) -> None:
    """Run a layer over whole sequences, from a blank (h, c) to what it is after the last step, one series at a time.

    Args:
        steps: float32[n, T, F], what the layer is shown at each step.
        constant: float32[n, E], what it is shown at every step.
        matrix: float32[F + E + H, 4H].
        bias: float32[4H].
        state: float32[capacity, M, 2, L, H], written at `rows`.
        rows: int[n].
        member, layer: which.
        out: float32[n, T, H], h after each step.
    """
    shown, E, H = steps.shape[2], constant.shape[1], state.shape[4]
    base, gate = np.empty(4 * H, np.float32), np.empty(4 * H, np.float32)
    for i in range(len(rows)):
        h, c = state[rows[i], member, 0, layer], state[rows[i], member, 1, layer]
        h[:] = 0
        c[:] = 0
        base[:] = 0
        add_product(base, constant[i], matrix[shown : shown + E])
        for t in range(steps.shape[1]):
            gate[:] = base
            add_product(gate, steps[i, t], matrix[:shown])
            add_product(gate, h, matrix[shown + E :])
            advance(gate, bias, h, c)
            out[i, t] = h


@compiled_freely
def add_product(total: Any, x: Any, matrix: Any) -> None:
    """Add x float32[I] times a matrix float32[I, J] to float32[J]; four rows at a time, or memory is the limit."""
    fours = len(x) - len(x) % 4
    for k in range(0, fours, 4):
        a, b, c, d = matrix[k], matrix[k + 1], matrix[k + 2], matrix[k + 3]
        for j in range(len(total)):
            total[j] = total[j] + x[k] * a[j] + x[k + 1] * b[j] + x[k + 2] * c[j] + x[k + 3] * d[j]
    for k in range(fours, len(x)):
        a = matrix[k]
        for j in range(len(total)):
            total[j] += x[k] * a[j]


@compiled_freely
def apply_head(out: Any, weight: Any, bias: Any, operand: Any, state: Any, rows: Any) -> None:
    """Answer float32[n, M, K]: the linear head on [h of the highest layer, inputs, embedding].

    Args:
        out: where the answer goes.
        weight, bias: float32[M, K, H + F + E] and [M, K].
        operand: of the lowest layer: inputs and embedding stand first in its rows.
        state: after the gates.
        rows: of the state.
    """
    H, top = state.shape[4], state.shape[3] - 1
    for i in range(len(rows)):
        for m in range(len(operand)):
            h = state[rows[i], m, 0, top]
            for k in range(bias.shape[1]):
                w = weight[m, k]
                out[i, m, k] = product(w, h, H, bias[m, k]) + product(w[H:], operand[m, i], len(w) - H, ZERO)
