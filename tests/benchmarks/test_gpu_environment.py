"""What is said of the card that a measurement is of."""

from __future__ import annotations

from types import SimpleNamespace

import gpu_environment
import pytest

from hpcad.backend import cublaslt, get_backend


@pytest.fixture
def card(monkeypatch):
    """As CuPy describes an H200, which is not here."""
    monkeypatch.setattr(cublaslt, "find_cublaslt", lambda newest: None)
    found = {"name": b"NVIDIA H200", "major": 9, "minor": 0, "multiProcessorCount": 132,
             "totalGlobalMem": 139 << 30, "l2CacheSize": 60 << 20}  # fmt: skip
    runtime = SimpleNamespace(
        getDevice=lambda: 0,
        getDeviceProperties=lambda device: found,
        driverGetVersion=lambda: 13010,
        runtimeGetVersion=lambda: 13000,
    )
    return SimpleNamespace(cuda=SimpleNamespace(runtime=runtime), __version__="14.2.0")


def test_a_card_is_described_with_driver_and_libraries(card, monkeypatch):
    monkeypatch.setattr(gpu_environment, "_driver", lambda: "580.95.05")
    monkeypatch.setattr(gpu_environment, "_torch", lambda: None)
    facts = gpu_environment.describe(card, strict=False)
    assert facts["device"] == "NVIDIA H200"
    assert facts["compute_capability"] == "9.0"
    assert gpu_environment.lines(facts)[-2:] == [
        "# NVIDIA H200, 139 GiB, 132 SMs, L2 60 MiB; driver 580.95.05 (CUDA 13.1)",
        "# CuPy 14.2.0 with CUDA 13.0, cuBLASLt None; PyTorch None",
    ]


def test_the_strict_device_is_called_none(monkeypatch):
    facts = gpu_environment.describe(get_backend("strict").xp, strict=True)
    assert facts["device"] == "the strict device, no GPU"
    assert gpu_environment.lines(facts)[-1] == gpu_environment.STRICT_NOTE


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05",
            "580.95.05",
        ),
        ("NVRM version: nothing that is known", "of an unknown version"),
    ],
)
def test_the_driver_tells_its_version(text, version, monkeypatch):
    monkeypatch.setattr("pathlib.Path.read_text", lambda self: text)
    assert gpu_environment._driver() == version
