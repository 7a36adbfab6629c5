"""A training in half precision between ranks reaches what an exact one does."""

from __future__ import annotations

import json

from launched import mpirun

JOB = """
name = "half"
seed = 1
[model]
kind = "mlp"
hidden = [64]
[data]
train = "builtin:digits/train"
test = "builtin:digits/test"
batch = 32
scale = 0.0625
[optimizer]
kind = "adam"
learning_rate = 5e-3
[training]
{length}
[parallel]
reduction = "{reduction}"
[output]
directory = "{directory}"
"""

PROGRAM = """
import json, sys
import hpcad
from hpcad.models.registry import REGISTRY
from hpcad.training.job import load_job
from hpcad.training.run import run

world = hpcad.init()
configs = {name: entry.config for name, entry in REGISTRY.items()}
found = {}
for path in sys.argv[1:]:
    job = load_job(path, models=configs)
    result = run(job, REGISTRY[job.model.kind], world)
    found[job.parallel.reduction] = result.metrics
if world.is_root:
    print(json.dumps(found))
"""


def job(folder, reduction, length):
    """A job file."""
    path = folder / f"{reduction}.toml"
    text = JOB.format(reduction=reduction, length=length, directory=folder / reduction)
    path.write_text(text)
    return path


def ran(jobs, communicator):
    """What the root prints."""
    env = {"HPCAD_COMMUNICATOR": communicator, "OPENBLAS_NUM_THREADS": "1"}
    done = mpirun(2, ["-c", PROGRAM, *jobs], env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_epoch_on_the_digits_is_nearly_as_accurate_as_with_exact_sums(tmp_path):
    jobs = [job(tmp_path, reduction, "epochs = 1") for reduction in ("exact", "bfloat16")]
    printed = ran(jobs, "mpi")
    found = json.loads(printed.splitlines()[-1])
    exact, half = found["exact"], found["bfloat16"]
    assert exact["accuracy"] > 0.8
    assert half["loss"] != exact["loss"]
    assert abs(half["accuracy"] - exact["accuracy"]) < 0.02
    assert abs(half["loss"] - exact["loss"]) < 0.02 * exact["loss"]
    assert "summed in float32 and sent in bfloat16" in printed


def test_ranks_of_one_node_say_that_they_stay_exact(tmp_path):
    printed = ran([job(tmp_path, "bfloat16", "steps = 2")], "node")
    assert "in shared memory nothing travels in bfloat16" in printed
