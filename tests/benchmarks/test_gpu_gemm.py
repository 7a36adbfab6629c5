"""gpu_gemm.py has the products of a step, holds them to NumPy, and measures only on a GPU."""

from __future__ import annotations

import gpu_environment
import gpu_gemm
import gpu_gemm_contenders
import gpu_gemm_forms
import pytest
from gpu_gemm_cases import Sizes, gemm_cases

FULL = Sizes(batch=32, length=1024)


def test_the_products_of_a_step_are_those_of_gpt2():
    """Of the layers and the head 6 N per token; of attention 12 L C T, not causal."""
    s, tokens = FULL, 32 * 1024
    weights = 12 * s.layers * s.width**2 + s.vocabulary * s.width
    attention = 12 * s.layers * s.width * s.length
    counted = sum(case.count * case.flops() for case in gemm_cases(s))
    assert counted == tokens * (6 * weights + attention)


def test_without_a_gpu_nothing_is_measured(monkeypatch, capsys):
    def none(name):
        raise gpu_environment.NoGpuError("no CUDA device")

    monkeypatch.setattr(gpu_environment, "device", none)
    assert gpu_gemm.main([]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "gpu_gemm: nothing measured: no CUDA device\n")


def test_the_strict_device_computes_what_numpy_does(capsys):
    assert gpu_gemm.main(["--device", "strict"]) == 0
    said = capsys.readouterr().out
    assert f"{len(gemm_cases(FULL))} of {len(gemm_cases(FULL))} tiny products" in said
    assert "TFLOP/s" not in said


@pytest.mark.parametrize("wrong", ["alpha", "nothing"])
def test_a_wrong_product_is_refused(monkeypatch, capsys, wrong):
    right = gpu_gemm_contenders.bind_product

    def bind(*arrays, **options):
        return right(*arrays, **options, alpha=1.5) if wrong == "alpha" else None

    monkeypatch.setattr(gpu_gemm_contenders, "bind_product", bind)
    assert gpu_gemm.main(["--device", "strict", "--only", "proj: x w"]) == 1
    said = capsys.readouterr()
    assert "# 0 of 1 tiny products" in said.out
    assert "differs from NumPy" in said.err or "cuBLASLt has no way" in said.err


def row(name, count, milliseconds, torch=None):
    seconds = {"hpcad": [1e-3 * milliseconds] * 8}
    if torch is not None:
        seconds["torch"] = [1e-3 * torch] * 8
    return {
        "name": name, "count": count, "flops": 10**12, "shape": "1x2x3", "calls": 1,
        "algorithm": 2, "of": 8, "seconds": seconds,
    }  # fmt: skip


def test_a_row_says_rates_and_their_ratio():
    text = gpu_gemm.line_of(row("fc: x w", 12, 2.0, torch=1.8))
    for part in ("2 of 8", "2000.0", "500 (500 .. 500)", "556", "0.90 (0.90 .. 0.90)  below"):
        assert part in text
    assert "below" not in gpu_gemm.line_of(row("fc: x w", 12, 2.0, torch=2.1))
    assert gpu_gemm.line_of(row("fc: x w", 12, 2.0)).endswith("500 (500 .. 500)")


def test_the_summary_counts_products_as_often_as_a_step_has_them():
    rows = [
        row("one", 2, 2.0, torch=1.8),
        row("other", 1, 4.0, torch=4.0),
        row("fused", 0, 9.0, 9.0),
    ]
    assert gpu_gemm.summary(rows, peak=1e15) == [
        "hpcad: products of a step 8.00 ms, 375 TFLOP/s, 38% of the card's peak",
        "torch: products of a step 7.60 ms, 395 TFLOP/s, 39% of the card's peak",
        "2 of 3 reach 95% of torch's rate",
    ]
    assert gpu_gemm.summary(rows[2:], peak=None) == []


def test_every_form_is_held_to_separate_kernels(capsys, monkeypatch):
    assert gpu_gemm.main(["--device", "strict", "--only", "relu", "--dtype", "float16"]) == 0
    said = capsys.readouterr().out
    assert "# 3 of 3 forms are what separate kernels compute" in said
    monkeypatch.setattr(gpu_gemm_forms, "_difference", lambda one, other: float("nan"))
    assert gpu_gemm.main(["--device", "strict", "--only", "relu", "--dtype", "float16"]) == 1
    assert "relu float16[24,64], forward: differs" in capsys.readouterr().err


def test_forms_are_measured_in_a_table(monkeypatch, capsys):
    class Strict:
        """The strict device with CuPy's memory pool."""

        xp = type("Pools", (), {"get_default_memory_pool": lambda: Pool()})

    class Pool:
        def free_all_blocks(self):
            pass

    seconds = {"separate": 2e-4, "forward": 1.99e-4, "both": 1.5e-4}
    monkeypatch.setattr(gpu_gemm_forms, "candidates", lambda *_: {"gelu": None, "relu": None})
    monkeypatch.setattr(gpu_gemm_forms, "measured", lambda *_: seconds)
    rows = gpu_gemm_forms.measure(Strict(), 64, "bfloat16", "gelu")
    assert rows == [{"name": "gelu", "seconds": seconds}]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[2].endswith("0.99 of separate")  # within chance
    assert lines[3].endswith("150.0 us   0.75 of separate  taken")
