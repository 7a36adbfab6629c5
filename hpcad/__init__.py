"""hpcad: automatic differentiation and MPI-parallel training of array programs.

The names below are loaded when they are first used, so that ``import hpcad`` is quick and needs
neither an MPI library nor a GPU.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Parameter": "hpcad.autodiff",
    "Tape": "hpcad.autodiff",
    "Tensor": "hpcad.autodiff",
    "anomaly": "hpcad.autodiff",
    "check_grads": "hpcad.autodiff",
    "compile": "hpcad.program",
    "directional": "hpcad.autodiff",
    "elementwise_grad": "hpcad.autodiff",
    "expand": "hpcad.autodiff",
    "fixed_point": "hpcad.autodiff",
    "ggnvp": "hpcad.autodiff",
    "grad": "hpcad.autodiff",
    "grad_and_aux": "hpcad.autodiff",
    "graph": "hpcad.autodiff",
    "hessian": "hpcad.autodiff",
    "hvp": "hpcad.autodiff",
    "jacfwd": "hpcad.autodiff",
    "jacobian": "hpcad.autodiff",
    "jacrev": "hpcad.autodiff",
    "jvp": "hpcad.autodiff",
    "laplacian": "hpcad.autodiff",
    "linear_solve": "hpcad.autodiff",
    "linearize": "hpcad.autodiff",
    "no_grad": "hpcad.autodiff",
    "numerical_directional": "hpcad.autodiff",
    "numerical_gradient": "hpcad.autodiff",
    "numerical_hessian": "hpcad.autodiff",
    "numerical_jacobian": "hpcad.autodiff",
    "numerical_jvp": "hpcad.autodiff",
    "numerical_vjp": "hpcad.autodiff",
    "odeint": "hpcad.autodiff",
    "per_sample_grad": "hpcad.autodiff",
    "primitive": "hpcad.autodiff",
    "remat": "hpcad.autodiff",
    "remat_sequence": "hpcad.autodiff",
    "remat_while": "hpcad.autodiff",
    "root": "hpcad.autodiff",
    "tensor": "hpcad.autodiff",
    "unguarded": "hpcad.autodiff",
    "value_and_grad": "hpcad.autodiff",
    "vhp": "hpcad.autodiff",
    "vjp": "hpcad.autodiff",
    "init": "hpcad.parallel",
    "World": "hpcad.parallel",
    "DataParallel": "hpcad.parallel",
    "ArrayDataset": "hpcad.data",
    "Loader": "hpcad.data",
    "open_dataset": "hpcad.data",
    "CheckpointStore": "hpcad.checkpoint",
    "Trainer": "hpcad.training",
    "HpcadError": "hpcad.errors",
}
_ROOMS = (
    "autodiff",
    "backend",
    "checkpoint",
    "data",
    "errors",
    "models",
    "nn",
    "numpy",
    "optim",
    "parallel",
    "primitives",
    "program",
    "training",
)

__all__ = ["__version__", *sorted(_HOMES), *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import_module("hpcad.numpy")  # gives tensors their operators and methods
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"hpcad.{name}")
    raise AttributeError(f"module 'hpcad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
