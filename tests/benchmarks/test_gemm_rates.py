"""gemm_rates.py times the products that the steps are made of, and all of one product alike."""

from __future__ import annotations

import argparse

import gemm_rates
import numpy as np
from gemm_shapes import STEPS, heads, layer


def test_a_layer_and_its_gradients_cost_three_times_its_product():
    lines = layer("layer", 128, 784, 512, count=2)
    assert [line.spec.flops for line in lines] == [2 * 128 * 784 * 512] * 3
    assert [gemm_rates.shape(line.spec) for line in lines] == [
        "128x784x512",
        "128x512x784 (,^T)",
        "784x128x512 (^T,)",
    ]


def test_attention_costs_what_its_six_products_cost():
    lines = heads("attention", 4, 8, 4, 128, 64)
    assert [line.spec.flops for line in lines] == [2 * 8 * 4 * 128 * 128 * 64] * 6


def test_the_contenders_compute_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("HPCAD_CACHE_DIR", str(tmp_path))
    for line in (*layer("layer", 24, 40, 16), *heads("attention", 1, 2, 2, 16, 8)):
        arrays = gemm_rates._arrays(line.spec)
        a, b, c = gemm_rates._views(line.spec, arrays)
        expected = (a.astype(float) @ b.astype(float)).copy()
        for call in gemm_rates._contenders(
            line.spec, arrays, argparse.Namespace(threads=1)
        ).values():
            c[...] = 0
            call()
            np.testing.assert_allclose(c, expected, 1e-4, 1e-4)


def test_every_step_of_the_benchmark_has_its_products():
    assert set(STEPS) == {"mlp", "mlp-large", "cnn", "lstm", "gpt"}
