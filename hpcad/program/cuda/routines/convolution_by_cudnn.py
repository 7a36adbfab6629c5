"""Convolutions by cuDNN among the instructions of a program.

Weights lie as (KH, KW, C, K), and cuDNN gets them as (K, KH, KW, C): a small copy before, or behind
the gradient of the weights, which converts and adds at the same time. Not yet run on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcad.backend.cublaslt.settings import SETTINGS
from hpcad.backend.cudnn import ConvolutionProblem, plan_convolution
from hpcad.backend.cudnn.convolution import PIECE
from hpcad.backend.cudnn.convolution_problem import DTYPES
from hpcad.backend.cudnn.plan import Plan
from hpcad.program.cuda.routines.convolution import Recipe, Routine
from hpcad.program.cuda.routines.copies import Strides, copy
from hpcad.program.cuda.routines.patches import Geometry
from hpcad.program.cuda.routines.writing import itemsize, rounded
from hpcad.program.phantom import address_of


@dataclass(frozen=True)
class Convolved:
    """A call of cuDNN.

    Attributes
    ----------
    plan : Plan
    places : dict
        Name of a tensor -> address.
    """

    plan: Plan
    places: dict[str, int]


@dataclass(frozen=True)
class ConvolutionByCudnn:
    """As :class:`~hpcad.program.cuda.routines.convolution.Convolution`, of all images at a time.

    Its methods return None where cuDNN has no plan, or does not take arrays where they lie.

    Attributes
    ----------
    xp : module
        ``cupy``, or the strict device.
    geometry : Geometry
    filters : int
    dtype : str
        Of images, results and weights.
    pooled : bool
        No cuDNN then.
    """

    xp: Any
    geometry: Geometry
    filters: int
    dtype: str
    pooled: bool = False

    def forward(
        self,
        x: np.ndarray,
        w: np.ndarray,
        bias: np.ndarray | None,
        out: np.ndarray,
        winner: np.ndarray | None = None,
        relu: bool = False,
    ) -> Recipe | None:
        """``y = relu(x * w + bias)``, bias and ReLU as they are asked for."""
        places = {"x": x, "y": out} | ({} if bias is None else {"bias": bias})
        plan = self._plan("forward", places, bias=bias is not None, relu=relu)
        return None if plan is None else self._after_turning(plan, w, places)

    def input(
        self, g: np.ndarray, winner: np.ndarray | None, w: np.ndarray, out: np.ndarray
    ) -> Recipe | None:
        """``dx``."""
        places = {"g": g, "dx": out}
        plan = self._plan("input", places)
        return None if plan is None else self._after_turning(plan, w, places)

    def weight(
        self, x: np.ndarray, g: np.ndarray, winner: np.ndarray | None, out: np.ndarray, beta: float
    ) -> Recipe | None:
        """``dw + beta dw``; of half types cuDNN may have rounded the first ``dw`` to that type."""
        places = {"x": x, "g": g}
        plan = self._plan("weight", places, answer=str(out.dtype))
        if plan is None:
            return None
        dtype = plan.problem.answer

        def steps(address: int) -> list[Any]:
            turned, kept = self._layouts
            routine = copy(out.shape, dtype, turned, str(out.dtype), kept, accumulate=bool(beta))
            found = Convolved(plan, {**_addresses(places), "dw": address})
            return [found, Routine.at(routine, address, address_of(out))]

        return Recipe(self._bytes(dtype), steps, plan.problem.flops, "cuDNN")

    # -- inside ------------------------------------------------------------------------------------

    def _plan(self, way: str, places: dict[str, np.ndarray], **more: Any) -> Plan | None:
        aligned = all(place % PIECE == 0 for place in _addresses(places).values())
        if self.pooled or self.dtype not in DTYPES or not aligned:
            return None
        where = self.geometry
        tf32 = SETTINGS.tf32 and self.dtype == "float32"
        problem = ConvolutionProblem(
            way, self.dtype, where.images, self.filters, where.kernel, where.stride, where.padding,
            tf32=tf32, **more,
        )  # fmt: skip
        return plan_convolution(self.xp, problem)

    def _after_turning(self, plan: Plan, w: np.ndarray, places: dict[str, np.ndarray]) -> Recipe:
        """Weights as cuDNN takes them in the workspace, then the call."""

        def steps(address: int) -> list[Any]:
            turned, kept = self._layouts
            routine = copy(w.shape, self.dtype, kept, self.dtype, turned)
            called = Convolved(plan, {**_addresses(places), "w": address})
            return [Routine.at(routine, address_of(w), address), called]

        return Recipe(self._bytes(self.dtype), steps, plan.problem.flops, "cuDNN")

    @property
    def _layouts(self) -> tuple[Strides, Strides]:
        """Steps of (KH, KW, C, K): as cuDNN has the weights in memory, and as hpcad has them."""
        (_, kw), c, k = self.geometry.kernel, self.geometry.images[3], self.filters
        return (kw * c, c, 1, self.geometry.columns), (kw * c * k, c * k, k, 1)

    def _bytes(self, dtype: str) -> int:
        return rounded(math.prod((self.geometry.columns, self.filters)) * itemsize(dtype))


def _addresses(arrays: dict[str, np.ndarray]) -> dict[str, int]:
    return {name: address_of(array) for name, array in arrays.items()}
