"""step_time.py compares what it times, and times in turn."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import step_time
from interleaved import in_turn, interleave
from step_cases import CASES
from step_contenders import EAGER, JAX, TORCH, TORCH_COMPILE, Contender, contenders
from step_measure import TOLERANCE, DifferentWorkError, chosen_of, require_same
from step_pool import Worker, WorkerError

EAGER_HPCAD = Contender("hpcad eager", EAGER, "hpcad_steps")
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")


def test_different_losses_are_refused() -> None:
    assert require_same([2.0, 1.00005], [2.0, 1.0], "b") == pytest.approx(5e-5)
    with pytest.raises(DifferentWorkError, match=r"losses of b differ .* do not do the same work"):
        require_same([2.0, 1.0002], [2.0, 1.0], "b")


@pytest.mark.parametrize("losses", [[float("nan")], [float("inf")]])
def test_a_loss_that_is_no_number_is_refused(losses: list[float]) -> None:
    with pytest.raises(DifferentWorkError):
        require_same(losses, [1.0], "b")
    with pytest.raises(DifferentWorkError):
        require_same(losses, losses, "b")


def test_contenders_take_turns() -> None:
    log: list[str] = []

    def turn_of(name: str) -> Any:
        return lambda _round: log.append(name) or [1.0, 2.0]

    samples = in_turn([turn_of("a"), turn_of("b")], rounds=2, warmup=1)
    assert "".join(log) == "ab" + "ba" + "ab"
    assert samples.shape == (2, 2, 2)


def test_the_first_step_of_a_turn_is_not_timed() -> None:
    log: list[int] = []
    times = interleave([log.append], [[0, 1, 2, 3]], rounds=2, repeats=1, warmup=0)
    assert log == [0, 1, 2, 3]
    assert times.shape == (1, 2, 1)
    assert (times > 0).all()


class FakeWorker:
    """Answers with a time of its own; the contender may have to stay."""

    def __init__(self, name: str, milliseconds: float, always: bool = False) -> None:
        self.name, self.milliseconds = name, milliseconds
        self.contender = SimpleNamespace(always=always)

    def ask(self, do: str, start: int, repeats: int) -> dict[str, Any]:
        return {"milliseconds": [self.milliseconds] * repeats, "cores": 1.0}


def test_the_fastest_of_a_family_stays_and_what_is_close_to_it() -> None:
    times = {"slow": 3.0, "best": 1.0, "close": 1.04, "third": 1.045, "usual": 2.0}
    workers = [FakeWorker(n, t, always=n == "usual") for n, t in times.items()]
    chosen, found = chosen_of(workers, rounds=2)
    assert [worker.name for worker in chosen] == ["best", "close", "usual"]
    assert found == times


def test_a_contender_that_fails_is_named() -> None:
    with (
        Worker(Contender("lost", EAGER, "no_such_module"), "mlp", 1) as worker,
        pytest.raises(WorkerError, match="lost: ModuleNotFoundError: No module named 'no_such"),
    ):
        worker.ask("losses", steps=1)


def test_a_process_that_ends_is_reported_with_its_last_words() -> None:
    contender = Contender("gone", EAGER, "this", environment={"PYTHONHOME": "/nowhere"})
    with Worker(contender, "mlp", 1) as worker, pytest.raises(WorkerError, match="process ended"):
        worker.ask("losses", steps=1)


def test_the_compiled_step_is_held_to_the_eager_one(tmp_path: Path) -> None:
    out = tmp_path / "step.json"
    sizes = ["--rounds", "2", "--steps", "1", "--warmup", "1", "--blas", "numpy"]
    done = run_step_time("--models", "mlp", "--contenders", "compiled,eager", *sizes, "--json", out)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(out.read_text())["results"]
    assert [row["name"] for row in found["rows"]] == ["hpcad compiled", "hpcad eager"]
    assert found["largest_loss_difference"] < 1e-5
    assert found["comparisons"] == []  # there was no peer
    for kinds in found["kinds"].values():
        products = next(kind for kind in kinds if kind["kind"] == "products (BLAS)")
        layers = 2 * 784 * 512 + 3 * (512 * 512 + 512 * 10)  # no gradient of the input
        assert products["flops"] == pytest.approx(2 * 128 * layers, rel=1e-3)  # and of biases


def first_losses(contender: Contender, case: str) -> list[float]:
    with Worker(contender, case, 1) as worker:
        return worker.ask("losses", steps=3)["losses"]


@pytest.mark.parametrize("case", ["mlp", "cnn", "lstm", "gpt-small"])
@pytest.mark.parametrize(
    ("family", "number"),
    [
        pytest.param(TORCH, 0, marks=needs_torch),
        pytest.param(TORCH, -1, marks=needs_torch),
        pytest.param(JAX, 0, marks=needs_jax),
        pytest.param(JAX, -1, marks=needs_jax),
    ],
)
def test_peers_do_the_same_work(case: str, family: str, number: int) -> None:
    contender = contenders(CASES[case], [family], "numpy")[number]
    reference = first_losses(EAGER_HPCAD, case)
    assert require_same(first_losses(contender, case), reference, "peer") < TOLERANCE / 5


def test_every_setting_of_a_peer_has_a_name_of_its_own() -> None:
    for case in CASES.values():
        names = [c.name for c in contenders(case, [EAGER, TORCH, TORCH_COMPILE, JAX], "numpy")]
        assert len(names) == len(set(names))


def test_an_unknown_model_is_named() -> None:
    done = run_step_time("--models", "mlp,vgg")
    assert done.returncode == 2
    assert "unknown: 'vgg'; known: mlp, mlp-large, cnn, lstm, gpt, gpt-small" in done.stderr


def test_more_threads_than_cores_are_refused() -> None:
    done = run_step_time("--threads", "100000")
    assert done.returncode == 2
    assert "100000 threads, but this process has" in done.stderr


def test_missing_peers_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert step_time.main(["--blas", "numpy"]) == 2
    assert "install torch and jax" in capsys.readouterr().err


def run_step_time(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, step_time.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_the_cases_are_those_of_the_reference() -> None:
    parameters = {name: case.make().parameter_count() for name, case in CASES.items()}
    assert parameters["mlp-large"] == 4 * (1024 * 1024 + 1024)
    assert parameters["lstm"] == 4 * 256 * (256 + 256 + 1) + 256 * 10 + 10
    assert np.prod((8, *CASES["gpt"].sample)) == 1024
