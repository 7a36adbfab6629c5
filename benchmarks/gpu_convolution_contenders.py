"""A convolution on a device, each way: by cuDNN, by hpcad's patches and products, by PyTorch.

The first two are made of the same instructions, and by the same code, as those of a compiled step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gpu_convolution_layers import Layer

from hpcad.backend.half import is_half, named
from hpcad.primitives.convolution import conv, conv_input, conv_weight
from hpcad.program.cuda.launch import load
from hpcad.program.cuda.routines.convolution import Routine
from hpcad.program.cuda.routines.table import device_recipe
from hpcad.program.device.recipes import bound, in_turn
from hpcad.program.device.target import DeviceTarget
from hpcad.program.instruction import Instruction, Value
from hpcad.program.phantom import address_of, phantom_of

WAYS = ("forward", "input", "weight")
Work = Callable[[], object]


class Images:
    """A layer with its memory.

    Parameters
    ----------
    layer : Layer
    backend : DeviceBackend
    dtype : str
        Of images, results, weights and their cotangents; weight gradients of half types are
        float32, as in a training step.
    batch : int
    """

    def __init__(self, layer: Layer, backend: Any, dtype: str, batch: int) -> None:
        self.layer, self.xp, self.target = layer, backend.xp, DeviceTarget(backend)
        size, out, kernel = layer.size, layer.out, layer.kernel
        images = (batch, size, size, layer.channels)
        results = (batch, out, out, layer.filters)
        weights = (kernel, kernel, layer.channels, layer.filters)
        kind = named(dtype)
        gradients = np.dtype(np.float32) if is_half(kind) else kind
        random = np.random.default_rng(0)

        def filled(shape: tuple[int, ...]) -> Any:
            return self.xp.asarray(random.standard_normal(shape, np.float32).astype(kind))

        self.x, self.g, self.w = filled(images), filled(results), filled(weights)
        self.bias = filled((layer.filters,))
        self.found = {
            "forward": self.xp.empty(results, kind),
            "input": self.xp.empty(images, kind),
            "weight": self.xp.empty(weights, gradients),
        }

    @property
    def _slide(self) -> dict[str, Any]:
        stride, padding = self.layer.stride, self.layer.padding
        return {"stride": (stride, stride), "padding": (padding, padding)}

    def _instruction(self, way: str) -> tuple[Any, list[Any], dict[str, Any]]:
        """Primitive, operands, parameters."""
        kernel, size = self.layer.kernel, self.layer.size
        return {
            "forward": (conv, [self.x, self.w, self.bias], {}),
            "input": (conv_input, [self.g, self.w], {"size": (size, size)}),
            "weight": (conv_weight, [self.x, self.g], {"kernel": (kernel, kernel)}),
        }[way]

    def by(self, who: str, way: str) -> Work | None:
        """What enqueues it: ``"cudnn"`` (None where there is no plan) or ``"hpcad"``."""
        op, args, params = self._instruction(way)
        values = [Value(a.shape, a.dtype, "input", i) for i, a in enumerate(args)]
        out = Value(self.found[way].shape, self.found[way].dtype, "result", None)
        arrays = dict(zip([*values, out], map(phantom_of, [*args, self.found[way]]), strict=True))
        instruction = Instruction(op, values, params | self._slide, [out], "")
        xp = self.xp if who == "cudnn" else None
        recipe = device_recipe(instruction, arrays.__getitem__, 0.0, xp)
        if recipe is None or (who == "cudnn") != (recipe.by == "cuDNN"):
            return None
        return self._works(recipe)

    def _works(self, recipe: Any) -> Work:
        scratch = self.xp.empty(recipe.workspace + 256, np.uint8)
        place = address_of(phantom_of(scratch))
        parts = recipe.steps(place + -place % 256)
        units = {p.routine.name: p.routine for p in parts if isinstance(p, Routine)}
        loaded = dict(zip(units, load(list(units.values()), self.xp), strict=True))
        call = in_turn(bound(self.target, parts, loaded))

        def work(_held: Any = scratch) -> None:
            call()

        return work

    def expected(self, way: str) -> np.ndarray:
        """By the primitives, in float64."""
        op, args, params = self._instruction(way)
        wide = [np.asarray(self.xp.asnumpy(a)).astype(np.float64) for a in args]
        return np.asarray(op.evaluate(wide, params | self._slide))

    def difference(self, way: str, work: Work) -> float:
        """Do it; the largest error over the largest number."""
        self.found[way][...] = np.nan
        work()
        wanted = self.expected(way)
        found = np.asarray(self.xp.asnumpy(self.found[way])).astype(np.float64)
        return float(np.abs(found - wanted).max() / np.abs(wanted).max())

    # -- PyTorch ----------------------------------------------------------------------------------

    def by_torch(self, torch: Any, way: str) -> Work:
        """PyTorch's operation on the same numbers; images and weights have their channels last."""
        x, g, w = (_tensor(torch, a) for a in (self.x, self.g, self.w))
        x, g = (t.permute(0, 3, 1, 2) for t in (x, g))  # as they lie: channels last
        w = w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        bias = _tensor(torch, self.bias)
        stride, padding = [self.layer.stride] * 2, [self.layer.padding] * 2
        if way == "forward":
            return lambda: torch.nn.functional.conv2d(x, w, bias, stride, padding)
        mask = [way == "input", way == "weight", False]
        back = torch.ops.aten.convolution_backward
        return lambda: back(g, x, w, None, stride, padding, [1, 1], False, [0, 0], 1, mask)


def _tensor(torch: Any, x: Any) -> Any:
    """PyTorch's tensor on an array of CuPy; bfloat16 travels as 16-bit integers."""
    if x.dtype.itemsize != 2:
        return torch.from_dlpack(x)
    kind = torch.float16 if x.dtype == np.float16 else torch.bfloat16
    return torch.from_dlpack(x.view(np.int16)).view(kind)
