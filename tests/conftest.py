"""What all tests share: the report header under MPI, and the helpers of ``launched.py``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

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
    if config.getoption("with_mpi") or config.args_source is pytest.Config.ArgsSource.ARGS:
        return
    folder = Path(__file__).parent / "mpi"
    elsewhere = [item for item in items if folder in item.path.parents]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide every launcher from the test, and from what it starts."""
    kept = without_launcher(os.environ)
    for name in set(os.environ) - set(kept):
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def no_shared_memory_left() -> Iterator[None]:
    """Remove the segments that aborted MPI jobs of these tests have left in /dev/shm."""
    if "mpi4py.MPI" in sys.modules:  # a rank under mpirun: its launching session tidies up
        yield
        return
    before = set(_segments())
    yield
    in_use = _mapped_files()
    for path in set(_segments()) - before:
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


_SETS = pytest.StashKey[list[str]]()


@pytest.fixture
def launched_sets(request: pytest.FixtureRequest) -> list[str]:
    """Closing lines of the sets that ran under mpirun, shown in the summary."""
    return request.config.stash.setdefault(_SETS, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show what ran under mpirun: each set counts as one test in the closing line."""
    sets = config.stash.get(_SETS, [])
    if sets:
        terminalreporter.section("under mpirun")
    for line in sets:
        terminalreporter.write_line(line)
