"""A site: how its nodes are built, and which settings its batch scripts need, each with its reason.

A profile is a TOML file; those of known sites lie in ``hpcad/launch/sites``. Every setting is a
pair, ``NAME = ["value", "reason"]``: the reason becomes the comment above it in the script.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hpcad.errors import ConfigError
from hpcad.training.job_fields import Place, bounded, build, suggestion
from hpcad.training.job_source import key_lines

SITES = Path(__file__).parents[1] / "sites"

# What the script itself writes: a profile that gave them as well would be asking twice.
_OF_THE_SCRIPT = {
    "directives": {"--job-name", "--nodes", "--ntasks", "--ntasks-per-node", "--cpus-per-task"}
    | {"--time", "--output", "--open-mode", "--requeue", "--no-requeue", "--signal"},
    "srun": {"--kill-on-bad-exit", "--unbuffered", "--nodes", "--ntasks", "--ntasks-per-node"},
    "environment": {"OMP_NUM_THREADS", "SRUN_CPUS_PER_TASK"},
}
_OPTION = (re.compile(r"--[a-z][a-z-]*"), "a long option such as --constraint")
_NAMES = {
    "directives": _OPTION,
    "srun": _OPTION,
    "environment": (re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), "the name of a variable"),
}
_WORD = re.compile(r"[A-Za-z0-9_.,:;=+@%&|*/\[\]()!^-]*")  # in `#SBATCH --option=WORD`
_PRINTABLE = re.compile(r"[ -~]*")


class Setting(NamedTuple):
    """The value of an option or variable, and why it has it. An option without value has ""."""

    value: str
    why: str


@dataclass(frozen=True)
class Site:
    """Whose nodes these are, where that is documented, and what --account must be like."""

    title: str
    documentation: list[str]
    account: str | None = None


@dataclass(frozen=True)
class Node:
    """One node: ranks on it, GPUs, processors a rank (as Slurm counts them) and its threads."""

    ranks: int = bounded(at_least=1)
    gpus: int = bounded(0, at_least=0)
    gpu: Literal["none", "nvidia", "amd"] = "none"
    cpus_per_rank: int | None = bounded(None, at_least=1)
    threads_per_rank: int | None = bounded(None, at_least=1)

    def __post_init__(self) -> None:
        if (self.gpus == 0) != (self.gpu == "none"):
            raise ValueError(f"gpus = {self.gpus} and gpu = {self.gpu!r} contradict each other")
        if self.gpus and self.ranks > self.gpus:
            raise ValueError(f"{self.ranks} ranks would share {self.gpus} GPUs; give each its own")


@dataclass(frozen=True)
class Devices:
    """Which device each local rank is shown: ``order[local rank]``, through ``variable``."""

    variable: Literal["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"]
    order: list[int]
    why: str


@dataclass(frozen=True)
class Profile:
    """A site as its file describes it. Made by `load_profile`."""

    name: str
    site: Site
    node: Node
    devices: Devices | None = None
    directives: dict[str, Setting] = field(default_factory=dict)
    environment: dict[str, Setting] = field(default_factory=dict)
    srun: dict[str, Setting] = field(default_factory=dict)
    modules: dict[str, Setting] = field(default_factory=dict)


def known_sites() -> list[str]:
    """The names of the profiles that come with hpcad."""
    return sorted(path.stem for path in SITES.glob("*.toml"))


def load_profile(name: str) -> Profile:
    """Read and check a profile.

    Parameters
    ----------
    name
        Of a known site, or the path of a file: what ends with ``.toml`` or has a ``/`` in it.

    Raises
    ------
    ConfigError
        There is no such site or file, or it is not what a profile must be; with file and line.
    """
    if name.endswith(".toml") or "/" in name:
        path = Path(name)
    else:
        path = SITES / f"{name}.toml"
        if name not in known_sites():
            raise ConfigError(
                f"there is no site {name!r}; {suggestion(name, known_sites())} "
                "A profile of your own is given by its path: --site path/to/profile.toml"
            )
    text = _read(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"site profile {path} is not valid TOML: {error}") from error
    lines = key_lines(text)

    def place(keys: tuple[str, ...]) -> str:
        for length in range(len(keys), 0, -1):
            if keys[:length] in lines:
                return f"{path}:{lines[keys[:length]]}"
        return str(path)

    return _profile(path.stem, table, place)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no site profile {path} (relative paths start from {Path.cwd()})"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"site profile {path} is not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"site profile {path} cannot be read: {error.strerror}") from error


def _profile(name: str, table: Mapping[str, Any], place: Place) -> Profile:
    sections = ["site", "node", "devices", "directives", "environment", "srun", "modules"]
    for key, value in table.items():
        if key not in sections:
            near = suggestion(key, sections, form="[{}]")
            raise ConfigError(f"{place((key,))}: a site profile has no section [{key}]; {near}")
        if not isinstance(value, Mapping):
            raise ConfigError(f"{place((key,))}: {key} must be a section, [{key}], not {value!r}")
    for key in ("site", "node"):
        if key not in table:
            raise ConfigError(f"{place(())}: a site profile needs a section [{key}]")
    node = build(Node, table["node"], ("node",), place)
    devices = None
    if "devices" in table:
        devices = build(Devices, table["devices"], ("devices",), place)
        if sorted(devices.order) != list(range(node.gpus)):
            raise ConfigError(
                f"{place(('devices', 'order'))}: [devices] order must name each of the "
                f"{node.gpus} GPUs of a node once, counted from 0, not {devices.order}"
            )
    return Profile(
        name,
        build(Site, table["site"], ("site",), place),
        node,
        devices,
        *(_settings(key, table.get(key, {}), place) for key in sections[3:]),
    )


def _settings(section: str, table: Mapping[str, Any], place: Place) -> dict[str, Setting]:
    pattern, form = _NAMES.get(section, (re.compile(r"[\w.+/-]+"), "the name of a module"))
    for key, pair in table.items():
        at = f"{place((section, key))}: [{section}] {key}"
        if not pattern.fullmatch(key):
            raise ConfigError(f"{at} is not {form}")
        if key in _OF_THE_SCRIPT.get(section, ()):
            raise ConfigError(f"{at} is written by hpcad itself; leave it away")
        texts = isinstance(pair, list) and [type(item) for item in pair] == [str, str]
        if not texts or not all(_PRINTABLE.fullmatch(item) for item in pair) or not pair[1].strip():
            raise ConfigError(
                f'{at} must be two strings of ASCII, ["value", "why it has it"], not {pair!r}'
            )
        if section == "directives" and not _WORD.fullmatch(pair[0]):
            raise ConfigError(f"{at} must be one word without quotes, not {pair[0]!r}")
    return {key: Setting(*pair) for key, pair in table.items()}
