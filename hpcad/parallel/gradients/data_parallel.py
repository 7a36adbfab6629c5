"""Data-parallel gradients: reduced bucket by bucket while backward still runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.autodiff import Parameter
from hpcad.autodiff.state import CHANGES, effect
from hpcad.backend import backend_of
from hpcad.errors import ConfigError
from hpcad.nn.arena import flatten
from hpcad.nn.module import Module
from hpcad.parallel.communicator import Request
from hpcad.parallel.devices.choice import device_fit, device_progress
from hpcad.parallel.gradients.buckets import Bucket, choose_sizes, layout, make_buckets
from hpcad.parallel.gradients.fit import Fit, measured_fit
from hpcad.parallel.gradients.half_reducer import in_precision
from hpcad.parallel.gradients.in_flight import InFlight
from hpcad.parallel.gradients.on_host import on_host
from hpcad.parallel.gradients.overlap import Overlap, OverlapBook, measure_alone
from hpcad.parallel.gradients.progress import Progress, choose
from hpcad.parallel.world import World, init

if TYPE_CHECKING:  # they load what makes programs
    from hpcad.parallel.devices.in_graph import GraphReductions
    from hpcad.program.device.effect_kinds import Staged


class DataParallel:
    """Averages the gradients of a model over all ranks.

    The objective is the mean over ranks of each rank's loss, so after ``loss.backward()`` every
    ``parameter.grad`` holds the gradient of that mean, on every rank. When the ranks' losses are
    means over equally many samples, that is the mean over the global batch; for uneven batches
    use :func:`hpcad.parallel.mean`, which is exact. Parameters are broadcast from rank 0 when
    the engine is made.

    Parameters
    ----------
    model : Module
        Its gradients are moved into memory of the communicator.
    world : World, optional
        :func:`hpcad.parallel.init` when left out.
    bucket_mb, first_bucket_mb : float, optional
        Sizes of the messages, in 10^6 bytes. Chosen from a measurement of the network when left
        out (:func:`hpcad.parallel.gradients.buckets.choose_sizes`).
    overlap : bool
        Start reductions during backward. Otherwise all of them start at its end.
    progress : {"auto", "poll", "thread"}
        Who makes messages move meanwhile; see :mod:`hpcad.parallel.gradients.progress`. Gradients
        on devices go as :mod:`hpcad.parallel.devices.choice` finds out instead (unproven on a GPU).
    reduction : {"exact", "bfloat16", "float16"}
        What sums travel in between ranks that share no memory; see
        :mod:`hpcad.parallel.gradients.half_reducer`.

    Attributes
    ----------
    exposed_seconds : float
        Time that backward passes have spent on reductions: in starting and testing them, and in
        waiting for them at the end. It is read and reset by whoever keeps the books.
    sizes : BucketSizes
    progress : Progress
    half : HalfReducer or None
        What counts the bytes of sums that travel in half precision; None where they do not.
    """

    def __init__(
        self,
        model: Module,
        world: World | None = None,
        *,
        bucket_mb: float | None = None,
        first_bucket_mb: float | None = None,
        overlap: bool = True,
        progress: str = "auto",
        reduction: str = "exact",
    ) -> None:
        for megabytes in (bucket_mb, first_bucket_mb):
            if megabytes is not None and not megabytes > 0:
                raise ConfigError(f"bucket sizes must be positive, not {megabytes} MB")
        self.world = world or init()
        self.model = model
        self.overlap = overlap
        self.exposed_seconds = 0.0
        self._calls = 0.0  # seconds in starting and testing, in this pass
        self._communicator = self.world.communicator
        on_host = isinstance(model.parameters()[0].value, np.ndarray)
        shared = self.world.size > 1 and on_host
        # Half precision is made on the host, and takes device gradients there.
        self._on_devices = self.world.size > 1 and not on_host and reduction == "exact"
        self.arenas = flatten(model, self._communicator.allocate if shared else None)
        fit = self._measured_fit() if self.world.size > 1 else None
        total = sum(arena.grads.flat.nbytes for arena in self.arenas)
        self.sizes = choose_sizes(bucket_mb, first_bucket_mb, total, fit)
        self.buckets = make_buckets(self.arenas, self.sizes.others, self.sizes.first)
        found = self._who_makes_progress(progress, fit)
        self.progress, self.half, self._precision = in_precision(
            found, self._communicator, reduction
        )
        self._reducer = self.progress.reducer
        self._graph = self._in_graph() if self._on_devices else None
        # Exact sums are measured by calls that block; a reducer has none.
        by = self._reducer if self.half else None
        alone = measure_alone(self._communicator, self.buckets, by) if shared else 0.0
        self._book = OverlapBook(alone)
        self._bucket_of = {id(p): b for b in self.buckets for p in b.parameters}
        self._in_flight = InFlight(self.buckets, self._start, self.progress.tests)
        self._local = 0  # depth of no_sync
        self._reduced = False
        self._reset()
        for parameter in model.parameters():
            parameter.sink = self
        CHANGES.count += 1  # programs call the engine that they were captured with
        self.broadcast_parameters()

    def broadcast_parameters(self) -> None:
        """Give every rank the parameters of rank 0."""
        effect(self._broadcast_parameters, writes=True)

    def describe(self) -> str:
        """How the gradients are reduced, in a sentence; equal on every rank."""
        if self.world.size == 1:
            return "gradients stay on the one rank"
        when = "during" if self.overlap else "after"
        count = len(self.buckets)
        messages = f"{count} message{'s' if count > 1 else ''}"
        where = "" if self._graph is None else f", {self._graph}"
        return (
            f"gradients in {messages} {when} the backward pass: {self.sizes}, "
            f"{self.progress.reason}{where}, {self._precision}"
        )

    def overlap_summary(self) -> Overlap | None:
        """What communication cost per step so far; None where there was none. Collective."""
        if self.world.size == 1 or not self._book.alone:
            return None
        return self._book.summary(self._communicator)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Accumulate gradients locally; the first backward pass outside reduces their sum."""
        effect(self._go_local, 1)
        try:
            yield
        finally:
            effect(self._go_local, -1)

    def skip(self) -> None:
        """Take part in a step without samples: contribute a zero gradient.

        Every rank must either run backward or call this, once a step.
        """
        effect(self._skip)

    def effect_kinds(self) -> Callable[[str, tuple[Any, ...]], str | Staged]:
        """What its effects are for one program on a device; see
        :mod:`hpcad.parallel.gradients.device_effects`."""
        from hpcad.parallel.gradients.device_effects import device_effects

        return device_effects(self)

    def effect_state(self) -> tuple[Any, ...]:
        """What that depends on."""
        inside = self._graph is not None and self._graph.allowed
        return inside, self._local if self.world.size > 1 else 0

    @property
    def measures_exposed(self) -> bool:
        """Whether :attr:`exposed_seconds` is what a step is longer for its reductions.

        A device carries them out by itself; then it is what the host waits for other hosts.
        """
        return not self._on_devices

    # -- what the tape calls -----------------------------------------------------------------

    def seed_scale(self) -> float:
        """``1 / world size``: the average is a sum of scaled gradients."""
        self._begin()
        return 1.0 / self.world.size

    def ready(self, parameter: Parameter) -> None:
        """Count down the parameter's bucket; start what is complete, in bucket order."""
        if self._local:
            return
        self._bucket_of[id(parameter)].pending -= 1
        if self.overlap:
            started = time.perf_counter()
            self._in_flight.start_complete()
            self._in_flight.poll(started)
            self._calls += time.perf_counter() - started

    def look(self) -> None:
        """Let reductions progress, between two products of a layer."""
        if self._in_flight.started and not self._local:
            started = time.perf_counter()
            self._in_flight.poll(started)
            self._calls += time.perf_counter() - started

    def finish(self) -> None:
        """Reduce what is left and wait until every gradient is the average."""
        if self._local:
            return
        started = time.perf_counter()
        self._in_flight.start_all()
        self._in_flight.wait()
        if self._graph is not None:
            self._graph.launched()
        self._finished(started)

    # -- inside ------------------------------------------------------------------------------

    def _finished(self, started: float) -> None:
        """Every gradient is the average, as far as whoever uses it sees."""
        for bucket in self.buckets:
            for parameter in bucket.parameters:
                parameter.fresh = True
        if self.world.size > 1:
            waited = time.perf_counter() - started
            self._book.step(self._calls, waited)
            self.exposed_seconds += self._calls + waited
        self._reduced = True
        self._reset()

    def _in_graph(self) -> GraphReductions:
        from hpcad.parallel.devices.in_graph import graph_reductions

        plan = [(b.name, b.arena.grads.dtype, b.span.stop - b.span.start) for b in self.buckets]
        reducer: Any = self._reducer
        return graph_reductions(reducer, self._communicator, self._xp, plan, self._add_exposed)

    def _add_exposed(self, seconds: float) -> None:
        self.exposed_seconds += seconds

    def _measured_fit(self) -> Fit:
        if self._on_devices:
            return device_fit(self._communicator, self._xp)
        return measured_fit(self._communicator)

    @property
    def _xp(self) -> Any:
        return backend_of(self.arenas[0].grads.flat).xp

    def _who_makes_progress(self, wish: str, fit: Fit | None) -> Progress:
        if fit is None:
            return Progress("poll", self._communicator, "with nobody to send to")
        if self._on_devices:
            return device_progress(self._communicator, self._xp)
        if wish == "auto" and not self.overlap:
            return Progress("poll", self._communicator, "polled: nothing overlaps")
        return choose(self._communicator, self.world.thread_level, layout(self.buckets), wish)

    def _broadcast_parameters(self) -> None:
        if self.world.size > 1:
            for arena in self.arenas:
                on_host(arena.values.flat, self._broadcast)

    def _go_local(self, deeper: int) -> None:
        self._local += deeper

    def _skip(self) -> None:
        self._begin()
        self.finish()

    def _begin(self) -> None:
        """Start a pass, also after one that raised, and after parameters were frozen or freed."""
        self._prepare()
        self._in_flight.wait()
        self._reset()

    def _prepare(self) -> None:
        """Before a backward pass adds to gradients that are averages already, undo the average.

        A later sum over ranks then restores them: W times (average / W).
        """
        used = not any(p.fresh for arena in self.arenas for p in arena.parameters)
        if self._reduced and not used and self.world.size > 1:
            for arena in self.arenas:
                arena.zero_unused()
                arena.grads.flat[...] *= 1.0 / self.world.size
        self._reduced = False

    def _reset(self) -> None:
        self._calls = 0.0
        self._in_flight.reset()

    def _start(self, bucket: Bucket) -> Request | None:
        if self.world.size == 1:
            return None
        gradients, reduce = bucket.gradients, self._reducer.iallreduce
        if self._graph is not None and self._graph.allowed:
            if self._in_flight.started == 1:
                self._graph.begin()
            return self._graph.start(gradients)
        if self._on_devices or isinstance(gradients, np.ndarray):
            return reduce(gradients, "sum", bucket.name)
        on_host(gradients, lambda host: reduce(host, "sum", bucket.name).wait())
        return None

    def _broadcast(self, host: np.ndarray) -> None:
        self._communicator.broadcast(host, 0, "parameters")
