"""A machine as its file describes it: devices, levels of its network, noise, storage, failures.

Level by level from the inside: the ranks of a node, the nodes of a switch, and so on. ``size``
members make one group of the level; a member of the first level is a rank, a member of the next one
is a whole group of the first. ``bandwidth`` is what leaves one member in one direction, over all
its links together: so the network cards that the ranks of a node share are counted once, and a
tapered network is a smaller bandwidth of the groups further out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpcad.errors import ConfigError
from hpcad.training.job_fields import Place, bounded, build, suggestion
from hpcad.training.job_source import key_lines

MACHINES = Path(__file__).parent / "machines"
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
    """A machine. Made by `load_machine`, or by hand."""

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


def known_machines() -> list[str]:
    """The names of the machines that come with hpcad."""
    return sorted(path.stem for path in MACHINES.glob("*.toml"))


def load_machine(name: str) -> Machine:
    """Read and check a machine's file.

    Parameters
    ----------
    name
        Of a known machine, or the path of a file: what ends with ``.toml`` or has a ``/`` in it.

    Raises
    ------
    ConfigError
        There is no such machine or file, or it is not what it must be; with file and line.
    """
    if name.endswith(".toml") or "/" in name:
        path = Path(name)
    else:
        path = MACHINES / f"{name}.toml"
        if name not in known_machines():
            raise ConfigError(
                f"there is no machine {name!r}; {suggestion(name, known_machines())} "
                "A machine of your own is given by its path: --machine path/to/machine.toml"
            )
    table, place = read_table(path, "machine file")
    return machine_from(table, place)


def read_table(path: Path, what: str) -> tuple[dict[str, Any], Place]:
    """A TOML file, and what says where in it a key stands."""
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {what} {path} (relative paths start from {Path.cwd()})"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{what} {path} is not valid TOML: {error}") from error
    lines = key_lines(text)

    def place(keys: tuple[str, ...]) -> str:
        for length in range(len(keys), 0, -1):
            if keys[:length] in lines:
                return f"{path}:{lines[keys[:length]]}"
        return str(path)

    return table, place


def machine_from(table: Mapping[str, Any], place: Place) -> Machine:
    """A machine from plain values; see :func:`load_machine`."""
    levels = table.get("levels")
    if not isinstance(levels, Mapping) or not all(isinstance(v, Mapping) for v in levels.values()):
        raise ConfigError(
            f"{place(('levels',))}: a machine needs sections [levels.NAME], the innermost first"
        )
    if not levels:
        raise ConfigError(f"{place(('levels',))}: a machine needs one level or more")
    built = {
        name: build(Level, content, ("levels", name), place) for name, content in levels.items()
    }
    for name in list(built)[:-1]:
        if built[name].size is None:
            raise ConfigError(
                f"{place(('levels', name))}: [levels.{name}] needs a size; only the outermost "
                "level may go without"
            )
    sections = dict(table) | {"levels": built}
    if isinstance(table.get("sharing"), Mapping):
        sections["sharing"] = build(Sharing, table["sharing"], ("sharing",), place)
    return build(_MachineFile, sections, (), place).machine()


@dataclass(frozen=True)
class _MachineFile:
    """What may stand in the file. `Any`: built before; `build` knows plain sections only."""

    title: str
    device: Device
    levels: Any
    ranks_per_node: int = bounded(1, at_least=1)
    sharing: Any = None
    collectives: Collectives = field(default_factory=Collectives)
    noise: Noise = field(default_factory=Noise)
    storage: Storage = field(default_factory=Storage)
    failures: Failures = field(default_factory=Failures)
    measured: bool = False
    documentation: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.sharing is not None and not isinstance(self.sharing, Sharing):
            raise ValueError(f"sharing must be a section, [sharing], not {self.sharing!r}")

    def machine(self) -> Machine:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Machine(**values | {"documentation": tuple(self.documentation)})
