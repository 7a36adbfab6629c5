"""The gradient of each sample of a batch by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpcad.autodiff.links import LINKS
from hpcad.autodiff.pytree import flatten, tree_map
from hpcad.autodiff.tensor import value_of
from hpcad.autodiff.transforms.grad import grad
from hpcad.autodiff.transforms.linearization import record
from hpcad.autodiff.transforms.primals import as_primals, restrict
from hpcad.backend import backend_of
from hpcad.errors import ShapeError


def per_sample_grad(
    function: Callable[..., Any], argnum: int = 0, *, batched: bool = False
) -> Callable[..., Any]:
    """Return the gradients of a loss for each sample of a batch, stacked.

    Parameters
    ----------
    function : callable
        ``function(params, *samples)``. Without ``batched`` it takes one sample and returns its
        loss. With ``batched`` it takes the batch and ``params`` that have a leading axis for the
        samples, too (each sample has its own copy), and returns the losses in shape (batch,):
        ``matmul(x[:, None, :], w)[:, 0]`` instead of ``matmul(x, w)``, say.
    argnum : int
        Which argument is the parameters: a pytree, the same for all samples. All others are
        pytrees of arrays whose first axis counts samples.
    batched : bool
        One pass for all samples, instead of one each.

    Returns
    -------
    callable
        Called like ``function``, with parameters without the leading axis; returns a tree like
        these with a leading axis.

    Raises
    ------
    ShapeError
        The arguments disagree about the number of samples, or a batched function did not return
        one loss for each.

    Notes
    -----
    The loop is always right, and costs as many small passes as there are samples. The batched
    form costs one large pass: the copies of the parameters take no memory, their gradients do,
    which is the size of the result. It is right if no sample's loss depends on another sample
    (no batch normalization); that is not checked.
    """

    def differentiated(*args: Any) -> Any:
        restricted, (params,), (position,) = restrict(function, args, {}, (argnum,))
        rest = [arg for i, arg in enumerate(args) if i != position]
        count = _count(rest)
        if batched:
            return _at_once(restricted, params, position, count)
        samples = [tree_map(lambda x, i=i: x[i], rest) for i in range(count)]
        if not samples:
            leaves, structure = as_primals((params,), [position])
            empty = [_zeros((0, *x.shape), x) for x in leaves]
            return structure.build(empty)[0]
        found = [
            grad(function, position)(*sample[:position], params, *sample[position:])
            for sample in samples
        ]
        return tree_map(lambda *parts: LINKS.stack(list(parts), 0), *found)

    return differentiated


def _at_once(restricted: Callable[..., Any], params: Any, position: int, count: int) -> Any:
    """Every sample gets its own copy of the parameters; the losses are summed."""
    leaves, structure = as_primals((params,), [position])
    copies = structure.build([LINKS.broadcast_to(x, (count, *x.shape)) for x in leaves])
    losses, linear, _ = record(restricted, copies, positions=[position])
    if np.shape(losses) != (count,):
        raise ShapeError(
            f"with batched=True the function must return one loss for each of {count} samples, in "
            f"shape ({count},), not {np.shape(losses)}"
        )
    value = value_of(losses)
    ones = backend_of(value).xp.ones_like(value)
    return structure.build(linear.pull([ones], retain=False))[0]


def _count(rest: list[Any]) -> int:
    lengths = {tuple(np.shape(x)[:1]) for x in flatten(rest)[0]}
    if len(lengths) != 1 or () in lengths:
        raise ShapeError(
            "per_sample_grad needs samples along the first axis of every array but the "
            f"parameters, as many everywhere; the first axes are {sorted(lengths) or 'missing'}"
        )
    return lengths.pop()[0]


def _zeros(shape: tuple[int, ...], like: Any) -> Any:
    value = value_of(like)
    return backend_of(value).xp.zeros(shape, value.dtype)
