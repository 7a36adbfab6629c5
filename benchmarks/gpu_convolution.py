"""Convolutions of ResNet-50 on a GPU: by cuDNN, by hpcad's patches, and by PyTorch, in turn.

    python benchmarks/gpu_convolution.py [--batch 64] [--dtype bfloat16] [--only NAME] [--json FILE]

Forward with a bias, the gradient of the images and that of the weights, each as the steps of a
compiled program: cuDNN with the copies that turn weights, hpcad's patches with the product behind
or before. PyTorch convolves the same numbers with channels last, where it is installed with CUDA;
it chooses among cuDNN's algorithms by measuring, also those that are not deterministic, and rounds
weight gradients to the type of the images.

Before, tiny convolutions by cuDNN and by patches must be what the primitives compute, or the
program ends with exit code 1. ``--device strict`` takes only that, and times nothing; without a
GPU, or without cuDNN, the exit code is 2. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import environment
import gpu_environment
from gpu_convolution_contenders import WAYS, Images, Work
from gpu_convolution_layers import LAYERS, TINY, Layer
from gpu_gemm_contenders import torch_with_cuda
from gpu_timer import DeviceTimer
from interleaved import in_turn
from medians import median_interval, ratio_interval

from hpcad.errors import DeviceError

OURS = ("cudnn", "hpcad")
TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 3e-2}  # of the largest number
WARM_ROUNDS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure; return the exit code."""
    options = _options(arguments)
    os.environ["HPCAD_CUDNN"] = "1"
    try:
        backend = gpu_environment.device(options.device)
        strict = options.device == "strict"
        facts = gpu_environment.describe(backend.xp, strict)
        with backend.xp.cuda.Stream(non_blocking=True) as stream:
            wrong = _check(backend, options.dtype)
            if strict or wrong:
                return 1 if wrong else 0
            print("\n".join(gpu_environment.lines(facts)))
            rows = _measure(backend, stream, options)
    except (gpu_environment.NoGpuError, DeviceError) as error:
        return gpu_environment.refused("gpu_convolution", error)
    if options.json:
        chosen = {name: getattr(options, name) for name in ("batch", "dtype", "rounds")}
        environment.write_json(options.json, facts | chosen | {"rows": rows})
    return 0


def _check(backend: Any, dtype: str) -> list[str]:
    """Compare tiny convolutions with the primitives; return what is wrong."""
    wrong, count = [], 0
    for layer in TINY:
        images = Images(layer, backend, dtype, 2)
        for way in WAYS:
            for who in OURS:
                count += 1
                work = images.by(who, way)
                if work is None:
                    wrong.append(f"{layer.name}, {way}: {who} has no way for it")
                elif not (error := images.difference(way, work)) <= TOLERANCE[dtype]:
                    wrong.append(f"{layer.name}, {way}: {who} is wrong by {error:.1e} of its size")
    for line in wrong:
        print(f"gpu_convolution: refused: {line}", file=sys.stderr)
    print(f"# {count - len(wrong)} of {count} tiny convolutions are what the primitives compute")
    return wrong


# -- timing -----------------------------------------------------------------------------------


def _measure(backend: Any, stream: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print lines for each layer and way, and return the samples."""
    xp, torch, rows = backend.xp, torch_with_cuda(), []
    timer = DeviceTimer(xp)
    if torch is None:
        print("# PyTorch with CUDA is not installed: cuDNN and hpcad alone")
        theirs: Any = nullcontext()
    else:
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
        theirs = torch.cuda.stream(torch.cuda.ExternalStream(stream.ptr))
    with theirs:
        for layer in (layer for layer in LAYERS if options.only in layer.name):
            images = Images(layer, backend, options.dtype, options.batch)
            for way in WAYS:
                rows.append(_row(layer, way, _contenders(images, torch, way), timer, options))
                print("\n".join(lines_of(rows[-1])), flush=True)
            del images
            xp.get_default_memory_pool().free_all_blocks()
    return rows


def _contenders(images: Images, torch: Any, way: str) -> dict[str, Work]:
    found = {who: images.by(who, way) for who in OURS}
    if torch is not None:
        found["torch"] = images.by_torch(torch, way)
    return {who: work for who, work in found.items() if work is not None}


def _row(
    layer: Layer, way: str, works: dict[str, Work], timer: DeviceTimer, options: argparse.Namespace
) -> dict[str, Any]:
    turns = [partial(_turn, timer, work, timer.repeats_for([work])) for work in works.values()]
    samples = in_turn(turns, options.rounds, WARM_ROUNDS)[:, :, 0].tolist()
    seconds = dict(zip(works, samples, strict=True))
    return {
        "layer": layer.name,
        "way": way,
        "flops": layer.flops(options.batch),
        "seconds": seconds,
    }


def _turn(timer: DeviceTimer, work: Work, repeats: int, _: int) -> list[float]:
    return [timer.seconds([work], repeats)]


def lines_of(row: dict[str, Any]) -> list[str]:
    """A line for each contender, and how the others compare with cuDNN by hpcad."""
    found, head = [], f"{row['layer']:<14}{row['way']:<9}"
    for who, samples in row["seconds"].items():
        middle, low, high = (1e6 * x for x in median_interval(samples))
        rate = 1e-6 * row["flops"] / middle
        line = f"{head}{who:<7}{middle:>10.1f} us ({low:.1f} .. {high:.1f}){rate:>9.1f} TFLOP/s"
        if who != "cudnn" and "cudnn" in row["seconds"]:
            mine, others = ([[x] for x in row["seconds"][name]] for name in (who, "cudnn"))
            share, least, most = ratio_interval(mine, others)
            line += f", {share:.2f} ({least:.2f} .. {most:.2f}) times as long as cudnn"
        found.append(line)
    if "cudnn" not in row["seconds"]:
        found.append(f"{head}cudnn has no plan")
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("gpu", "strict"), default="gpu")
    parser.add_argument("--dtype", choices=tuple(TOLERANCE), default="bfloat16")
    parser.add_argument("--batch", type=int, default=64, help="images")
    parser.add_argument("--only", default="", metavar="NAME", help="layers whose name contains it")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
