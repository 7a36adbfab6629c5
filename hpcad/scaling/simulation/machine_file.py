"""A machine's description: a TOML file, checked section by section.

Those that come with hpcad lie in ``hpcad/scaling/simulation/machines``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcad.errors import ConfigError
from hpcad.scaling.simulation.machine import (
    Collectives,
    Device,
    Failures,
    Level,
    Machine,
    Noise,
    Sharing,
    Storage,
)
from hpcad.training.job_fields import Place, bounded, build, suggestion
from hpcad.training.job_source import key_lines

MACHINES = Path(__file__).parent / "machines"


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
