"""How much memory a job may still take: what the machine has left, and what its control group lets.

Batch systems and containers limit jobs by control groups; a job that asks only how much the machine
has is killed where another job would get an error.
"""

from __future__ import annotations

from pathlib import Path

_MACHINE = Path("/proc/meminfo")
_MINE = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # version 1 states no limit as the largest multiple of a page


def available_memory() -> int:
    """Bytes that this node can still give, by the tightest limit that holds for this process.

    Memory that only caches files counts as available: the kernel gives it up when it must.

    Returns
    -------
    int
        2**60 where nothing is known.
    """
    return min([_of_machine(), *map(_of_group, _groups())])


def _of_machine() -> int:
    found = _numbers(_MACHINE).get("MemAvailable:")
    return _UNLIMITED if found is None else found * 1024


def _groups() -> list[Path]:
    """The directories of this process's control group and of all that it lies in."""
    found = []
    for line in _text(_MINE).splitlines():
        number, controllers, place = line.split(":", 2)
        root = _GROUPS if number == "0" else _GROUPS / "memory"
        if number == "0" or "memory" in controllers.split(","):
            inner = root / place.strip("/")
            found += [inner, *(path for path in inner.parents if root in (path, *path.parents))]
    return found


def _of_group(group: Path) -> int:
    """What a group may still take; unlimited where it has no limit."""
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        most, used = _text(group / limit).strip(), _text(group / usage).strip()
        if most.isdecimal() and used.isdecimal() and int(most) < _UNLIMITED:
            stat = _numbers(group / "memory.stat")
            cached = stat.get("inactive_file", stat.get("total_inactive_file", 0))
            return max(0, int(most) - int(used) + cached)
    return _UNLIMITED


def _numbers(path: Path) -> dict[str, int]:
    """The first number of every line, by the line's first word."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
