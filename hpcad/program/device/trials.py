"""Which form of a product with its elementwise neighbours is the fastest, by measurement.

Each form is built as a program of its own, of the same instructions at the same shapes, by the
same passes, and runs as a CUDA graph on random numbers. Not yet run on a GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from hpcad.autodiff.pytree import Structure
from hpcad.backend.cublaslt.enums import numpy_type
from hpcad.backend.cublaslt.scratch import filled
from hpcad.backend.cublaslt.tuning import INSTANT, MARGIN, ROUNDS, Clock, event_clock, tune
from hpcad.backend.device_backend import DeviceBackend
from hpcad.backend.gemm.record import Record
from hpcad.errors import DeviceError
from hpcad.program.device.target import DeviceTarget
from hpcad.program.emission.executable import Executable
from hpcad.program.fusion.fuse import fuse
from hpcad.program.improve.epilogue_choice import SEPARATE, Candidate, Epilogues
from hpcad.program.improve.epilogues import add_biases
from hpcad.program.improve.excerpt import refilled
from hpcad.program.improve.fuse_epilogues import fuse_epilogues
from hpcad.program.improve.fused_products import EPILOGUE_OF

log = logging.getLogger(__name__)
_LEAF = Structure(None)


def measured(
    candidate: Candidate,
    backend: DeviceBackend,
    *,
    clock: Clock | None = None,
    product_clock: Clock | None = None,
    record: Record | None = None,
) -> dict[str, float]:
    """Seconds of each form that this device and library can run, :data:`SEPARATE` first.

    Parameters
    ----------
    clock, product_clock : callable, optional
        See :func:`hpcad.backend.cublaslt.tuning.event_clock`; of forms, and of their products.
    record : Record, optional
        Of algorithms: the products of each form are tuned before it is timed.
    """
    with backend.stream:
        arrays = random_inputs(candidate, backend)
        running: dict[str, Callable[[], Any]] = {}
        for form in candidate.forms:
            program = trial(candidate, form, arrays, backend)
            if program is not None:
                products = [p for step in program.steps for p in step.products]
                tune(products, product_clock, record=record)
                running[form] = program._call
        return _timed(running, clock or event_clock(backend.xp))


def fastest_form(seconds: dict[str, float]) -> str:
    """The form to take: a fused one has to be faster by more than chance."""
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < MARGIN * seconds[SEPARATE] else SEPARATE


def random_inputs(candidate: Candidate, backend: DeviceBackend) -> dict[Any, Any]:
    """Small random numbers for each input of the sample."""
    return {v: _random(backend.xp, v.shape, v.dtype) for v in candidate.sample.inputs}


def trial(
    candidate: Candidate, form: str, arrays: dict[Any, Any], backend: DeviceBackend
) -> Executable | None:
    """A form as a program; None where the library does not know one of its products."""
    program = refilled(candidate.sample, arrays)
    program = add_biases(fuse_epilogues(program, Epilogues(wish=(form,))))
    tree = Structure(list, (), (_LEAF,) * len(program.outputs))
    name = f"trial_of_{form}"
    try:
        made = Executable(name, program, fuse(program), tree, DeviceTarget(backend))
    except DeviceError as error:
        if form == SEPARATE:
            raise
        log.info("%s cannot be done in form %s: %s", candidate.key, form, error)
        return None
    if any(step.name in EPILOGUE_OF and not step.products for step in made.steps):
        log.info("%s cannot be done in form %s by this cuBLASLt", candidate.key, form)
        return None
    return made


def _timed(running: dict[str, Callable[[], Any]], clock: Clock) -> dict[str, float]:
    """The best of several rounds, in which the forms take turns."""
    for run in running.values():
        run()  # step by step
        run()  # which captures the graph
    best: dict[str, float] = {}
    for _ in range(ROUNDS if len(running) > 1 else 1):
        for form, run in running.items():
            took = clock(run)
            best[form] = min(took, best.get(form, took))
        if max(best.values()) <= INSTANT:
            break  # the strict device, which keeps no time
    return best


def _random(xp: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    count = 1
    for n in shape:
        count *= n
    nbytes = count * numpy_type(dtype.name).itemsize
    return filled(xp, count, dtype.name)[:nbytes].view(dtype).reshape(shape)
