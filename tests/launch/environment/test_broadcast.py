"""A copied environment works where it is; nothing is left of a copy that is not whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from launched import mpirun_prefix, run_bounded

from hpcad import cli
from hpcad.errors import LaunchError
from hpcad.launch.environment import command, place, relocation, stream
from hpcad.launch.environment.command import broadcast
from hpcad.launch.environment.place import RECORD
from hpcad.parallel.library import installed_wheel


@pytest.fixture(autouse=True)
def _alone(plain_environment):
    """No launcher, and the handler of before."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


QUIET = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


def said_by(copy: Path, folder: Path) -> list[str]:
    """What the script of a copy says, with the original out of reach."""
    away = folder / "away"
    (folder / "slow").rename(away)
    try:
        done = run_bounded([copy / "bin" / "say"], timeout=30, cwd=folder, env={"PYTHONPATH": ""})
    finally:
        away.rename(folder / "slow")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "slow")


def test_a_copy_works_without_the_original(environment, tmp_path, capsys):
    copy = tmp_path / "node" / "env"
    assert broadcast(str(copy), str(environment)) == 0
    said = capsys.readouterr()
    assert said.out == f'export PATH={copy}/bin:"$PATH"\n'
    assert "was copied to 1 of 1 node" in said.err
    assert said_by(copy, tmp_path) == [
        f"{copy}/editable/0/hpcad/__init__.py",
        f"{copy}/editable/1/__init__.py",
        "42",
        str(copy),
    ]
    assert left_in(tmp_path / "node") == ["env"]
    assert os.readlink(copy / "link").startswith(f"{copy}/lib/")
    assert f'VIRTUAL_ENV="{copy}"' in (copy / "bin/activate").read_text().replace("'", '"')
    assert not list(copy.rglob("large.txt"))
    mode = next(copy.rglob("read_only.py")).stat().st_mode
    assert mode & 0o777 == 0o444


def test_a_second_time_it_is_there_already(environment, tmp_path, capsys):
    copy = tmp_path / "env"
    broadcast(str(copy), str(environment))
    run_bounded([copy / "bin/say"], timeout=30, env=dict.fromkeys(QUIET, ""))
    assert list(copy.glob("editable/*/__pycache__/*.pyc"))  # compiled meanwhile
    before = copy.stat().st_ino
    broadcast(str(copy), str(environment))
    assert copy.stat().st_ino == before
    assert "is on 1 node already, verified" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["changed", "damaged"])
def test_a_copy_that_differs_is_replaced(environment, tmp_path, what):
    copy = tmp_path / "env"
    broadcast(str(copy), str(environment))
    if what == "changed":
        (tmp_path / "slow/other/__init__.py").write_text("answer = 43\n")
    else:
        (copy / "editable/1/__init__.py").write_text("answer = 41\n")
    broadcast(str(copy), str(environment))
    assert said_by(copy, tmp_path)[2] == {"changed": "43", "damaged": "42"}[what]
    assert left_in(tmp_path) == ["env"]


def test_what_this_command_did_not_make_is_left_alone(made, tmp_path):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "results.txt").write_text("mine")
    with pytest.raises(LaunchError, match="was not made by this command"):
        broadcast(str(tmp_path / "env"), str(made))
    assert left_in(tmp_path) == ["env"]
    assert (tmp_path / "env/results.txt").read_text() == "mine"


def test_too_little_room(made, tmp_path, monkeypatch):
    found = SimpleNamespace(f_bavail=1000, f_frsize=4096)
    monkeypatch.setattr(place.os, "statvfs", lambda path: found)
    with pytest.raises(LaunchError, match=r"has 4 MiB free, and the environment needs \d\d MiB"):
        broadcast(str(tmp_path / "env"), str(made))
    assert left_in(tmp_path) == []


def test_a_disk_that_fails_while_unpacking(made, tmp_path, monkeypatch):
    def extract(tar, member, *args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stream.tarfile.TarFile, "extract", extract)
    with pytest.raises(LaunchError, match=r"could not be unpacked in .* No space left on device"):
        broadcast(str(tmp_path / "env"), str(made))
    assert left_in(tmp_path) == []


def test_a_byte_that_changed_on_the_way(made, tmp_path, monkeypatch):
    def unpack(source, folder):
        whole(source, folder)
        with next(folder.rglob("big.dat")).open("r+b") as file:
            file.write(b"H")

    whole = stream._unpack
    monkeypatch.setattr(stream, "_unpack", unpack)
    with pytest.raises(LaunchError, match="is not what was sent"):
        broadcast(str(tmp_path / "env"), str(made))
    assert left_in(tmp_path) == []


def test_a_run_that_is_told_to_end_leaves_the_old_copy(environment, tmp_path, monkeypatch):
    copy = tmp_path / "env"
    broadcast(str(copy), str(environment))
    (tmp_path / "slow/other/__init__.py").write_text("answer = 43\n")
    monkeypatch.setattr(command, "_settle", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        broadcast(str(copy), str(environment))
    assert left_in(tmp_path) == ["env"]
    assert said_by(copy, tmp_path)[2] == "42"


def test_what_a_killed_run_left_is_removed(made, tmp_path):
    partial = tmp_path / ".env.partial"
    (partial / "lib").mkdir(parents=True)
    (partial / ".from-abc-0").touch()
    (partial / "pyvenv.cfg").touch()
    broadcast(str(tmp_path / "env"), str(made))
    assert left_in(tmp_path) == ["env"]
    assert not list((tmp_path / "env").glob(".from-*"))


def test_two_runs_do_not_write_at_once(made, tmp_path):
    partial = tmp_path / ".env.partial"
    partial.mkdir()
    lock = os.open(partial, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with pytest.raises(LaunchError, match="another run writes to"):
            broadcast(str(tmp_path / "env"), str(made))
    finally:
        os.close(lock)
    assert left_in(tmp_path) == [".env.partial"]


def test_another_node_in_the_same_directory(tmp_path):
    """A file system of all nodes that does not lock."""
    mine = place.Place(tmp_path / "env")
    mine.open(0, "run", 0)
    (mine.partial / ".from-run-1").touch()
    with pytest.raises(LaunchError, match="is shared by several nodes"):
        mine.check_own()
    mine.close()
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("to", "environment", "words"),
    [("$NO_SUCH_DISK/env", None, "names a variable"), ("env", "/usr", "is no virtual environment")],
)
def test_what_was_asked_for_is_not_possible(to, environment, words, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LaunchError, match=words):
        broadcast(to, environment or str(made))


def test_programs_in_machine_code_are_not_rewritten(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "pyvenv.cfg").write_text("command = python -m venv /old/env\n")
    program = b"\x7fELF\0\0/old/env/lib"
    (tmp_path / "bin/mpirun").write_bytes(program)
    (tmp_path / "bin/pip").write_text("#!/bin/sh\n'''exec' \"/old/env/bin/python\" \"$0\"\n")
    relocation.relocate(tmp_path, Path("/old/env"), Path("/new"), {})
    assert (tmp_path / "bin/mpirun").read_bytes() == program
    assert "'''exec' \"/new/bin/python\"" in (tmp_path / "bin/pip").read_text()
    assert (tmp_path / "pyvenv.cfg").read_text() == "command = python -m venv /new\n"


def test_the_command_imports_little():
    program = (
        "import sys, hpcad.cli\n"
        "from hpcad.launch.environment import command\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'numpy', 'h5py'}))\n"
        "print([name for name in sys.modules if name.startswith('hpcad.') "
        "and not name.startswith(('hpcad.launch', 'hpcad.cli', 'hpcad.errors'))])"
    )
    done = run_bounded([sys.executable, "-c", program], timeout=30)
    assert done.stdout == "[]\n[]\n", done.stderr


def test_the_command_line(made, tmp_path, capsys):
    words = ["env", "broadcast", str(tmp_path / "env"), "--environment", str(made)]
    assert cli.main(words) == 0
    assert json.loads((tmp_path / "env" / RECORD).read_text())["state"]
    shutil.rmtree(tmp_path / "env")
    capsys.readouterr()


# -- several ranks -------------------------------------------------------------------------------

nodes = pytest.mark.skipif(
    installed_wheel() != "mpich", reason="imitates nodes by MPICH's MPIR_CVAR_NOLOCAL"
)
SHELL = 'export MPIR_CVAR_NOLOCAL=1 NODE=n$PMI_RANK; exec "$@"'


def on_two_nodes(to: str, environment: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "hpcad", "env", "broadcast", to, "--environment", environment]
    return run_bounded([*mpirun_prefix(2), "sh", "-c", SHELL, "sh", *words], timeout=60)


@nodes
@pytest.mark.alone
def test_two_ranks_that_count_as_nodes(environment, tmp_path):
    for again in (False, True):
        done = on_two_nodes(f"{tmp_path}/$NODE/env", environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f'export PATH={tmp_path}/n0/env/bin:"$PATH"\n'
        assert ("on 2 nodes already" if again else "copied to 2 of 2 nodes") in done.stderr
    for name in ("n0", "n1"):
        assert left_in(tmp_path / name) == ["env"]
        assert said_by(tmp_path / name / "env", tmp_path)[0].startswith(f"{tmp_path}/{name}/env/")
    # A node that lost its copy gets it; the other one keeps its own.
    shutil.rmtree(tmp_path / "n0/env")
    before = (tmp_path / "n1/env").stat().st_ino
    done = on_two_nodes(f"{tmp_path}/$NODE/env", environment)
    assert "copied to 1 of 2 nodes" in done.stderr
    assert (tmp_path / "n1/env").stat().st_ino == before
    assert said_by(tmp_path / "n0/env", tmp_path)[2] == "42"


@nodes
@pytest.mark.alone
def test_two_nodes_that_share_the_directory_are_refused(made, tmp_path):
    done = on_two_nodes(f"{tmp_path}/env", made)
    assert done.returncode == LaunchError.exit_code
    assert "several nodes share that directory" in done.stderr
    assert done.stdout == ""
    assert left_in(tmp_path) == []
