"""The choice of algorithms: measured on one rank, told to all, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hpcad.backend.cublaslt.binding import CublasLtError
from hpcad.backend.cublaslt.context import Context
from hpcad.backend.cublaslt.layout import Arrangement, Offsets
from hpcad.backend.cublaslt.plan import Algorithm, Plan
from hpcad.backend.cublaslt.problem import Problem
from hpcad.backend.cublaslt.product import BoundProduct
from hpcad.backend.cublaslt.scratch import scratch
from hpcad.backend.gemm.record import Record
from hpcad.backend.native.cache import cache_directory
from hpcad.errors import DeviceError

log = logging.getLogger(__name__)

Clock = Callable[[Callable[[], None]], float]
Share = Callable[[bytes | None], bytes]

ROUNDS = 5  # the candidates take turns
MARGIN = 0.98  # another algorithm is taken when it needs less than this share of the first's time
INSTANT = 1e-9  # seconds
_FORMAT = 1


def tune(
    products: Iterable[Any],
    clock: Clock | None = None,
    *,
    record: Record | None = None,
    lead: bool = True,
    share: Share | None = None,
) -> dict[str, float]:
    """Choose the fastest algorithm for each product, the same on all ranks.

    Collective where ``share`` is given: the leading rank chooses, and all use what it says. An
    algorithm sums in its own order, so ranks with different ones would round differently. Not
    yet run on a GPU.

    Parameters
    ----------
    products : iterable
        What :func:`bind_product` returned; what is no :class:`BoundProduct` is left out. Only
        those of the leading rank count.
    clock : callable, optional
        ``clock(run)`` is the seconds that ``run()`` takes on the device; else
        :func:`event_clock`.
    record : Record, optional
        Choices of before, and where new ones are kept (:func:`record_for`). Read and written by
        the leading rank.
    lead : bool
        Whether this rank is the one that measures.
    share : callable, optional
        ``share(data)`` returns the bytes of the leading rank on all ranks; others give ``None``.

    Returns
    -------
    dict
        Key of the problem -> seconds, of what was measured now.

    Raises
    ------
    DeviceError
        What came is no message of this function.
    """
    plans = {x.plan.problem.key: x.plan for x in products if isinstance(x, BoundProduct)}
    measured: dict[str, float] = {}
    choices: dict[str, bytes] = {}
    if lead:
        for key, plan in plans.items():
            algorithm = _known(plan, record)
            if algorithm is None:
                algorithm, measured[key] = fastest(plan, clock or event_clock(plan.context.xp))
                if record is not None:
                    record.put(plan.problem, algorithm.data.hex(), measured[key])
            choices[key] = algorithm.data
    if share is not None:
        choices = _told(share(_message(choices) if lead else None))
    for context in {id(plan.context): plan.context for plan in plans.values()}.values():
        adopt(context, choices)
    return measured


def adopt(context: Context, choices: dict[str, bytes]) -> None:
    """Use these algorithms on a device, for plans that are there and those to come."""
    with context.lock:
        context.choices.update(choices)
        known = {problem.key: plan for problem, plan in context.plans.items() if plan is not None}
    for key, data in choices.items():
        if key not in known:
            continue
        algorithm = known[key].checked(data)
        if algorithm is None:  # another card or library than the leading rank's
            log.warning("the algorithm chosen for %s does not fit %s", key, context.device)
        else:
            known[key].use(algorithm)


def fastest(plan: Plan, clock: Clock) -> tuple[Algorithm, float]:
    """The fastest of a plan's candidates, and its seconds, on memory of its own."""
    trial = Plan(plan.context, plan.problem)
    memory, run = _running(trial)
    best: dict[Algorithm, float] = {}
    running = list(trial.candidates)
    for _ in range(ROUNDS if len(running) > 1 else 1):
        for algorithm in list(running):
            trial.use(algorithm)
            try:
                took = clock(run)
            except CublasLtError as error:  # proposed, but not for these operands after all
                log.info("an algorithm is left out: %s", error)
                running.remove(algorithm)
                best.pop(algorithm, None)
                continue
            best[algorithm] = min(took, best.get(algorithm, took))
        if max(best.values(), default=0.0) <= INSTANT:
            break  # no turn tells more
    del memory
    if not best:
        raise DeviceError(f"none of the algorithms that cuBLASLt proposes runs: {plan.problem.key}")
    first = next(algorithm for algorithm in trial.candidates if algorithm in best)
    winner = min(best, key=best.__getitem__)
    if best[winner] > MARGIN * best[first]:
        winner = first
    return winner, best[winner]


def event_clock(xp: Any, aim: float = 2e-3, most: int = 100) -> Clock:
    """A clock of events on the current stream.

    Parameters
    ----------
    aim : float
        Seconds that a sample takes.
    most : int
        Runs in a sample at most.
    """

    def sample(run: Callable[[], None], repeats: int) -> float:
        started, ended = xp.cuda.Event(), xp.cuda.Event()
        started.record()
        for _ in range(repeats):
            run()
        ended.record()
        ended.synchronize()
        return 1e-3 * xp.cuda.get_elapsed_time(started, ended) / repeats

    def clock(run: Callable[[], None]) -> float:
        run()
        once = sample(run, 1)
        if once <= 0.0:  # the strict device, which keeps no time
            return INSTANT
        return sample(run, max(1, min(most, int(aim / once))))

    return clock


def record_for(context: Context, path: Path | None = None) -> Record:
    """Choices for this device and version of cuBLASLt.

    Parameters
    ----------
    path : Path, optional
        A file of the run; else one in hpcad's cache. A file for another device or version counts
        as empty.
    """
    about = (context.device, "cuBLASLt " + ".".join(map(str, context.library.version)))
    if path is None:
        digest = hashlib.sha256("\0".join(about).encode()).hexdigest()[:16]
        path = cache_directory() / f"products-{digest}.json"
    return Record(path, about)


def _known(plan: Plan, record: Record | None) -> Algorithm | None:
    """A choice of before that still holds."""
    found = None if record is None else record.get(plan.problem)
    try:
        return None if found is None else plan.checked(bytes.fromhex(found[0]))
    except ValueError:
        return None


def _running(plan: Plan) -> tuple[list[Any], Callable[[], None]]:
    """Memory for a problem, and a call that computes it there."""
    p: Problem = plan.problem
    memory, pointers = scratch(plan.context.xp, p)
    factors = (1.0, 1.0 if p.adds else 0.0)
    call = BoundProduct(plan, Arrangement(p, False, (Offsets(),)), pointers, factors)
    return memory, call


def _message(choices: dict[str, bytes]) -> bytes:
    content = {key: data.hex() for key, data in choices.items()}
    return json.dumps({"format": _FORMAT, "algorithms": content}).encode()


def _told(message: bytes) -> dict[str, bytes]:
    try:
        content = json.loads(message)
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}")
        return {str(key): bytes.fromhex(data) for key, data in content["algorithms"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeviceError(
            f"the algorithms that the leading rank sent cannot be read ({error}); "
            "all ranks must run the same version of hpcad"
        ) from error
