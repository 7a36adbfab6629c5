"""Convolutions: hpcad's two schemes and products by NumPy against PyTorch in both layouts.

``python benchmarks/convolution.py [--threads T] [--rounds R] [SHAPE ...]`` with shapes
``N,H,C,K,kernel,stride`` (images of H x H, padding half the kernel). Prints the least and the
median time of rounds in turn, in ms: the thread's CPU time at one thread, else the clock's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name all of its users know
from threadpoolctl import threadpool_limits

from hpcad.backend import get_backend
from hpcad.backend.native import threads
from hpcad.backend.native.convolution import ConvForward, ConvInput, ConvWeight
from hpcad.primitives import convolution

SHAPES = ["64,14,32,64,3,1", "64,28,1,32,3,1", "64,28,32,64,3,1", "128,7,128,128,3,1",
          "32,14,32,64,5,1", "32,28,32,64,3,2", "32,28,64,128,1,1"]  # fmt: skip
Calls = dict[str, dict[str, Callable[[], Any]]]
NAMES = ("forward", "input", "weight")


class Arrays:
    """Operands of one convolution, as aligned NumPy arrays."""

    def __init__(self, images: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...]):
        rng = np.random.default_rng(0)
        self.x, self.w, self.b, self.y, self.g, self.dx, self.dw, self.db = (
            self._one(shape, rng)
            for shape in (images, weight, weight[3:], out, out, images, weight, weight[3:])
        )

    @staticmethod
    def _one(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        memory = get_backend("cpu").allocate(4 * int(np.prod(shape)))
        array = memory.view(np.float32).reshape(shape)
        array[...] = rng.standard_normal(shape)
        return array


def compiled(a: Arrays, cfg: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """The three routines of one scheme."""
    routines = [kind(**cfg) for kind in (ConvForward, ConvInput, ConvWeight)]
    spaces = [get_backend("cpu").allocate(routine.scratch) for routine in routines]
    operands = (a.x, a.w, a.y), (a.g, a.w, a.dx), (a.x, a.g, a.dw)
    extras = {"bias": a.b.ctypes.data}, {}, {"bias": a.db.ctypes.data}
    calls = {}
    for name, routine, space, arrays, extra in zip(
        NAMES, routines, spaces, operands, extras, strict=True
    ):
        addresses = [array.ctypes.data for array in (*arrays, space)]
        # The space is bound as well, to live as long as the call.
        calls[name] = partial(_call, routine.bind(*addresses, **extra), space)
    return calls


def _call(routine: Callable[[], None], _space: np.ndarray) -> None:
    routine()


def products(a: Arrays, stride: int, padding: int) -> dict[str, Callable[[], Any]]:
    """The primitives' values by GEMM on a column matrix."""
    place = {"stride": (stride, stride), "padding": (padding, padding)}
    return {
        "forward": lambda: convolution._conv_gemm(a.x, a.w, a.b, **place),
        "input": lambda: convolution._conv_input_gemm(a.g, a.w, a.x.shape[1:3], **place),
        "weight": lambda: convolution._add_conv_weight_gemm(a.dw, 0.0, a.g, a.x, **place),
    }


def peers(a: Arrays, stride: int, padding: int, layout: Any) -> dict[str, Callable[[], Any]]:
    """PyTorch, its operands in one layout."""

    def tensor(array: np.ndarray, order: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(array.transpose(order)).contiguous(memory_format=layout)

    x, g = tensor(a.x, (0, 3, 1, 2)), tensor(a.g, (0, 3, 1, 2))
    w, b = tensor(a.w, (3, 2, 0, 1)), torch.from_numpy(a.b)
    s, p = [stride] * 2, [padding] * 2

    def backward(wanted: list[bool]) -> Any:
        return torch.ops.aten.convolution_backward(
            g, x, w, [len(b)], s, p, [1, 1], False, [0, 0], 1, wanted
        )

    return {
        "forward": lambda: F.conv2d(x, w, b, stride=stride, padding=padding),
        "input": lambda: backward([True, False, False]),
        "weight": lambda: backward([False, True, True]),
    }


def contenders(shape: str) -> tuple[Calls, int]:
    """Every way to compute a convolution of this shape, and its operations."""
    n, h, c, k, kernel, stride = map(int, shape.split(","))
    padding = kernel // 2
    cfg: dict[str, Any] = {"images": (n, h, h, c), "weight": (kernel, kernel, c, k),
                           "stride": (stride, stride), "padding": (padding, padding)}  # fmt: skip
    routine = ConvForward(**cfg)
    a = Arrays(cfg["images"], cfg["weight"], routine.out)
    calls = {"direct": compiled(a, {**cfg, "winograd": False})}
    if ConvForward(**cfg, winograd=True).scheme == "winograd":
        calls["winograd"] = compiled(a, {**cfg, "winograd": True})
    calls["numpy"] = products(a, stride, padding)
    calls["torch"] = peers(a, stride, padding, torch.contiguous_format)
    calls["torch channels-last"] = peers(a, stride, padding, torch.channels_last)
    return calls, routine.flops


def measure(calls: Calls, rounds: int, clock: Callable[[], float]) -> None:
    """Print a line per direction."""
    for name in NAMES:
        samples: dict[str, list[float]] = {who: [] for who in calls}
        for turn in range(rounds + 2):
            for who, directions in calls.items():
                started = clock()
                directions[name]()
                if turn > 1:
                    samples[who].append(1e3 * (clock() - started))
        cells = [f"{who} {min(t):.2f}/{np.median(t):.2f}" for who, t in samples.items()]
        print(f"  {name:8s}" + "   ".join(cells), flush=True)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="N,H,C,K,kernel,stride")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads, user_api="blas")
    threads.set_threads(options.threads)
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    for shape in options.shapes:
        calls, flops = contenders(shape)
        print(f"{shape}: {flops / 1e6:.0f} MFLOP, {options.threads} thread(s), ms least/median")
        measure(calls, options.rounds, clock)


if __name__ == "__main__":
    main()
