"""A machine as a simulation sees it: devices, levels of its network, noise, storage, failures.

Level by level from the inside: the ranks of a node, the nodes of a switch, and so on. ``size``
members make one group of the level; a member of the first level is a rank, a member of the next one
is a whole group of the first. ``bandwidth`` is what leaves one member in one direction, over all
its links together: so the network cards that the ranks of a node share are counted once, and a
tapered network is a smaller bandwidth of the groups further out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from hpcad.errors import ConfigError
from hpcad.training.job_fields import bounded

Algorithm = Literal["ring", "tree", "hierarchical", "halving"]


@dataclass(frozen=True)
class Device:
    """What computes for one rank.

    Attributes
    ----------
    flops : float
        Floating-point operations per second that products reach (not those of the data sheet).
    memory_bandwidth : float
        Bytes per second, read and written.
    overhead : float
        Seconds that every step of a program takes besides.
    """

    flops: float = bounded(above=0)
    memory_bandwidth: float = bounded(above=0)
    overhead: float = bounded(0.0, at_least=0)


@dataclass(frozen=True)
class Sharing:
    """What is left of a device for each rank when ``ranks`` ranks of a node compute at a time.

    Factors on the two rates, at most 1, interpolated in between (straight in logarithms). Beyond
    the last entry the node's total stays what it is, as when ranks take turns on cores.
    """

    ranks: list[int] = bounded(at_least=1)
    flops: list[float] = bounded(above=0)
    memory_bandwidth: list[float] = bounded(above=0)

    def __post_init__(self) -> None:
        if not len(self.ranks) == len(self.flops) == len(self.memory_bandwidth) > 0:
            raise ValueError("ranks, flops and memory_bandwidth must be lists of the same length")
        if sorted(set(self.ranks)) != self.ranks:
            raise ValueError(f"ranks must increase, unlike {self.ranks}")

    def factors(self, ranks: int) -> tuple[float, float]:
        """Factors on operations and on bytes per second."""
        last = self.ranks[-1]
        turns = last / max(ranks, last)
        at = np.log(min(ranks, last))
        found = [
            float(np.exp(np.interp(at, np.log(self.ranks), np.log(column)))) * turns
            for column in (self.flops, self.memory_bandwidth)
        ]
        return found[0], found[1]


@dataclass(frozen=True)
class Level:
    """One level of the network.

    Attributes
    ----------
    latency : float
        Seconds of the shortest message from one member to another.
    bandwidth : float
        Bytes per second that leave a member, in one direction.
    size : int or None
        Members of a group; None: as many as there are.
    measured : list of [members, seconds, bytes per second]
        An allreduce among so many members takes ``seconds + bytes / (bytes per second)``: what a
        sweep has found, in the place of a formula. Interpolated in between.
    """

    latency: float = bounded(at_least=0)
    bandwidth: float = bounded(above=0)
    size: int | None = bounded(None, at_least=1)
    measured: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        wrong = [row for row in self.measured if len(row) != 3 or min(row) <= 0]
        if wrong:
            raise ValueError(
                f"measured must hold [members, seconds, bytes per second], above 0, not {wrong[0]}"
            )


@dataclass(frozen=True)
class Collectives:
    """How the library reduces.

    Attributes
    ----------
    overhead : float
        Seconds that every collective takes besides, such as that of a kernel launch.
    algorithms : list
        Those that it chooses from, by the time that each takes for a message; see
        :mod:`hpcad.scaling.simulation.collectives`.
    steals : float
        Share of a device's speed that computation loses while a collective is under way: 0 where
        the network works alone, 1 where the core that computes also reduces.
    """

    overhead: float = bounded(0.0, at_least=0)
    algorithms: list[Algorithm] = field(default_factory=lambda: ["ring", "tree"])
    steals: float = bounded(0.0, at_least=0, at_most=1)

    def __post_init__(self) -> None:
        if not self.algorithms:
            raise ValueError(
                "algorithms must name at least one of ring, tree, hierarchical, halving"
            )


@dataclass(frozen=True)
class Noise:
    """How much longer a rank's computation takes in a step, as a share of it.

    ``1 + sigma z + late``: z is normal; ``late`` is 0 but with ``tail_probability``, when it is
    exponential with the mean ``tail_mean``.
    """

    sigma: float = bounded(0.0, at_least=0, below=1)
    tail_probability: float = bounded(0.0, at_least=0, below=1)
    tail_mean: float = bounded(0.0, at_least=0)

    def __post_init__(self) -> None:
        if (self.tail_probability == 0) != (self.tail_mean == 0):
            raise ValueError("tail_probability and tail_mean must both be 0, or both above 0")


@dataclass(frozen=True)
class Storage:
    """Bytes per second of the file system for all ranks together; None: never what limits."""

    read_bandwidth: float | None = bounded(None, above=0)
    write_bandwidth: float | None = bounded(None, above=0)


@dataclass(frozen=True)
class Failures:
    """How often a node fails, and how long it takes until the job trains again."""

    node_mtbf_hours: float | None = bounded(None, above=0)
    restart_seconds: float = bounded(300.0, at_least=0)


@dataclass(frozen=True)
class Machine:
    """A machine. Made by :func:`hpcad.scaling.simulation.machine_file.load_machine`, or by hand."""

    title: str
    device: Device
    levels: dict[str, Level]
    ranks_per_node: int = 1
    sharing: Sharing | None = None
    collectives: Collectives = field(default_factory=Collectives)
    noise: Noise = field(default_factory=Noise)
    storage: Storage = field(default_factory=Storage)
    failures: Failures = field(default_factory=Failures)
    measured: bool = False
    documentation: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where its numbers come from, for tables."""
        return "measured" if self.measured else "from documents, not measured"

    def members(self, ranks: int) -> list[int]:
        """Members of each level that ``ranks`` ranks take, which fill one group after another.

        Raises
        ------
        ConfigError
            The machine has no room for so many.
        """
        found, left = [], ranks
        for level in self.levels.values():
            size = left if level.size is None else min(left, level.size)
            found.append(size)
            left = -(-left // size)
        if left > 1:
            room = int(np.prod([float(level.size or 1) for level in self.levels.values()]))
            raise ConfigError(
                f"{self.title} has room for {room:,} ranks, not for {ranks:,}; ask for fewer, or "
                "describe a further level"
            )
        return found

    def nodes(self, ranks: int) -> int:
        """How many nodes so many ranks take."""
        return -(-ranks // self.ranks_per_node)

    def device_at(self, ranks: int) -> Device:
        """A rank's device while the others of its node compute, too."""
        if self.sharing is None:
            return self.device
        flops, memory = self.sharing.factors(min(ranks, self.ranks_per_node))
        return replace(
            self.device,
            flops=self.device.flops * flops,
            memory_bandwidth=self.device.memory_bandwidth * memory,
        )
