"""The facts of a run, which its samples carry: :data:`hpcad.scaling.study.samples.FACTS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xxhash

from hpcad.backend import backend_of, to_host
from hpcad.parallel import DataParallel
from hpcad.parallel.threads import available_cores
from hpcad.scaling.study.orders import Orders
from hpcad.scaling.study.roofs import measure_roofs
from hpcad.scaling.study.step_clock import StepClock
from hpcad.scaling.study.surroundings import clock as clock_name
from hpcad.scaling.study.surroundings import environment
from hpcad.training.trainer import Trainer


def gather_facts(
    trainer: Trainer,
    orders: Orders,
    clock: StepClock,
    *,
    pinned: Sequence[int] | None,
    began: str,
) -> dict[str, Any]:
    """Measure and collect; the same on all ranks, but for the environment. Collective."""
    world, engine = trainer.world, trainer.engine
    backend = backend_of(engine.arenas[0].values.flat)
    roofs: tuple[float | None, float | None] = (None, None)
    if orders.roofs:
        roofs = measure_roofs(world, backend, engine.arenas[0].values.dtype)
    own = {
        "host": world.host,
        "cores": available_cores(),
        "digest": digest(engine),
        "flops": clock.flops,
    }
    every = world.communicator.gather_json(own, "facts")
    reduces = orders.point.control != "communication off"
    buckets = [bucket.nbytes for bucket in engine.buckets] if reduces else []
    flops = sum(each["flops"] for each in every)
    return {
        "hosts": [each["host"] for each in every],
        "nodes": world.nodes,
        "cores": len(
            {core for each in every if each["host"] == world.host for core in each["cores"]}
        ),
        "threads": orders.threads,
        "oversubscribed": oversubscribed(every, orders.threads),
        "device": world.device.partition(":")[0],
        "parameters": trainer.model.parameter_count(),
        "gradient_bytes": sum(buckets),
        "buckets": buckets,
        "flops": flops or None,
        "peak_flops": roofs[0],
        "memory_bandwidth": roofs[1],
        "digests": [each["digest"] for each in every],
        "clock": clock_name(),
        "began": began,
        "dataset": trainer.train.hash,
        "seed": trainer.seed,
        "environment": environment(world, backend, orders.code),
        # Holds what was measured for the choice: not a part of what runs have in common.
        "communicator": world.communicator_line(),
        "pinned": pinned is not None,
        "cpu_masks": [each["cores"] for each in every],
        "smaller_steps": clock.left_out,
    }


def oversubscribed(ranks: Sequence[Mapping[str, Any]], threads: int) -> bool:
    """Whether the ranks of a host have more threads than it has cores.

    Threads that read data or look after messages are not counted: they mostly wait.

    >>> oversubscribed([{"host": "a", "cores": [0, 1]}, {"host": "a", "cores": [0, 1]}], threads=2)
    True
    """
    cores: dict[str, set[int]] = {}
    wanted: dict[str, int] = {}
    for each in ranks:
        cores.setdefault(each["host"], set()).update(each["cores"])
        wanted[each["host"]] = wanted.get(each["host"], 0) + threads
    return any(wanted[host] > len(cores[host]) for host in cores)


def digest(engine: DataParallel) -> str:
    """A hash of all parameters."""
    state = xxhash.xxh3_128()
    for arena in engine.arenas:
        state.update(to_host(arena.values.flat).tobytes())
    return str(state.hexdigest())
