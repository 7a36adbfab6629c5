"""Recurrent layers: an ordinary Python loop over time.

The products with the input are one GEMM for all times; only the recurrent product stays in the
loop. Inputs are (N, T, features), outputs (N, T, hidden).
"""

from __future__ import annotations

from typing import Any

from hpcad.autodiff import value_of
from hpcad.backend import backend_of
from hpcad.nn import initializers as init
from hpcad.nn.module import InitializedParameter, Module
from hpcad.nn.precision import half_type_of
from hpcad.primitives.elementwise import add, multiply, sigmoid, subtract, tanh
from hpcad.primitives.joining import split, stack, unstack
from hpcad.primitives.product import linear


class Recurrent(Module):
    """Shared by the recurrent layers: weights of all gates side by side.

    Parameters
    ----------
    inputs, hidden : int
    """

    gates = 1

    def __init__(self, inputs: int, hidden: int) -> None:
        width = self.gates * hidden
        self.input_weight = InitializedParameter((inputs, width), init.glorot_uniform)
        self.recurrent_weight = InitializedParameter((hidden, width), init.glorot_uniform)
        self.bias = InitializedParameter((width,), init.zeros)
        self.hidden = hidden

    def forward(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        """Run over all times.

        Parameters
        ----------
        x : array, shape (N, T, inputs)
        state : optional
            As returned by an earlier call (use ``.detach()`` on it to cut the history).

        Returns
        -------
        outputs : array, shape (N, T, hidden)
        state : final state
        """
        if state is None:
            state = self.initial_state(x)
        outputs = []
        inputs = linear(x, self.input_weight, self.bias, dtype=half_type_of(x))
        for x_t in unstack(inputs, axis=1):
            state = self.cell(x_t, state)
            outputs.append(self.output(state))
        return stack(outputs, axis=1), state

    def initial_state(self, x: Any) -> Any:
        """Zeros, shape (N, hidden)."""
        values = value_of(x)
        half = half_type_of(x)
        dtype = self.bias.dtype if half is None else half
        return backend_of(values).zeros((x.shape[0], self.hidden), dtype)

    def cell(self, x_t: Any, state: Any) -> Any:
        """One step: the input's product with its weights, and the state before."""
        raise TypeError(f"{type(self).__name__} defines no cell(self, x_t, state)")

    def output(self, state: Any) -> Any:
        """The part of the state that is the output."""
        return state

    def recur(self, h: Any) -> Any:
        """The recurrent product ``h U``."""
        return linear(h, self.recurrent_weight, dtype=half_type_of(h))

    def split(self, x: Any) -> tuple[Any, ...]:
        """The columns of each gate."""
        return split(x, self.gates, axis=1)


class RNN(Recurrent):
    """``h_t = tanh(x_t W + h_{t-1} U + b)`` (Elman, 1990)."""

    def cell(self, x_t: Any, state: Any) -> Any:
        return tanh(add(x_t, self.recur(state)))


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate of Gers, 2000).

    ``i, f, o = sigmoid(...)``, ``g = tanh(...)``, ``c = f c + i g``, ``h = o tanh(c)``; the
    state is the pair (h, c).
    """

    gates = 4

    def initial_state(self, x: Any) -> Any:
        zeros = super().initial_state(x)
        return zeros, zeros

    def output(self, state: Any) -> Any:
        return state[0]

    def cell(self, x_t: Any, state: Any) -> Any:
        h, c = state
        z = add(x_t, self.recur(h))
        i, f, o, g = self.split(z)
        c = add(multiply(sigmoid(f), c), multiply(sigmoid(i), tanh(g)))
        return multiply(sigmoid(o), tanh(c)), c


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al., arXiv:1406.1078), reset after the product.

    ``r, u = sigmoid(...)``, ``n = tanh(x W_n + r (h U_n))``, ``h = (1 - u) n + u h``.
    """

    gates = 3

    def cell(self, x_t: Any, state: Any) -> Any:
        (x_r, x_u, x_n), (h_r, h_u, h_n) = self.split(x_t), self.split(self.recur(state))
        r, u = sigmoid(add(x_r, h_r)), sigmoid(add(x_u, h_u))
        n = tanh(add(x_n, multiply(r, h_n)))
        return add(n, multiply(u, subtract(state, n)))
