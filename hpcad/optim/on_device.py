"""The update on a device: all numbers of a step lie in its memory, and nobody waits for it.

A kernel's run-time numbers would be baked into a CUDA graph that it is captured in. So the kernels
of an update read them from memory, where the host puts them before each step, and the global norm
of the gradient, by which it is clipped, never leaves the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpcad.backend import Array, Backend
from hpcad.nn.arena import ParameterArena
from hpcad.optim.compiled import Pass
from hpcad.optim.decision import decision_kernel, left_out_by
from hpcad.optim.loss_scale import LossScale
from hpcad.program.device.staging import Staging
from hpcad.program.kernels.ir import Kernel, Node, Operand, Store

_SIZE = 8  # bytes of a float64


def with_numbers_in_memory(kernel: Kernel) -> Kernel:
    """The same kernel with an operand, of one float64, in the place of each run-time number."""
    still = (0,) * len(kernel.extents)
    operands = (*kernel.operands, *(Operand("float64", still) for _ in kernel.scalars))
    nodes: list[Node] = []
    place: list[int] = []
    for node in kernel.nodes:
        if node.op == "scalar":
            nodes.append(Node("load", (), "float64", len(kernel.operands) + node.detail))
            if node.dtype != "float64":
                nodes.append(Node("cast", (len(nodes) - 1,), node.dtype))
        else:
            nodes.append(Node(node.op, tuple(place[a] for a in node.args), node.dtype, node.detail))
        place.append(len(nodes) - 1)
    stores = tuple(Store(place[s.node], s.operand, s.reduce, s.accumulate) for s in kernel.stores)
    return Kernel(kernel.extents, operands, (), tuple(nodes), stores)


def clip_kernel(arenas: int, clip_norm: float) -> Kernel:
    """From the squares of each arena's gradients to the factor ``min(1, clip_norm / norm)``.

    Operands: the squares of each arena, the factor, the norm; float64, one number each. A norm
    that is no number leaves the gradient as it is, and the loss shows it.
    """
    nodes = [Node("load", (), "float64", i) for i in range(arenas)]
    total = 0
    for i in range(1, arenas):
        nodes.append(Node("add", (total, i), "float64"))
        total = len(nodes) - 1
    norm = len(nodes)
    nodes += [
        Node("sqrt", (total,), "float64"),
        Node("literal", (), "float64", clip_norm),
        Node("greater", (norm, norm + 1), "bool"),
        Node("divide", (norm + 1, norm), "float64"),
        Node("literal", (), "float64", 1.0),
        Node("where", (norm + 2, norm + 3, norm + 4), "float64"),
    ]
    operands = (Operand("float64", (1,)),) * (arenas + 2)
    stores = (Store(norm + 5, arenas), Store(norm, arenas + 1))
    return Kernel((1,), operands, (), tuple(nodes), stores)


class DeviceUpdate:
    """The update of all arenas, as work for the current stream.

    Parameters
    ----------
    backend : Backend
    arenas : sequence of ParameterArena
    slots : sequence of sequences of arrays
        The state of each arena.
    plans : sequence of lists of Pass
        As for the host; see :func:`hpcad.optim.compiled.update_pass`.
    norms : sequence of Kernel or None
        That sum the squares of an arena's gradients, where gradients are clipped.
    clip_norm : float or None
    loss_scale : LossScale or None
    load : callable
        From kernels to things with ``bind(pointers)``.
    """

    def __init__(
        self,
        backend: Backend,
        arenas: Sequence[ParameterArena],
        slots: Sequence[Sequence[Array]],
        plans: Sequence[list[Pass]],
        norms: Sequence[Kernel | None],
        clip_norm: float | None,
        loss_scale: LossScale | None,
        load: Callable[[list[Kernel]], Sequence[Any]],
    ) -> None:
        passes = [(i, each) for i, plan in enumerate(plans) for each in plan]
        # The numbers of a step, the last of them the clip factor; the norm; squares of each arena.
        self._count = max((len(each.kernel.scalars) for _, each in passes), default=1)
        self._memory = backend.zeros((self._count + 1 + len(arenas),), np.float64)
        self._memory[self._count - 1 : self._count] = 1.0
        factor = _factor_kernel(len(arenas), clip_norm, loss_scale)
        given = self._count if factor is None else self._count - 1
        self._staging = Staging(backend.xp, self._memory[:given])
        squares = [norm for norm in norms if norm is not None and factor is not None]
        updates = [_update_kernel(each, loss_scale) for _, each in passes]
        wanted = list(dict.fromkeys([*squares, *([] if factor is None else [factor]), *updates]))
        loaded = dict(zip(wanted, load(wanted), strict=True))
        masks = [None if e.mask is None else backend.asarray(e.mask) for _, e in passes]
        self._held = (arenas, slots, masks, loss_scale)  # the kernels know only addresses
        self._calls: list[Callable[[], None]] = [
            loaded[norm].bind([arenas[i].grads.flat.data.ptr, self._square(i)])
            for i, norm in enumerate(squares)
        ]
        if factor is not None:
            self._calls.append(loaded[factor].bind(self._factor_places(len(arenas), loss_scale)))
        for (i, each), kernel, mask in zip(passes, updates, masks, strict=True):
            arrays = (arenas[i].values.flat, arenas[i].grads.flat, *slots[i])
            self._calls.append(loaded[kernel].bind(self._update_places(each, arrays, mask)))

    def _factor_places(self, arenas: int, loss_scale: LossScale | None) -> list[int]:
        """Squares, factor and norm; and what a loss scale is."""
        places = [self._square(i) for i in range(arenas)]
        places += [self._number(self._count - 1), self._number(self._count)]
        if loss_scale is None:
            return places
        state = (loss_scale.scale, loss_scale.good, loss_scale.skipped)
        return places + [array.data.ptr for array in state]

    def _update_places(self, each: Pass, arrays: Sequence[Array], mask: Array | None) -> list[int]:
        places = [array.data.ptr + each.start * array.itemsize for array in arrays]
        places += [] if mask is None else [mask.data.ptr]
        return places + [self._number(n) for n in range(len(each.kernel.scalars))]

    def _square(self, arena: int) -> int:
        """The address of the squares of an arena's gradients."""
        return self._number(self._count + 1 + arena)

    def _number(self, place: int) -> int:
        """The address of a number."""
        return self._memory.data.ptr + _SIZE * place

    def put(self, numbers: Sequence[float]) -> None:
        """Send the numbers of a step, without the clip factor, ahead of it."""
        given = [*numbers, 1.0][: self._staging.place.size]
        self._staging.put(np.array(given, np.float64))

    def enqueue(self) -> None:
        """Take one step; the same launches every time."""
        for call in self._calls:
            call()

    @property
    def norm(self) -> Array:
        """The norm of the gradient before it was clipped, shape (), in the device's memory."""
        return self._memory[self._count]


def _factor_kernel(
    arenas: int, clip_norm: float | None, loss_scale: LossScale | None
) -> Kernel | None:
    """What makes the factor on gradients; None where they stay as they are."""
    if loss_scale is not None:
        return decision_kernel(arenas, clip_norm, loss_scale.interval)
    return None if clip_norm is None else clip_kernel(arenas, clip_norm)


def _update_kernel(each: Pass, loss_scale: LossScale | None) -> Kernel:
    kernel = with_numbers_in_memory(each.kernel)
    return kernel if loss_scale is None else left_out_by(kernel, len(kernel.operands) - 1)
