"""Dynamic loss scaling: gradients in float16 kept between underflow and overflow.

The loss is multiplied by a scale, and with it every gradient (Micikevicius et al.,
arXiv:1710.03740). The optimizer takes the factor away again. A step whose gradients overflow is
left out on all ranks, and the scale is halved; after many good steps it is doubled. Scales are
powers of two, so that a step of a gradient that neither overflows nor underflows is the same
whatever its scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from hpcad.backend import Array, Backend, get_backend
from hpcad.errors import ConfigError

LOWEST, HIGHEST = 1.0, 2.0**24


class Agreement(Protocol):
    """What of a communicator is used."""

    def allreduce(self, array: Array, op: str, name: str) -> None: ...


class LossScale:
    """The scale of a loss, and how it follows what gradients do.

    Everything is decided by one number, the norm of the whole gradient: where a gradient is no
    finite number, neither is the sum of squares, which in double precision cannot overflow
    itself. A step that is left out counts as a step: schedule and bias corrections go on.

    Parameters
    ----------
    initial : float
        A power of two from 1 to 2^24.
    interval : int
        Good steps in a row after which the scale is doubled.
    communicator : Communicator, optional
        Of the ranks that must decide alike.

    Attributes
    ----------
    scale : array of float32, shape (1,)
    good, skipped : arrays of float64, shape (1,)
        Good steps since the scale has changed, and steps that were left out. All lie where the
        parameters do, so that a device can decide without its host.
    """

    def __init__(
        self,
        initial: float = 2.0**16,
        *,
        interval: int = 2000,
        communicator: Agreement | None = None,
    ) -> None:
        if not LOWEST <= initial <= HIGHEST or math.frexp(initial)[0] != 0.5:
            raise ConfigError(f"a loss scale must be a power of two from 1 to 2^24, not {initial}")
        if interval < 1:
            raise ConfigError(f"interval must be at least 1, not {interval}")
        self.interval = interval
        self.communicator = communicator
        self._backend: Backend = get_backend("cpu")
        self._hold({"scale": initial, "good": 0.0, "skipped": 0.0})

    def move_to(self, backend: Backend) -> None:
        """Keep the numbers where a backend has its arrays."""
        now = self.state()
        self._backend = backend
        self._hold(now)

    @property
    def value(self) -> Array:
        """The factor for the loss of the next step: float32, shape ()."""
        scale = self.scale.reshape(())
        return scale if self._backend.on_device else scale.copy()

    def factor(self, norm: float, clip_norm: float | None = None) -> float:
        """Decide about a step on the host, and let the scale follow; collective.

        Parameters
        ----------
        norm : float
            L2 norm of the whole scaled gradient.
        clip_norm : float, optional
            For the norm of the gradient without its scale.

        Returns
        -------
        float
            Factor for the scaled gradient; 0 if the step is to be left out.
        """
        scale = float(self.scale[0])
        if not self._agreed(math.isfinite(norm)):
            self.scale[0] = max(scale / 2, LOWEST)
            self.good[0] = 0
            self.skipped[0] += 1
            return 0.0
        self.good[0] += 1
        if self.good[0] >= self.interval:
            self.scale[0] = min(scale * 2, HIGHEST)
            self.good[0] = 0
        norm /= scale
        clip = 1.0 if clip_norm is None or norm <= clip_norm else clip_norm / norm
        return clip / scale

    @property
    def exhausted(self) -> bool:
        """Whether the last gradient overflowed though the scale is 1; waits for a device."""
        now = self.state()
        return now["scale"] == LOWEST and now["good"] == 0 and now["skipped"] > 0

    def _agreed(self, finite: bool) -> bool:
        if self.communicator is None:
            return finite
        everywhere = np.array([finite], np.int64)
        self.communicator.allreduce(everywhere, "min", "loss scale")
        return bool(everywhere[0])

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps, as plain numbers; waits for a device."""
        arrays = {"scale": self.scale, "good": self.good, "skipped": self.skipped}
        return {name: float(self._backend.to_host(x)[0]) for name, x in arrays.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state` returned, in place."""
        for name in ("scale", "good", "skipped"):
            array = getattr(self, name)
            array[...] = float(state[name])

    def _hold(self, state: Mapping[str, float]) -> None:
        def array(name: str, dtype: Any) -> Array:
            return self._backend.asarray(np.array([state[name]], dtype))

        self.scale: Array = array("scale", np.float32)
        self.good: Array = array("good", np.float64)
        self.skipped: Array = array("skipped", np.float64)

    def __str__(self) -> str:
        now = self.state()
        count = int(now["skipped"])
        left = f"{count} step{'' if count == 1 else 's'} left out" if count else "no step left out"
        return f"loss scale {now['scale']:g}, {left}"
