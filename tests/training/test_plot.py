"""The picture of a run."""

from __future__ import annotations

import pytest

from hpcad.errors import ConfigError
from hpcad.training.metrics import MetricsWriter
from hpcad.training.plot import plot_run


def test_a_run_is_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with MetricsWriter(tmp_path) as writer:
        for step in range(1, 5):
            writer.write({"step": step, "loss": 1 / step})
        writer.write({"step": 4, "test_loss": 0.3, "test_accuracy": 0.9})
    path = plot_run(tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert plot_run(tmp_path, tmp_path / "a.svg").read_text().count("training loss") >= 1


def test_no_run_is_explained(tmp_path):
    with pytest.raises(ConfigError, match="no metrics"):
        plot_run(tmp_path)
