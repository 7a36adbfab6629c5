"""Machines and workloads of few numbers."""

from __future__ import annotations

from hpcad.scaling.simulation.machine import Collectives, Device, Level, Machine, Noise
from hpcad.scaling.simulation.workload import Gradient, Workload, work

UNIT = Device(flops=1.0, memory_bandwidth=1e12)


def machine(*levels, algorithms=("ring",), steals=0.0, noise=None, overhead=0.0, **others):
    """Levels are (members, latency, bandwidth); operations of its device are seconds."""
    named = {
        f"level{i}": Level(latency=a, bandwidth=b, size=m) for i, (m, a, b) in enumerate(levels)
    }
    collectives = Collectives(overhead=overhead, algorithms=list(algorithms), steals=steals)
    return Machine(
        "a machine", UNIT, named, collectives=collectives, noise=noise or Noise(), **others
    )


def workload(forward=1.0, backward=(1.0,), update=0.5, messages=((1, 1),), **others):
    """Seconds of a sample; messages are (bytes, pieces of the backward pass)."""
    return Workload(
        name="a step",
        batch=1,
        forward=work([forward], [0.0]),
        backward=work(list(backward), [0.0] * len(backward)),
        optimizer=work([update], [0.0], per_sample=False),
        gradients=tuple(Gradient(n, after) for n, after in messages),
        **{"bucket_bytes": (0, 0), **others},
    )
