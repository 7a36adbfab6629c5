"""Descriptions of models that others have published."""

from __future__ import annotations

import pytest

from hpcad.errors import ConfigError
from hpcad.scaling.simulation.described import load_workload
from hpcad.scaling.simulation.machine import Device

GOOD = """
name = "two layers"
batch = 4
layers = [["a", 100, 1e6], ["pool", 0, 0], ["b", 50, 2e6]]
"""


def described(tmp_path, text):
    path = tmp_path / "model.toml"
    path.write_text(text)
    return load_workload(path)


def test_layers_become_work_and_gradients(tmp_path):
    load = described(tmp_path, GOOD)
    assert load.forward.flops[:, 1].tolist() == [1e6, 0, 2e6]
    assert load.backward.flops[:, 1].tolist() == [4e6, 0, 2e6]
    assert [(g.nbytes, g.after) for g in load.gradients] == [(200, 1), (400, 3)]
    assert load.parameters == 150


def test_a_measured_step_is_divided_by_operations(tmp_path):
    load = described(tmp_path, GOOD + "step_seconds = 0.9\noptimizer_bytes = 0\n")
    forward, backward, update = load.seconds(Device(1e20, 1.0), 4)
    assert sum(part.sum() for part in (forward, backward, update)) == pytest.approx(0.9)
    assert backward.sum() == pytest.approx(2 * forward.sum())


def test_layers_of_a_file(tmp_path):
    (tmp_path / "layers.toml").write_text('layers = [["a", 1, 2.0]]')
    text = GOOD.splitlines()
    found = described(tmp_path, "\n".join([*text[:3], 'layers = "layers.toml"']))
    assert found.forward.flops[:, 1].tolist() == [2.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('["pool", 0, 0]', '["pool", 0]'), "model.toml:4: a layer is"),
        (('["pool", 0, 0]', '["pool", -1, 0]'), "at least 0"),
        (("layers = ", "layers_ = "), "no key 'layers_'"),
        (("batch = 4", "batch = 0"), "batch must be above 0"),
        (("batch = 4", "batch = 4\nbucket_bytes = [1]"), "bucket_bytes must be two numbers"),
        (("batch = 4", 'batch = 4\nreduction = "hidden"'), "must be one of 'overlapped'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        described(tmp_path, GOOD.replace(*change))
