"""Who takes part in step_time.py: hpcad, and every setting of its peers that may be their best."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from step_cases import Case, initial_model

from hpcad.backend.gemm import libraries
from hpcad.errors import ConfigError

COMPILED, BEST_GEMM, EAGER = "hpcad compiled", "hpcad compiled, best GEMM", "hpcad eager"
TORCH, TORCH_COMPILE, JAX = "torch eager", "torch.compile", "JAX jit"
PEERS = (TORCH, TORCH_COMPILE, JAX)
# hpcad lets glibc reuse large freed blocks. A peer is measured with glibc as it comes and, where it
# can gain by that, with the same setting.
SYSTEM = {"HPCAD_MALLOC": "system"}  # its first weights are drawn by hpcad
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
_LIBRARIES = ("scipy-openblas32", "dnnl", "mkl_rt")  # looked for where none is named


@dataclass(frozen=True)
class Contender:
    """One way to take the step.

    Attributes
    ----------
    name : str
    family : str
        The fastest of a family stands for it.
    module : str
        Its ``make(case, threads, **options)`` returns the step.
    options : dict
    environment : dict
        Variables of its process.
    always : bool
        Stays in the table, fastest or not.
    """

    name: str
    family: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    always: bool = False


def contenders(case: Case, families: list[str], blas: str) -> list[Contender]:
    """Return all ways to take the step of a case, those of one family in sequence.

    Parameters
    ----------
    families : list of str
    blas : str
        Libraries for :data:`BEST_GEMM`, as ``HPCAD_BLAS`` takes them.
    """
    kind = type(initial_model(case)).__name__
    found = [*_hpcad(blas), *_torch(kind), *_torch_compile(kind), *_jax(kind)]
    return [contender for contender in found if contender.family in families]


def blas_at_hand() -> str:
    """The BLAS libraries that there are, as ``HPCAD_BLAS`` takes them; the user's wish first."""
    if wish := os.environ.get("HPCAD_BLAS"):
        return wish
    return ":".join(name for name in _LIBRARIES if _is_there(name)) or "numpy"


def _is_there(name: str) -> bool:
    before = os.environ.get("HPCAD_BLAS")
    os.environ["HPCAD_BLAS"] = name
    try:
        return bool(libraries())
    except ConfigError:
        return False
    finally:
        if before is None:
            del os.environ["HPCAD_BLAS"]
        else:
            os.environ["HPCAD_BLAS"] = before


def _hpcad(blas: str) -> list[Contender]:
    own, best = {"HPCAD_BLAS": "numpy"}, {"HPCAD_BLAS": blas}
    found = [Contender(COMPILED, COMPILED, "hpcad_steps", {"compiled": True}, own)]
    if blas != "numpy":
        found.append(Contender(BEST_GEMM, BEST_GEMM, "hpcad_steps", {"compiled": True}, best))
    return [*found, Contender(EAGER, EAGER, "hpcad_steps", {}, own)]


def _torch(kind: str) -> list[Contender]:
    """Fused or foreach optimizer, times layouts, times settings of the allocator."""
    usual = {"optimizer": "loop"}
    found = [Contender(f"{TORCH}, default settings", TORCH, "torch_steps", usual, SYSTEM, True)]
    choices = product(_layouts(kind), ("fused", "foreach"), (SYSTEM, KEEPING))
    for layout, optimizer, memory in choices:
        options = {"layout": layout, "optimizer": optimizer}
        name = _name(TORCH, _LAYOUTS[layout], optimizer, _MEMORY[memory is KEEPING])
        found.append(Contender(name, TORCH, "torch_steps", options, memory))
    if kind == "RecurrentClassifier":
        options = {"net": "loop", "optimizer": "fused"}
        name = f"{TORCH}, loop over cells, fused, keeping memory"
        found.append(Contender(name, TORCH, "torch_steps", options, KEEPING))
    return found


def _torch_compile(kind: str) -> list[Contender]:
    """Layouts times settings of the allocator, and on the best of them more compilation."""
    net = "loop" if kind == "RecurrentClassifier" else "module"  # nn.LSTM is not compiled
    found = []
    for layout in _layouts(kind):
        for optimizer, mode, memory in (
            ("fused", "default", SYSTEM),
            ("fused", "default", KEEPING),
            ("compiled", "default", KEEPING),
            ("fused", "max-autotune", KEEPING),
        ):
            options = {"layout": layout, "optimizer": optimizer, "net": net, "mode": mode}
            words = _LAYOUTS[layout], mode, f"{optimizer} optimizer", _MEMORY[memory is KEEPING]
            name = _name(TORCH_COMPILE, *words)
            found.append(Contender(name, TORCH_COMPILE, "torch_steps", options, memory))
    return found


def _jax(kind: str) -> list[Contender]:
    """Ways to write the network, which users find by trying."""
    ways: dict[str, list[dict[str, Any]]] = {
        "CNN": [
            {"layout": layout, "pooling": pooling}
            for layout in ("NHWC", "NCHW")
            for pooling in ("window", "reshape")
        ],
        "RecurrentClassifier": [{"unroll": 1}, {"unroll": 4}],
        "CharGPT": [{"attention": "library"}, {"attention": "products"}],
    }
    return [
        Contender(
            _name(JAX, *(f"{key} {value}" for key, value in options.items()), memory),
            JAX,
            "jax_steps",
            options,
            KEEPING if memory else SYSTEM,
        )
        for options in ways.get(kind, [{}])
        for memory in _MEMORY
    ]


_LAYOUTS = {"contiguous": "", "channels_last": "channels-last"}
_MEMORY = ("", "keeping memory")


def _layouts(kind: str) -> list[str]:
    return list(_LAYOUTS) if kind == "CNN" else ["contiguous"]


def _name(*words: str) -> str:
    return ", ".join(word for word in words if word)
