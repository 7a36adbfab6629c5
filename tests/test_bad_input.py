"""What a user can get wrong: one sentence, an exit code, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from launched import mpirun, run_bounded, without_launcher

from hpcad.data.builtin import resolve
from hpcad.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeviceError,
    LaunchError,
)

JOB = """\
name = "digits"
seed = 1
[model]
kind = "mlp"
hidden = [16]
[data]
train = "{train}"
batch = 32
[optimizer]
kind = "adam"
learning_rate = 1e-3
[training]
steps = 4
[checkpoint]
every = 2
"""


@pytest.fixture
def job(tmp_path):
    """A job on a copy of the digits in the current directory."""
    shutil.copytree(resolve("builtin:digits/train"), tmp_path / "train")
    path = tmp_path / "job.toml"
    path.write_text(JOB.format(train="train"))
    return path


def train(job, *arguments, ranks=1, env=None):
    words = ["-m", "hpcad", "train", job.name, *arguments]
    if ranks == 1:
        return run_bounded([sys.executable, *words], timeout=60, env=env, cwd=job.parent)
    return mpirun(ranks, words, timeout=60, env=env, cwd=job.parent)


def refused(done, kind, *parts, written=False, where=None):
    """One sentence with all parts, the code of the error's kind, and no output directory."""
    assert done.returncode == kind.exit_code, done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("hpcad: error: ")]
    assert len(sentences) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in sentences[0]
    if where is not None:
        assert (where / "runs").exists() is written


def shards(job):
    return sorted((job.parent / "train").glob("*.h5"))


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_missing_shard(job, ranks):
    shards(job)[1].unlink()
    refused(train(job, ranks=ranks), DataError, shards(job)[0].name[:5], where=job.parent)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_truncated_shard(job, ranks):
    shard = shards(job)[1]
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    refused(train(job, ranks=ranks), DataError, shard.name, "bytes", where=job.parent)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_checksum_that_does_not_match(job, ranks):
    shard = shards(job)[1]
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    refused(train(job, ranks=ranks), DataError, shard.name, "checksum")


def test_a_shape_that_disagrees_with_the_manifest(job):
    path = job.parent / "train" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["fields"]["x"]["shape"] = [8, 4]
    for entry in manifest["shards"]:
        entry["fields"]["x"]["shape"][1:] = [8, 4]
    path.write_text(json.dumps(manifest))
    refused(train(job), DataError, "(512, 8, 8), the manifest says uint8 (512, 8, 4)")


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_misspelt_key(job, ranks):
    job.write_text(job.read_text().replace("learning_rate", "learning_rat"))
    done = train(job, ranks=ranks)
    refused(done, ConfigError, "job.toml:11", "did you mean 'learning_rate'?", where=job.parent)


def test_a_batch_smaller_than_the_world(job):
    done = train(job, "--set", "data.batch=1", ranks=2)
    refused(done, DataError, "batch of 1", "2 ranks", "at least 2")
    assert not (job.parent / "runs" / "digits" / "checkpoints").exists()


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_checkpoint_of_another_model(job, ranks):
    assert train(job).returncode == 0
    folder = job.parent / "runs" / "digits" / "checkpoints"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    done = train(job, "--set", "model.hidden=[24]", ranks=ranks)
    refused(done, CheckpointError, "another model", "layers.0.weight", "(64, 16)", "(64, 24)")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_full_disk_while_saving(job, ranks):
    disk = job.parent / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        assert train(job, "--set", "output.directory=disk/run", "training.steps=2").returncode == 0
        folder = disk / "run" / "checkpoints"
        (disk / "ballast").write_bytes(b"0" * (os.statvfs(disk).f_bavail * 4096 - 8192))
        done = train(job, "--set", "output.directory=disk/run", ranks=ranks)
        refused(done, CheckpointError, "step 4", "No space left on device", "untouched")
        assert [p.name for p in folder.glob("step-*")] == ["step-00000002"]
        (disk / "ballast").unlink()
        again = train(job, "--set", "output.directory=disk/run")
        assert again.returncode == 0
        assert "resumed from disk/run/checkpoints/step-00000002" in again.stdout
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_mpirun_absent(job):
    """A Python whose folder has no mpirun, and a PATH without one."""
    bare = job.parent / "bin"
    bare.mkdir()
    (bare / "python").symlink_to(sys.executable)
    program = (
        "import sys; from pathlib import Path; sys.executable = sys.argv.pop(1);"
        "from hpcad.cli import main; sys.exit(main())"
    )
    words = [sys.executable, "-c", program, bare / "python", "train", job.name, "--ranks", "2"]
    done = run_bounded(words, timeout=60, env={"PATH": str(bare)}, cwd=job.parent)
    refused(done, LaunchError, "no mpirun", "pip install mpich", where=job.parent)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_gpu_where_there_is_none(job, ranks):
    env = {"CUDA_VISIBLE_DEVICES": ""}
    done = train(job, "--set", "training.device=gpu", ranks=ranks, env=env)
    refused(done, DeviceError, "device = 'cpu'", where=job.parent)


@pytest.mark.parametrize("program", ["raise", "exit"])
def test_one_rank_failing_inside_a_step_ends_the_job(tmp_path, program):
    """With that rank's traceback, soon, non-zero; no rank is left waiting in a reduction."""
    script = tmp_path / "program.py"
    script.write_text(
        "import numpy as np, hpcad\n"
        "from hpcad import nn, optim\n"
        "world = hpcad.init()\n"
        "model = nn.Linear(3, 2)\n"
        "data = hpcad.ArrayDataset({'x': np.ones((40, 3), np.float32)})\n"
        "def loss(m, batch):\n"
        "    loss.calls += 1\n"
        "    if world.rank == 1 and loss.calls == 3:\n"
        f"        {FAILURES[program]}\n"
        "    return m(batch['x']).sum()\n"
        "loss.calls = 0\n"
        "optimizer = optim.SGD(model, 0.1)\n"
        "options = dict(loss=loss, batch=4, steps=9, compile=False)  # loss runs in each\n"
        "hpcad.Trainer(model, optimizer, data, **options).run()\n"
    )
    done = mpirun(3, [script], timeout=10)
    assert done.returncode != 0
    assert "rank 1" in done.stderr
    if program == "exit":
        assert "left the program with exit code 3 in step 2" in done.stderr
    else:
        assert "ValueError: a fault in the user's code" in done.stderr
        assert "line 9, in loss" in done.stderr


FAILURES = {
    "raise": 'raise ValueError("a fault in the user\'s code")',
    "exit": "raise SystemExit(3)",
}


def test_a_program_without_a_launcher_needs_no_mpi(tmp_path):
    program = (
        "import sys, hpcad; w = hpcad.init();print(w.size, w.launcher, 'mpi4py.MPI' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=without_launcher(os.environ),
        check=True,
    )
    assert done.stdout == "1 none False\n"


def test_a_wrong_dtype_of_labels_is_explained():
    from hpcad import nn
    from hpcad.errors import ShapeError

    with pytest.raises(ShapeError, match="labels must be integers"):
        nn.cross_entropy(np.ones((2, 3)), np.ones(2))


def test_paths_of_the_tests_are_clean():
    """The fixtures above work on copies: the packaged digits are as they were."""
    assert len(list(Path(resolve("builtin:digits/train")).glob("*.h5"))) == 3
