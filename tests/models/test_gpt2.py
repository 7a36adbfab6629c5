"""GPT-2: its parameters, its initial values, and its forward pass against one in plain NumPy."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hpcad import cli, nn
from hpcad.data import open_dataset
from hpcad.errors import ConfigError
from hpcad.models import GPT2, REGISTRY, GPT2Config
from hpcad.training.job import load_job
from hpcad.training.metrics import read_metrics

JOB = Path(__file__).resolve().parents[2] / "jobs" / "gpt2_124m.toml"
TINY = GPT2Config(layers=3, heads=2, width=12, vocabulary=50, padding=16, context=10)


def test_the_smallest_has_124_million_parameters():
    with nn.undrawn():
        model = GPT2(GPT2Config())
    shapes = {name: p.shape for name, p in model.named_parameters()}
    assert shapes["tokens.weight"] == (50304, 768)
    assert shapes["positions.weight"] == (1024, 768)
    assert model.parameter_count() == 124_475_904
    assert GPT2Config(padding=1).rows == 50257
    assert model.parameter_count() - (50304 - 50257) * 768 == 124_439_808


def normalised(x, scale, shift):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attended(x, p, block, heads):
    """One head of one sample after the other, a query at a time."""
    width = x.shape[-1]
    size, out = width // heads, np.empty_like(x)
    packed = x @ p[f"{block}.qkv.weight"] + p[f"{block}.qkv.bias"]
    q, k, v = packed[..., :width], packed[..., width : 2 * width], packed[..., 2 * width :]
    for n in range(len(x)):
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            for t in range(x.shape[1]):
                scores = k[n, : t + 1, part] @ q[n, t, part] / math.sqrt(size)
                weights = np.exp(scores - scores.max())
                out[n, t, part] = weights / weights.sum() @ v[n, : t + 1, part]
    return out @ p[f"{block}.projection.weight"] + p[f"{block}.projection.bias"]


def logits_in_numpy(p, config, tokens):
    """The forward pass of GPT-2, in float64 and in other words."""
    x = p["tokens.weight"][tokens] + p["positions.weight"][: tokens.shape[1]]
    for i in range(config.layers):
        b = f"blocks.{i}"
        inner = normalised(x, p[f"{b}.norm1.scale"], p[f"{b}.norm1.shift"])
        x = x + attended(inner, p, f"{b}.attention", config.heads)
        inner = normalised(x, p[f"{b}.norm2.scale"], p[f"{b}.norm2.shift"])
        hidden = gelu(inner @ p[f"{b}.expand.weight"] + p[f"{b}.expand.bias"])
        x = x + hidden @ p[f"{b}.contract.weight"] + p[f"{b}.contract.bias"]
    return normalised(x, p["norm.scale"], p["norm.shift"]) @ p["tokens.weight"].T


def arbitrary(dtype):
    """A tiny model whose every parameter counts."""
    model = GPT2(TINY).initialize(3, dtype)
    random = np.random.default_rng(1)
    for name, p in model.named_parameters():
        p.assign(p.numpy() + 0.3 * random.normal(size=p.shape))
        assert name.split(".")[-1] in ("weight", "bias", "scale", "shift")
    return model


@pytest.mark.parametrize("length", [1, 7, 10])
def test_the_forward_pass(length):
    model = arbitrary(np.float64)
    tokens = np.random.default_rng(2).integers(0, 50, (3, length))
    expected = logits_in_numpy({n: a.copy() for n, a in model.arrays().items()}, TINY, tokens)
    assert expected.shape == (3, length, 64)
    np.testing.assert_allclose(model(tokens).numpy(), expected, rtol=1e-11, atol=1e-12)


def test_the_forward_pass_in_half_precision():
    model = arbitrary(np.float32)
    tokens = np.random.default_rng(2).integers(0, 50, (3, 10))
    arrays = {n: a.astype(np.float64) for n, a in model.arrays().items()}
    expected = logits_in_numpy(arrays, TINY, tokens)
    for name, bound in (("bfloat16", 0.02), ("float16", 0.003)):
        nn.Precision(name).apply(model)
        got = model(tokens).numpy().astype(np.float64)
        assert np.linalg.norm(got - expected) < bound * np.linalg.norm(expected)


def test_initial_values():
    config = GPT2Config(layers=8, heads=2, width=48, vocabulary=500, context=48)
    with nn.undrawn():
        model = GPT2(config)
    model.initialize(0)
    for name, p in model.named_parameters():
        values, kind = p.numpy(), name.split(".")[-1]
        if kind == "weight":
            into_stream = "projection" in name or "contract" in name
            std = 0.02 / math.sqrt(16) if into_stream else 0.02
            assert abs(values.std() / std - 1) < 0.05, name
            assert abs(values.mean()) < 0.05 * std, name
        else:
            assert (values == (1 if kind == "scale" else 0)).all(), name
    tokens = np.random.default_rng(0).integers(0, 500, (4, 48))
    loss = float(model.loss({"x": tokens, "y": np.roll(tokens, 3, axis=0)}))
    assert abs(loss - math.log(512)) < 0.1  # it knows nothing, and of the padding neither


def test_padding_is_never_generated():
    model = GPT2(TINY).initialize(0)
    model.norm.shift.assign(np.ones(12))
    model.tokens.weight.assign(np.where(np.arange(64) < 50, 0.0, 5.0)[:, None] + np.zeros(12))
    out = model.generate(np.array([1]), 20)
    assert int(np.argmax(model(np.array([[1]])).numpy()[0, -1])) >= 50
    assert out.max() < 50


def test_the_job():
    job = load_job(JOB, models={kind: entry.config for kind, entry in REGISTRY.items()})
    assert (job.model.config, job.training.precision) == (GPT2Config(), "bfloat16")
    assert (job.data.window, job.data.batch, job.optimizer.kind) == (1024, 32, "adamw")
    data = open_dataset(job.data.train, window=job.data.window)
    with nn.undrawn():
        model = REGISTRY["gpt2"].build(job.model.config, data)
    assert model.parameter_count() == 124_475_904


SMALL = ("model.layers=1", "model.heads=2", "model.width=16", "model.context=8", "data.window=8",
         "data.batch=8", "training.steps=3", "training.device=cpu", "training.compile=false",
         "training.log_every=1", "schedule.warmup=1", "checkpoint.enabled=false")  # fmt: skip


def test_the_job_trains_on_a_packed_text(tmp_path, capsys):
    """Cut into the tokens of a vocabulary file."""
    (tmp_path / "text").write_text("the cat sat on the mat and the dog sat on the cat; " * 40)
    words = ["the ", "cat", "dog", "sat on ", "mat", "and ", " ", ";", "a", "t"]
    (tmp_path / "vocabulary.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    arguments = ["data", "pack", tmp_path / "packed", "--text", tmp_path / "text"]
    arguments += ["--tokenizer", tmp_path / "vocabulary.json", "--split", "0.9"]
    assert cli.main([str(word) for word in arguments]) == 0
    parts = [f"data.{k}={tmp_path}/packed/{v}" for k, v in (("train", "train"), ("test", "val"))]
    settings = [*SMALL, *parts, "model.vocabulary=10", "model.padding=16"]
    assert (
        cli.main(["train", str(JOB), "--set", *settings, f"output.directory={tmp_path}/run"]) == 0
    )
    rows = [row["loss"] for row in read_metrics(tmp_path / "run") if "loss" in row]
    assert len(rows) == 3
    assert rows[0] == pytest.approx(math.log(16), abs=0.1)
    assert "GPT2 with " in capsys.readouterr().out


def test_the_job_trains_on_synthetic_tokens(tmp_path):
    settings = [*SMALL, "data.test=none", f"output.directory={tmp_path}/run"]
    assert cli.main(["train", str(JOB), "--set", *settings]) == 0
    rows = [row["loss"] for row in read_metrics(tmp_path / "run") if "loss" in row]
    assert rows[0] == pytest.approx(math.log(50304), abs=0.1)


def test_data_that_do_not_fit():
    data = open_dataset("builtin:synthetic-tokens/test", window=20)
    build = REGISTRY["gpt2"].build
    with pytest.raises(ConfigError, match=r"50257 different tokens, but .* vocabulary is 50; set"):
        build(TINY, data)
    with pytest.raises(ConfigError, match=r"window is 20 tokens, but .* context is 10; make"):
        build(GPT2Config(layers=1, heads=1, width=4, context=10), data)
    with pytest.raises(ConfigError, match="model 'gpt2' needs a text dataset with a vocabulary"):
        build(GPT2Config(), open_dataset("builtin:digits/train"))
