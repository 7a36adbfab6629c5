"""gpu_step.py: formulas and marks, refusals, tables; and a tiny step on the strict device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import gpu_step
import gpu_step_measure
import pytest
from gpu_cases import SMALL, TINY, case_of, from_dict, new_model
from gpu_marks import flops_per_token, lines_of, marks, mfu, peak_of, why_no_marks
from gpu_step_contenders import HPCAD, GpuContender
from gpu_step_measure import TOLERANCE, best_compiled_torch, measure, require_same
from gpu_step_profile import rows_of
from gpu_step_table import by_kind, count_lines, profile_lines, step_lines
from step_measure import DifferentWorkError
from step_pool import WorkerError

CARD = "NVIDIA H100 80GB HBM3"


# -- formulas -------------------------------------------------------------------------------------


def test_a_token_costs_what_llm_c_says():
    assert SMALL.vocabulary == 50304
    assert SMALL.parameters == 124_475_904
    assert SMALL.flops_per_token == 6 * 124_475_904 + 6 * 12 * 768 * 1024
    assert SMALL.flops_per_token == pytest.approx(0.8035e9, rel=1e-4)
    assert SMALL.tokens == 32 * 1024


def test_llm_c_reaches_the_utilisation_that_it_publishes():
    """468,000 tokens/s on a card of 989 TFLOP/s are 38.0 %."""
    work = flops_per_token(124_475_904, 12, 768, 1024)
    assert mfu(468e3, work, peak_of(CARD, "bfloat16")) == pytest.approx(0.380, abs=5e-4)


def test_parameters_are_counted_as_the_model_has_them():
    assert new_model(TINY).parameter_count() == TINY.parameters


@pytest.mark.parametrize(
    ("card", "peak"),
    [("NVIDIA H200", 989), (CARD, 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4-80GB", 312)],
)
def test_peaks_of_cards(card, peak):
    assert peak_of(card, "bfloat16") == pytest.approx(peak * 1e12)


def test_a_card_that_is_not_in_the_table_has_no_peak():
    assert peak_of("NVIDIA B200", "bfloat16") is None


def test_marks_are_reached_or_not_or_not_measured():
    found = marks(350e3, 340e3)
    assert [mark.reached for mark in found] == [True, True, False]
    assert [mark.reached for mark in marks(299_999.0, None)] == [False, None, False]
    assert lines_of(marks(470e3, None)) == [
        "first mark, 300,000 tokens/s: reached",
        "second mark, torch.compile in this run: not measured",
        "third mark, llm.c on an H100, 468,000 tokens/s: reached",
    ]


def test_marks_are_for_the_large_network_and_batch_in_half_precision():
    assert why_no_marks("gpt2-124m", "bfloat16", 32) is None
    for wrong in (
        ("tiny", "bfloat16", 32),
        ("gpt2-124m", "tf32", 32),
        ("gpt2-124m", "bfloat16", 4),
    ):
        assert "the marks are for" in why_no_marks(*wrong)


def test_a_case_travels_as_json():
    case = case_of(True, 5, "tf32")
    assert from_dict(case.as_dict()) == case
    assert (case.batch, case.precision) == (5, "tf32")


# -- contenders that are none ---------------------------------------------------------------------

SETTINGS = SimpleNamespace(rounds=6, steps=2, profiled=1)
MILLISECONDS = {HPCAD: 80.0, "torch eager": 120.0, "torch.compile, default": 100.0}
FIELD = [GpuContender(name, "", {}) for name in MILLISECONDS]
ROW = {"kind": "products (cuBLASLt)", "label": "a, b, c", "count": 2, "seconds": 4e-3,
       "flops": 2 * 10**12, "bytes": 10**9}  # fmt: skip
OTHER = {"kind": "fused kernels", "label": "x + y", "count": 1, "seconds": 1e-3, "flops": 5,
         "bytes": 2 * 10**9}  # fmt: skip


class Fake:
    """Answers as a process does; the card has room for ``room`` of them."""

    alive: ClassVar[list[Fake]] = []
    room: ClassVar[int] = 3
    losses: ClassVar[dict[str, list[float]]] = {}

    def __init__(self, contender: Any, _case: Any) -> None:
        self.name = contender.name
        self.alive.append(self)

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        self.alive.remove(self)

    def ask(self, do: str, **_: Any) -> Any:
        if do == "losses":
            if len(self.alive) > self.room:
                raise WorkerError(f"{self.name}: CUDA out of memory. Tried to allocate 2 GiB")
            return {"losses": self.losses.get(self.name, [11.0, 10.9]), "seconds": 1.0}
        if do == "turn":
            return {"milliseconds": [MILLISECONDS[self.name]]}
        if do == "profile":
            return {"runs": 1, "rows": [ROW, OTHER]}
        if do == "roofs":
            return {"copy_bytes_per_second": [4e12], "gemm_flops_per_second": [1e15]}
        return {"waits": False, "allocations": 1, "host_seconds": 1e-3} if do == "counts" else {}


@pytest.fixture
def fake(monkeypatch):
    kind = type("Fakes", (Fake,), {"alive": [], "losses": {}})
    monkeypatch.setattr(gpu_step_measure, "GpuProcess", kind)
    return kind


def test_contenders_take_turns_and_are_held_to_the_marks(fake):
    found = measure(SMALL, FIELD, SETTINGS)
    assert found["interleaved"]
    assert [c["verdict"] for c in found["comparisons"]] == ["faster", "faster"]
    assert best_compiled_torch(found) == pytest.approx(327_680)
    text = "\n".join(step_lines(found, CARD))
    assert "409,600   33.3%" in text  # 32768 tokens in 80 ms
    assert "first mark, 300,000 tokens/s: reached" in text
    assert "second mark, torch.compile in this run, 327,680 tokens/s: reached" in text
    assert "third mark, llm.c on an H100, 468,000 tokens/s: not reached" in text
    assert "NOT IN TURN" not in text


def test_what_does_not_fit_together_is_measured_alone_and_says_so(fake):
    fake.room = 1
    found = measure(SMALL, FIELD, SETTINGS)
    assert not found["interleaved"]
    assert list(found["milliseconds"]) == [contender.name for contender in FIELD]
    assert "NOT IN TURN" in "\n".join(step_lines(found, CARD))
    assert found["profile"]["rows"] == [ROW, OTHER]


def test_what_does_not_fit_alone_is_an_error(fake):
    fake.room = 0
    with pytest.raises(WorkerError, match="out of memory"):
        measure(SMALL, FIELD, SETTINGS)


@pytest.mark.parametrize("losses", [[11.0, 10.8], [float("nan"), 10.9]])
def test_other_losses_are_refused(fake, losses):
    fake.losses = {"torch eager": losses}
    with pytest.raises(DifferentWorkError, match="losses of torch eager differ"):
        measure(SMALL, FIELD, SETTINGS)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_the_tolerance_is_that_of_the_precision(precision):
    allowed = TOLERANCE[precision]
    assert require_same([10 + 9 * allowed], [10.0], "b", precision) == pytest.approx(0.9 * allowed)
    with pytest.raises(DifferentWorkError, match=f"in {precision} the losses of b"):
        require_same([10 + 11 * allowed], [10.0], "b", precision)


# -- where the time goes --------------------------------------------------------------------------


def test_products_are_held_to_a_product_and_kernels_to_a_copy(fake):
    lines = profile_lines(measure(SMALL, FIELD, SETTINGS))
    assert "5.00 ms together; as graphs the whole takes 80.00 ms" in lines[0]
    products = next(line for line in lines if line.startswith("a, b, c"))
    assert products.split()[3:] == ["2", "4.000", "80.0%", "500.0", "250", "50%"]
    kernel = next(line for line in lines if line.startswith("x + y"))
    assert kernel.split()[3:] == ["1", "1.000", "20.0%", "-", "2,000", "50%"]
    assert [kind["label"] for kind in by_kind([OTHER, ROW])] == [ROW["kind"], OTHER["kind"]]


def test_equal_steps_are_one_row():
    def step(kind: str, text: str, comment: str) -> Any:
        return SimpleNamespace(kind=kind, text=text, comment=comment, name=kind, flops=3, nbytes=5)

    steps = [
        step("product", "gemm_y()", "y = a @ b; f[2,3], f[3,4], f[2,4]"),
        step("product", "gemm_z()", "z += c @ d; f[2,3], f[3,4], f[2,4]"),
        step("kernel", "kernel_7_y()", "(8, 4): y = x + b"),
        step("kernel", "kernel_7_z()", "(8, 4): z = u + c"),
        step("kernel", "kernel_8_z()", "(8, 4): z = u * c"),
    ]
    rows = rows_of(steps, [1.0, 2.0, 0.5, 0.25, 0.125])
    assert [(r["label"], r["count"], r["seconds"]) for r in rows] == [
        ("f[2,3], f[3,4], f[2,4]", 2, 3.0),
        ("(8, 4) x + b", 2, 0.75),
        ("(8, 4) u * c", 1, 0.125),
    ]
    assert rows[0]["flops"] == 6
    assert rows[0]["bytes"] == 10


def test_a_step_that_waits_is_called_so():
    (line,) = count_lines({"waits": True, "allocations": 3, "host_seconds": 2e-3})
    assert line.startswith("a step waits for the device, and allocates 3 times")


# -- the program ----------------------------------------------------------------------------------


def test_a_tiny_step_on_the_strict_device(capsys):
    assert gpu_step.main(["--device", "strict", "--tiny", "--precision", "float32"]) == 0
    said = capsys.readouterr().out
    assert "no GPU" in said
    assert "losses of the first 6 steps agree" in said
    assert "a step does not wait for the device" in said
    assert "synchronisations 0, graph launches 1," in said
    assert " x products (cuBLASLt): " in said
    assert "tokens/s" not in said
    assert " ms" not in said


def test_without_a_gpu_there_is_one_clear_line(capsys, no_gpu):
    assert gpu_step.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "gpu_step: nothing measured: a GPU was asked for; there is none\n"


def test_the_strict_device_is_for_the_tiny_network(capsys):
    with pytest.raises(SystemExit) as ended:
        gpu_step.main(["--device", "strict"])
    assert ended.value.code == 2
    assert "takes --tiny" in capsys.readouterr().err
