"""Training in half precision: as good as in float32, resumed to the bit, alike on all ranks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from launched import mpirun, run_bounded

import hpcad
from hpcad import nn, optim
from hpcad.data import ArrayDataset, open_dataset
from hpcad.errors import ConfigError, HpcadError
from hpcad.models import (
    CNN,
    GPT2,
    MLP,
    REGISTRY,
    CNNConfig,
    GPT2Config,
    MLPConfig,
)
from hpcad.training import Prepare, Trainer
from hpcad.training.job import load_job
from hpcad.training.run import make_precision

ROOT = Path(__file__).resolve().parents[2]
DIGITS = open_dataset("builtin:digits/train")
TINY = GPT2Config(layers=2, heads=2, width=16, vocabulary=60, padding=64, context=16)


def successors():
    """Tokens of which each is mostly a function of the one before it."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, 60, (400, 17))
    for i in range(1, 17):
        known = random.random(400) < 0.8
        tokens[known, i] = (7 * tokens[known, i - 1] + 3) % 60
    return ArrayDataset({"x": tokens[:, :-1], "y": tokens[:, 1:]}, {"vocabulary": 60})


TOKENS = successors()
MODELS = {
    "mlp": (lambda: MLP(MLPConfig([32], dropout=0.1), 64, 10), DIGITS, 80),
    "cnn": (lambda: CNN(CNNConfig([4, 8], hidden=16), (8, 8), 10), DIGITS, 60),
    "gpt": (lambda: GPT2(TINY), TOKENS, 40),
}


def trainer_of(name, precision, steps=None, scale=None, **options):
    """A trainer, not yet run, and where it writes the losses of its steps."""
    make, data, most = MODELS[name]
    kind = nn.Precision(precision)
    with nn.undrawn():
        model = make()
    kind.apply(model)
    model.initialize(3)
    if scale is None and kind.scales_losses:
        scale = optim.LossScale()
    rate = {"mlp": 5e-3, "cnn": 5e-3, "gpt": 1e-2}[name]
    optimizer = optim.AdamW(model, rate, clip_norm=1.0, loss_scale=scale)
    losses = []

    class Watched(Trainer):
        def _step(self, batch, phases):
            losses.append(float(super()._step(batch, phases)))
            return losses[-1]

    prepare = Prepare(scale=1 / 16, real_input=name != "gpt", precision=kind)
    settings = {"batch": 32 if name != "gpt" else 8, "steps": steps or most, "prepare": prepare}
    trainer = Watched(model, optimizer, data, **({"compile": False} | settings | options))
    return trainer, losses


def state_of(trainer):
    optimizer = trainer.optimizer
    return {**trainer.model.arrays(), **optimizer.arrays()}


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_learns_what_single_does(name):
    """The last losses, to 1 % of the first one."""
    curves = {}
    for precision in ("float32", "bfloat16", "float16"):
        trainer, losses = trainer_of(name, precision)
        trainer.run()
        assert {x.dtype for x in state_of(trainer).values()} == {np.dtype(np.float32)}
        assert {p.grad.dtype for p in trainer.model.parameters()} == {np.dtype(np.float32)}
        curves[precision] = np.array(losses)
    exact = curves.pop("float32")
    assert exact[-5:].mean() < 0.95 * exact[0]
    for precision, curve in curves.items():
        apart = abs(curve[-5:].mean() - exact[-5:].mean()) / exact[0]
        print(f"{name} {precision}: {apart:.1e} of the first loss after {len(exact)} steps")
        assert 0 < apart < 0.01
        assert abs(curve[0] - exact[0]) < 5e-3 * exact[0]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_three_jobs():
    """A third of their steps, compiled; the program fails where a difference is too large."""
    words = [sys.executable, ROOT / "benchmarks" / "precision.py", "--steps-of", "0.34"]
    done = run_bounded(words, timeout=1200, env={"OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("float16") == 6  # bfloat16, too


def test_compiled_steps_in_half_precision():
    """They differ from eager ones by roundings only, of which they make fewer."""
    fast, compiled = trainer_of("mlp", "bfloat16", 30, compile=True)
    slow, eager = trainer_of("mlp", "bfloat16", 30)
    fast.run()
    slow.run()
    assert fast._program._compiled._program is not None
    np.testing.assert_allclose(compiled, eager, rtol=0.02)


def test_what_a_compiled_step_computes_in_which_type():
    """Products of halves; gradients of weights as float32; weights converted as they lie."""
    trainer, _ = trainer_of("gpt", "bfloat16", 1, compile=True)
    trainer.run()
    steps = trainer._program._compiled.program.steps
    products = [step.comment.split("; ")[1].split(", ") for step in steps if step.kind == "product"]
    shapes = {str(list(p.shape)).replace(" ", "") for p in trainer.model.parameters()}
    shapes.add("[16,64]")  # of the head, which is the embedding transposed
    single = [p[-1].removeprefix("float32") for p in products if p[-1].startswith("float32")]
    assert len(single) == 2 * 4 + 1
    assert set(single) <= shapes
    assert all(x.startswith("bfloat16") for p in products for x in p[:-1])
    assert any("(64, 16): " in step.comment and "tokens_weight" in step.comment for step in steps)


@pytest.mark.parametrize(
    ("name", "precision", "compile"),
    [("mlp", "bfloat16", True), ("gpt", "bfloat16", False), ("mlp", "float16", False)],
)
def test_a_resumed_run_has_the_same_bits(tmp_path, name, precision, compile):
    """In float16 some steps overflow, before the checkpoint and after it."""

    def scale():
        return optim.LossScale(2.0**24, interval=2) if precision == "float16" else None

    def run(steps, directory):
        options = {"directory": tmp_path / directory, "checkpoint_every": 7, "compile": compile}
        trainer, losses = trainer_of(name, precision, steps, scale(), **options)
        result = trainer.run()
        return trainer, losses, result

    whole, losses, _ = run(14, "whole")
    run(7, "parts")
    after, later, result = run(14, "parts")
    assert result.resumed_step == 7
    assert later == losses[7:]
    for key, array in state_of(whole).items():
        np.testing.assert_array_equal(array, state_of(after)[key], err_msg=key)
    if precision == "float16":
        assert whole.optimizer.loss_scale.state() == after.optimizer.loss_scale.state()
        assert whole.optimizer.loss_scale.state()["skipped"] > 4


def test_a_loss_scale_recovers_from_overflow():
    scale = optim.LossScale(2.0**24)
    trainer, losses = trainer_of("mlp", "float16", 1, scale)
    before = {key: array.copy() for key, array in state_of(trainer).items()}
    trainer.run()
    assert scale.state() == {"scale": 2.0**23, "good": 0.0, "skipped": 1.0}
    for key, array in state_of(trainer).items():
        np.testing.assert_array_equal(array, before[key], err_msg=key)

    scale = optim.LossScale(2.0**24)
    trainer, losses = trainer_of("mlp", "float16", 80, scale)
    trainer.run()
    exact, right = trainer_of("mlp", "float32", 80)
    exact.run()
    skipped = scale.state()["skipped"]
    assert 1 <= skipped <= 12
    assert scale.state()["scale"] == 2.0 ** (24 - skipped)
    assert abs(np.mean(losses[-5:]) - np.mean(right[-5:])) < 0.05 * right[0]
    assert all(np.isfinite(array).all() for array in state_of(trainer).values())


def test_gradients_that_always_overflow_end_the_run():
    class Steep(MLP):
        def loss(self, batch):
            return super().loss(batch) * 1e20

    trainer, _ = trainer_of("mlp", "float16", 20, optim.LossScale(4.0), log_every=5)
    trainer.model.__class__ = Steep
    with pytest.raises(HpcadError, match="overflow at step 5, though the loss scale is down to 1"):
        trainer.run()


RANKS = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
import hpcad
from hpcad import nn, optim
from test_precision import state_of, trainer_of

world = hpcad.init()

# Only one rank's gradient overflows, and nobody sums them up.
model = nn.Linear(4, 3).initialize(1)
scale = optim.LossScale(communicator=world.communicator)
optimizer = optim.Adam(model, 0.1, loss_scale=scale)
before = model.weight.numpy().copy()
for p in model.parameters():
    p.accumulate(np.full(p.shape, np.inf if world.rank == 1 else 1.0, np.float32))
optimizer.step()
alone = bool((before == model.weight.numpy()).all()), scale.state()

scale = optim.LossScale(2.0**24, interval=4, communicator=world.communicator)
trainer, losses = trainer_of("mlp", "float16", 16, scale, world=world)
trainer.run()
flat = np.concatenate([x.ravel() for x in state_of(trainer).values()])
print(f"{{alone}} {{scale.state()}} {{flat.sum(dtype=float).hex()}}\\n", end="")
"""


@pytest.mark.timeout(120)
def test_ranks_decide_alike(tmp_path):
    program = tmp_path / "ranks.py"
    program.write_text(RANKS.format(tests=str(Path(__file__).parent)))
    tests = str(ROOT / "tests")
    done = mpirun(2, [program], timeout=100, env={"PYTHONPATH": tests})
    assert done.returncode == 0, done.stderr
    ends = [line for line in done.stdout.splitlines() if line.startswith("(")]
    assert len(ends) == 2
    assert ends[0] == ends[1]
    assert "(True, {'scale': 32768.0, 'good': 0.0, 'skipped': 1.0}" in ends[0]
    # The ranks together go through the scales of one rank alone.
    scale = optim.LossScale(2.0**24, interval=4)
    trainer, _ = trainer_of("mlp", "float16", 16, scale)
    trainer.run()
    assert str(scale.state()) in ends[0]
    assert scale.state()["skipped"] >= 1


def job(*settings):
    models = {kind: entry.config for kind, entry in REGISTRY.items()}
    return load_job(ROOT / "jobs" / "digits.toml", settings, models=models)


def test_settings_that_cannot_be():
    with pytest.raises(ConfigError, match="'bfloat16' has parameters of float32; leave dtype away"):
        job("training.precision=bfloat16", "training.dtype=float64")
    with pytest.raises(ConfigError, match="loss_scale must be a power of two, not 1000"):
        job("training.loss_scale=1000")
    with pytest.raises(ConfigError, match=r"must be one of .*; did you mean 'bfloat16'\?"):
        job("training.precision=bfloat")
    with pytest.raises(ConfigError, match="a way in which GPUs multiply, but this job runs on the"):
        make_precision(job("training.precision=tf32"), hpcad.init())
