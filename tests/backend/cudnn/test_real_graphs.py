"""Graphs as the package nvidia-cudnn-frontend takes them; checked without a GPU, and not run."""

from __future__ import annotations

import json

import pytest

from hpcad.backend.cudnn.attention_graph import graph_of
from hpcad.backend.cudnn.attention_problem import UID, problem_of

from .cases import Case

cudnn = pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")
try:
    cudnn.backend_version()
except RuntimeError:
    pytest.skip("the library of cuDNN is not installed", allow_module_level=True)


def described(case, back):
    """What cuDNN has understood, of Hopper."""
    names = ("q", "k", "v", "out", "g", "dq", "dk", "dv")[: 8 if back else 4]
    arrays = {name: getattr(case, name) for name in names}
    problem = problem_of(arrays, case.log_sums, case.causal)
    graph = graph_of(cudnn, problem, sm_version=90)
    graph.validate()
    said = json.loads(str(graph))
    graph.build_operation_graph()  # which turns keys and values
    return arrays, said


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"packed": True, "queries": 1024, "keys": 1024, "dim": 64, "heads": 12},
        {"packed": True, "queries": 100, "keys": 100, "dim": 128},
        {"packed": False, "batch": 1, "heads": 1, "dtype": "bfloat16"},
    ],
    ids=["long", "odd", "one"],
)
def test_cudnn_takes_the_graphs(xp, options, causal, back):
    if "dtype" in options:
        pytest.importorskip("ml_dtypes")
    case = Case(xp, causal=causal, **options)
    arrays, said = described(case, back)
    found = said["tensors"]
    found = {t["uid"]: t for t in (found.values() if isinstance(found, dict) else found)}
    for name, array in arrays.items():
        tensor = found[UID[name]]
        assert tensor["dim"] == list(array.shape)
        if 1 not in array.shape:
            assert tensor["stride"] == [s // array.itemsize for s in array.strides]
        assert not tensor["is_virtual"]
    sums = found[UID["log_sums"]]
    assert (sums["dim"], sums["data_type"]) == ([*case.log_sums.shape, 1], "FLOAT")
    (node,) = said["nodes"]
    assert node["right_bound"] == (0 if causal else None)
    assert node["diagonal_alignment"] == "TOP_LEFT"
    assert node.get("is_deterministic_algorithm") == (True if back else None)
