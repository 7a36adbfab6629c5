"""JAX's training step: forward, backward, clipping and optimizer in one compiled function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax_nets import build
from step_cases import Case


def make(case: Case, threads: int, **options: Any) -> JaxStep:
    """Return the step of a contender; its threads are as many as the cores it may run on."""
    return JaxStep(case, **options)


class JaxStep:
    """The whole step under ``jax.jit``, weights and state of the optimizer donated.

    Parameters
    ----------
    case : Case
    options
        See :func:`jax_nets.build`.
    """

    def __init__(self, case: Case, **options: Any) -> None:
        self.case = case
        self.net, weights = build(case, **options)
        zeros = {name: jnp.zeros_like(w) for name, w in weights.items()}
        again = {name: jnp.zeros_like(w) for name, w in weights.items()}  # donated: no sharing
        self.state = (weights, zeros, again, jnp.zeros((), jnp.float32))
        self.step = jax.jit(self._step, donate_argnums=0)

    def prepare(self, batch: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
        """Return the batch as this contender takes it; not timed."""
        x, y = batch["x"], batch["y"].astype(np.int32)
        return jnp.array(x.astype(np.int32) if self.case.tokens else x), jnp.array(y)

    def __call__(self, batch: tuple[Any, Any]) -> float:
        """Take one step and return its loss."""
        self.state, loss = self.step(self.state, *batch)
        return float(loss)

    def _step(self, state: tuple[Any, ...], x: Any, y: Any) -> tuple[tuple[Any, ...], Any]:
        weights, m, v, count = state
        loss, gradients = jax.value_and_grad(self._loss)(weights, x, y)
        gradients, count = self._clipped(gradients), count + 1
        updated = {
            name: self._adam(weights[name], gradients[name], m[name], v[name], count)
            for name in weights
        }
        parts = tuple({name: new[i] for name, new in updated.items()} for i in range(3))
        return (*parts, count), loss

    def _loss(self, weights: Any, x: Any, y: Any) -> Any:
        logits = self.net(weights, x)
        chosen = jnp.take_along_axis(logits, y[..., None], -1)[..., 0]
        return (jax.nn.logsumexp(logits, -1) - chosen).mean()

    def _clipped(self, gradients: Any) -> Any:
        limit = self.case.clip_norm
        if limit is None:
            return gradients
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in gradients.values()))
        scale = jnp.minimum(1.0, limit / norm)
        return {name: g * scale for name, g in gradients.items()}

    def _adam(self, p: Any, g: Any, m: Any, v: Any, count: Any) -> tuple[Any, Any, Any]:
        (b1, b2), rate = self.case.betas, self.case.learning_rate
        if self.case.weight_decay and p.ndim >= 2:
            p = p * (1.0 - rate * self.case.weight_decay)
        m = b1 * m + (1.0 - b1) * g
        v = b2 * v + (1.0 - b2) * jnp.square(g)
        corrected = jnp.sqrt(v / (1.0 - b2**count)) + 1e-8
        return p - rate / (1.0 - b1**count) * m / corrected, m, v


def describe() -> str:
    """Versions of JAX and of its compiled part."""
    return f"JAX {jax.__version__}, jaxlib {jax.lib.__version__}"
