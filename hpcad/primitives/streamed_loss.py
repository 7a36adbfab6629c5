"""Cross-entropy for programs of devices: one visit of the logits forward, and one back.

The way back needs, of each row, the logarithm of the sum of exponentials; probabilities are never
written. These two have no derivative rules: programs take them where a plain
:func:`~hpcad.primitives.softmax.cross_entropy` is differentiated once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.conversion import CAPTURED
from hpcad.autodiff.primitive import Primitive
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.backend import backend_of
from hpcad.backend.half import is_real
from hpcad.primitives.precision import widened


def _hot(logits: Any, labels: Any) -> Any:
    return backend_of(logits).xp.arange(logits.shape[-1]) == labels[..., None]


def _forward(logits: Any, labels: Any) -> tuple[Any, Any]:
    x = widened(logits)
    top = x.max(axis=-1, keepdims=True)
    log_sums = np.log(np.exp(x - top).sum(axis=-1)) + top[..., 0]
    return log_sums - (x * _hot(x, labels)).sum(axis=-1), log_sums


def _backward(logits: Any, labels: Any, log_sums: Any, g: Any) -> Any:
    p = np.exp(widened(logits) - log_sums[..., None])
    return ((p - _hot(p, labels)) * g[..., None]).astype(logits.dtype)


#: ``losses, log_sums = streamed_loss(logits, labels)``, float32 of logits in half precision.
streamed_loss = Primitive(
    "streamed_loss", _forward, None, outputs=True, constant=True, register=False
)

#: The cotangent of the logits, in their type, from the cotangent ``g`` of the losses.
streamed_loss_back = Primitive("streamed_loss_back", _backward, None, constant=True, register=False)


def is_streamed(logits: Any, labels: Any, g: Any = None) -> bool:
    """Whether the kernels of a device take these, and nobody differentiates what they compute.

    Parameters
    ----------
    logits, labels : array
    g : array, optional
        The cotangent of the losses; a constant, where their sum or mean is differentiated.
    """
    if not all(isinstance(x, Tensor) and x.level == CAPTURED for x in (logits, labels)):
        return False
    if isinstance(g, Tensor) and g.level != CAPTURED:
        return False
    if not backend_of(value_of(logits)).on_device or not is_real(logits.dtype):
        return False
    shaped = tuple(labels.shape) == tuple(logits.shape[:-1]) and 0 not in logits.shape
    return shaped and labels.dtype in (np.int32, np.int64)
