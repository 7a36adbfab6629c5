"""Choices kept on disk: one JSON file per processor, set of libraries and number of threads."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
import os
import platform
import tempfile
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, Protocol

from hpcad.backend.gemm.library import Library
from hpcad.backend.native.cache import cache_directory

log = logging.getLogger(__name__)

FORMAT = 1  # raised when the ways or their labels change


class Keyed(Protocol):
    """A product that choices are kept for."""

    @property
    def key(self) -> str:
        """What tells it from others."""
        ...


class Record:
    """The choices in one file; a damaged one, or one for other libraries, is as good as none.

    A file is replaced as a whole, by a rename. Where several ranks measure at once the last one's
    choices stay; what others added meanwhile is read again before.
    """

    def __init__(self, path: Path, libraries: Sequence[str]) -> None:
        self.path = path
        self._about = list(libraries)
        self._choices = self._read()

    def get(self, product: Keyed, labels: Container[str] | None = None) -> tuple[str, float] | None:
        """Label and seconds; ``None`` where there is no choice, or none of ``labels``."""
        label, took = self._choices.get(product.key, ("", 0.0))
        known = label in labels if labels is not None else bool(label)
        return (label, took) if known else None

    def all(self) -> dict[str, str]:
        """Key -> label of everything that was chosen."""
        return {key: label for key, (label, _) in self._choices.items()}

    def put(self, product: Keyed, label: str, took: float) -> None:
        """Keep a choice."""
        self._choices = {**self._read(), **self._choices, product.key: (label, took)}
        content = {"format": FORMAT, "libraries": self._about, "choices": self._choices}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.stem)
            with os.fdopen(file, "w") as stream:
                json.dump(content, stream, indent=1)
            os.replace(name, self.path)
        except OSError as error:  # a full or read-only disk costs time, not results
            log.info("the choice of a matrix product cannot be kept: %s", error)

    def _read(self) -> dict[str, tuple[str, float]]:
        try:
            content = json.loads(self.path.read_text())
            if content["format"] != FORMAT or content["libraries"] != self._about:
                return {}
            return {str(key): _checked(*pair) for key, pair in content["choices"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.info("%s is not a record of choices, and is written anew: %s", self.path, error)
            return {}


def _checked(label: Any, took: Any) -> tuple[str, float]:
    if not isinstance(label, str) or not 0 < float(took) < math.inf:
        raise ValueError(f"not a choice: {label!r}, {took!r}")
    return label, float(took)


def record(libraries: Sequence[Library], threads: int) -> Record:
    """The record for these libraries and this number of threads on this processor."""
    about = (_processor(), f"{threads} threads", *(lib.identity for lib in libraries))
    return _record(cache_directory(), about)


@functools.cache
def _record(directory: Path, about: tuple[str, ...]) -> Record:
    digest = hashlib.sha256("\0".join(about).encode()).hexdigest()[:16]
    return Record(directory / f"products-{digest}.json", about)


@functools.cache
def _processor() -> str:
    """Its name; nodes of one cluster share homes but not always processors."""
    wanted = ("model name", "cpu family", "model", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        lines = []
    parts = [line.partition(":")[2].strip() for line in lines if line.split("\t")[0] in wanted]
    return " ".join([*parts, platform.machine(), f"{os.cpu_count()} cores"])
