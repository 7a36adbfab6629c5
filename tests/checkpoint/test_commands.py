"""`hpcad ckpt list|inspect|verify`, through the command line."""

from __future__ import annotations

import pytest

from hpcad import cli
from hpcad.checkpoint import CheckpointStore
from hpcad.errors import CheckpointError


@pytest.fixture(autouse=True)
def _plain(plain_environment):
    """Errors are printed by the rank of the launcher; there is none here."""


def test_list(saved, arrays, capsys):
    CheckpointStore(saved.parent).save(8, arrays, {})
    assert cli.main(["ckpt", "list", str(saved.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[0] == "8"
    assert lines[2].endswith(str(saved))


def test_list_names_a_damaged_one_and_goes_on(saved, arrays, capsys):
    path = CheckpointStore(saved.parent).save(8, arrays, {})
    path.write_bytes(b"")
    assert cli.main(["ckpt", "list", str(saved.parent)]) == CheckpointError.exit_code
    out = capsys.readouterr().out
    assert f"{path} is damaged" in out
    assert str(saved) in out


def test_inspect_the_newest_of_an_output_directory(saved, capsys):
    assert cli.main(["ckpt", "inspect", str(saved.parent.parent)]) == 0
    out = capsys.readouterr().out
    assert "step 7" in out
    assert "4 arrays, 408 parameters" in out
    assert "parameters/fc1.weight" in out
    assert "cursor = 448" in out


def test_verify_good(saved, capsys):
    assert cli.main(["ckpt", "verify", str(saved)]) == 0
    assert capsys.readouterr().out.startswith(f"ok   {saved}: step 7")


def test_verify_finds_one_wrong_bit(saved, capsys):
    data = bytearray(saved.read_bytes())
    data[data.index(b'"cursor"') + 1] ^= 1
    saved.write_bytes(data)
    assert cli.main(["ckpt", "verify", str(saved.parent)]) == CheckpointError.exit_code
    assert "BAD" in capsys.readouterr().out


def test_an_empty_place_is_one_sentence(tmp_path, capsys):
    assert cli.main(["ckpt", "list", str(tmp_path)]) == CheckpointError.exit_code
    assert capsys.readouterr().err == f"hpcad: error: there is no checkpoint in {tmp_path}\n"
    assert cli.main(["ckpt", "list", str(tmp_path / "absent")]) == CheckpointError.exit_code
