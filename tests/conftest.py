"""What all tests share: the report under MPI, several workers, the helpers of ``launched.py``."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# importlib mode leaves sys.path alone; this lets every test say `from launched import mpirun`.
sys.path.insert(0, str(Path(__file__).parent))

from launched import without_launcher


def pytest_report_header() -> list[str]:
    """Say which MPI this is, when pytest itself runs under a launcher."""
    if "mpi4py.MPI" not in sys.modules:
        return []
    from mpi4py import MPI

    vendor, version = MPI.get_vendor()
    number = ".".join(map(str, version))
    return [f"MPI: {vendor} {number}, rank {MPI.COMM_WORLD.rank} of {MPI.COMM_WORLD.size}"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests/mpi to tests/parallel/test_under_mpirun.py when everything is run at once."""
    if _is_worker(config):
        items.sort(key=lambda item: item.get_closest_marker("alone") is None)
    if config.getoption("with_mpi") or not _runs_everything(config):
        return
    folder = Path(__file__).parent / "mpi"
    elsewhere = [item for item in items if folder in item.path.parents]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def _runs_everything(config: pytest.Config) -> bool:
    """Whether pytest was started without the names of files or folders."""
    if _is_worker(config):
        return config.workerinput["everything"]
    return config.args_source is not pytest.Config.ArgsSource.ARGS


# -- workers beside each other: pytest -n 2 ----------------------------------------------------


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker what it cannot know."""
    stash = node.config.stash
    if _TURNS not in stash:
        stash[_TURNS] = tempfile.TemporaryDirectory(prefix="hpcad-turns-")
        node.config.add_cleanup(stash[_TURNS].cleanup)
    node.workerinput |= {"everything": _runs_everything(node.config), "turns": stash[_TURNS].name}


_TURNS = pytest.StashKey[tempfile.TemporaryDirectory]()


# First: no test's seconds begin before its turn.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test marked ``alone`` wait until no other worker runs one, and others for its end."""
    if not _is_worker(item.config):
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    folder = Path(item.config.workerinput["turns"])
    with (folder / "door").open("w") as door, (folder / "room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)  # who waits for an empty room lets nobody else in
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)  # a child of a test may still have the file open


# -- what all tests may use --------------------------------------------------------------------


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide every launcher from the test, and from what it starts."""
    kept = without_launcher(os.environ)
    for name in set(os.environ) - set(kept):
        monkeypatch.delenv(name)


# -- what is left behind -----------------------------------------------------------------------

_SEGMENTS = pytest.StashKey[set[Path]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note the segments in /dev/shm; ranks and workers leave that to who started them."""
    if "mpi4py.MPI" not in sys.modules and not _is_worker(session.config):
        session.config.stash[_SEGMENTS] = set(_segments())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the segments that aborted MPI jobs of these tests have left in /dev/shm."""
    if _SEGMENTS not in session.config.stash:
        return
    in_use = _mapped_files()
    for path in set(_segments()) - session.config.stash[_SEGMENTS]:
        if str(path) not in in_use:
            path.unlink(missing_ok=True)


def _segments() -> list[Path]:
    folder = Path("/dev/shm")
    return [*folder.glob("mpich_shm_*"), *folder.glob("sm_segment.*")]


def _mapped_files() -> str:
    """All mappings of all processes that can be read, as text."""
    texts = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            texts.append(maps.read_text())
    return "\n".join(texts)


# -- the summary -------------------------------------------------------------------------------


@pytest.fixture
def launched_set(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that takes the closing line of a set that ran under mpirun."""
    return lambda line: record_property("under mpirun", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what ran under mpirun: each set counts as one test in the closing line.

    And how often checkpoints were disrupted, and by what.
    """
    sets = [line for _, line in _recorded(terminalreporter, "under mpirun")]
    if sets:
        terminalreporter.section("under mpirun")
    for line in sorted(sets):
        terminalreporter.write_line(line)

    disrupted: dict[str, list[int]] = {}
    for test, cases in _recorded(terminalreporter, "disrupted checkpoints"):
        disrupted.setdefault(test, []).append(cases)
    if disrupted:
        terminalreporter.section("disrupted checkpoints")
        for test, counts in disrupted.items():
            terminalreporter.write_line(f"{sum(counts):6} cases in {len(counts)} of {test}")
        terminalreporter.write_line(f"{sum(map(sum, disrupted.values())):6} cases in all")


def _recorded(terminalreporter: pytest.TerminalReporter, wanted: str) -> Iterator[tuple[str, Any]]:
    """The names of tests that passed, without parameters, and what they recorded as ``wanted``."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == wanted:
                yield report.location[2].partition("[")[0], value
