"""What a job may still take is what the tightest limit leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcad.data import memory


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GB available, whose control groups can be written."""
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    (tmp_path / "mine").write_text("0::/batch/job\n")
    (tmp_path / "groups/batch/job").mkdir(parents=True)
    monkeypatch.setattr(memory, "_MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_MINE", tmp_path / "mine")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    return tmp_path / "groups"


def limit(group: Path, most: str, used: int, cached: int) -> None:
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_without_limits_it_is_the_machines(machine: Path) -> None:
    assert memory.available_memory() == 8_192_000_000
    limit(machine / "batch/job", "max", 10, 0)
    assert memory.available_memory() == 8_192_000_000


def test_the_limit_of_any_group_around_holds(machine: Path) -> None:
    limit(machine / "batch/job", "3000000000", 1_000_000_000, 500_000_000)
    assert memory.available_memory() == 2_500_000_000
    limit(machine / "batch", "2000000000", 1_900_000_000, 0)
    assert memory.available_memory() == 100_000_000


def test_groups_of_version_1_are_understood(machine: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("4:cpu:/x\n7:memory:/job\n")
    group = machine / "memory/job"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("2000\n")
    (group / "memory.usage_in_bytes").write_text("500\n")
    (group / "memory.stat").write_text("total_inactive_file 300\n")
    assert memory.available_memory() == 1800
    (group / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.available_memory() == 8_192_000_000


def test_where_nothing_is_known_nothing_is_refused(
    machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_MACHINE", tmp_path / "absent")
    assert memory.available_memory() == 1 << 60
