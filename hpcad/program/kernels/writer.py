"""Lines of C with their indentation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Writer:
    """Collects lines; blocks nest."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 0

    def add(self, line: str) -> None:
        """One line at the present depth; those of the preprocessor begin where all begin."""
        self.lines.append(line if line.startswith("#") else "    " * self._depth + line)

    @contextlib.contextmanager
    def block(self, head: str = "") -> Iterator[None]:
        """``head { ... }``."""
        self.add(f"{head} {{".lstrip())
        self._depth += 1
        yield
        self._depth -= 1
        self.add("}")

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"
