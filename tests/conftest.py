"""What all tests share: the report header under MPI, and the helpers of ``launched.py``."""

from __future__ import annotations

import os
import sys
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
