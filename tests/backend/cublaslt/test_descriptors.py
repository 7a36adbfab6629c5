"""Descriptors hold what they are given: the library's own, without a GPU, and the stand-in's."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from hpcad.backend.cublaslt import find_cublaslt
from hpcad.backend.cublaslt.binding import SIGNATURES, CublasLtError, call
from hpcad.backend.cublaslt.descriptors import Descriptor, description, matrix_layout, preference
from hpcad.backend.cublaslt.enums import (
    DESCRIPTION,
    EPILOGUES,
    LAYOUT,
    PREFERENCE,
    Compute,
    HeuristicResult,
    Operation,
    Status,
    Type,
)
from hpcad.backend.cublaslt.layout import Meta, arrange
from hpcad.backend.cublaslt.plan import Plan, _layouts


def real():
    found = find_cublaslt()
    if found is None:
        pytest.skip("no libcublasLt here; HPCAD_CUBLASLT names one")
    return found


@pytest.fixture(params=["cuBLASLt", "stand-in"])
def library(request, xp):
    if request.param == "cuBLASLt":
        return real()
    from hpcad.backend.cublaslt.stand_in import StandIn

    return StandIn(xp)


def test_the_stand_in_has_the_functions_of_the_library(xp):
    from hpcad.backend.cublaslt.stand_in import StandIn

    assert StandIn(xp).functions.keys() == SIGNATURES.keys()


def test_a_result_is_as_long_as_in_c():
    assert ctypes.sizeof(HeuristicResult) == 96


@pytest.mark.parametrize("compute", list(Compute))
def test_a_description_has_the_defaults_of_the_documentation(library, compute):
    scale = Type.float64 if compute == Compute.float64 else Type.float32
    made = description(library, compute.name, scale.name)
    found = {name: made.get(name) for name in DESCRIPTION}
    assert found == dict.fromkeys(DESCRIPTION, 0) | {
        "compute_type": compute, "scale_type": scale, "epilogue": 1, "bias_type": -1,
    }  # fmt: skip


@pytest.mark.parametrize("name", DESCRIPTION)
def test_every_attribute_of_a_description_is_kept(library, name):
    values = {"compute_type": Compute.tf32, "epilogue": 164, "trans_a": 1, "trans_b": 1}
    value = values.get(name, 2 if name == "pointer_mode" else 14 if "type" in name else 1 << 12)
    assert description(library, "float32", "float32", **{name: value}).get(name) == value


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_every_epilogue_is_taken(library, epilogue):
    number = EPILOGUES[epilogue].number
    assert description(library, "float32", "float32", epilogue=number).get("epilogue") == number


@pytest.mark.parametrize("dtype", list(Type))
def test_a_layout_holds_type_shape_and_strides(library, dtype):
    made = matrix_layout(library, dtype.name, 50304, 768, 50432, 12, 1 << 40)
    assert {name: made.get(name) for name in LAYOUT} == {
        "type": dtype, "order": 0, "rows": 50304, "columns": 768, "ld": 50432, "batch": 12,
        "batch_stride": 1 << 40,
    }  # fmt: skip


def test_one_matrix_is_a_batch_of_one(library):
    made = matrix_layout(library, "float32", 3, 4, 5, 1, 99)
    assert (made.get("batch"), made.get("batch_stride")) == (1, 0)


def test_a_preference_holds_workspace_reductions_and_alignments(library):
    wish = {name: 2 << i for i, name in enumerate(PREFERENCE)}
    made = preference(library, **wish)
    assert {name: made.get(name) for name in PREFERENCE} == wish
    fresh = preference(library)
    assert (fresh.get("workspace"), fresh.get("reductions"), fresh.get("alignment_a")) == (
        0,
        7,
        256,
    )


def test_an_attribute_that_does_not_exist_is_an_error(library):
    wrong = Descriptor(library, "MatrixLayout", {"none": (99, ctypes.c_int32)}, 0, 1, 1, 1)
    with pytest.raises(CublasLtError, match="INVALID_VALUE") as caught:
        wrong.set(none=1)
    assert caught.value.status == Status.INVALID_VALUE


def test_an_attribute_of_another_size_is_an_error(library):
    wrong = Descriptor(library, "MatrixLayout", {"rows": (2, ctypes.c_int32)}, 0, 1, 1, 1)
    with pytest.raises(CublasLtError, match="MatrixLayoutSetAttribute"):
        wrong.set(rows=1)


class Recorder(Plan):
    """A plan that asks nothing of a handle."""

    def _ask(self):
        return ()


@pytest.mark.parametrize("epilogue", ["", "bias", "gelu_aux_bias", "dgelu"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_problem_reaches_the_library_as_it_is(library, dtype, epilogue):
    size = {"float64": 8, "float32": 4}.get(dtype, 2)
    plain = lambda *shape: Meta(shape, _packed(shape, size), dtype, size)  # noqa: E731
    end = EPILOGUES[epilogue]
    problem = arrange(
        plain(3, 16, 24), plain(3, 32, 24).turned, plain(3, 16, 32), epilogue=epilogue,
        bias=plain(32) if end.bias else None, aux=plain(3, 16, 32) if end.aux else None,
    ).problem  # fmt: skip

    context = SimpleNamespace(library=library, choices={})
    plan = Recorder(context, problem)
    what = plan.with_addresses(0x1000 if end.bias else 0, 0x2000 if end.aux else 0)
    names = ("epilogue", "trans_a", "trans_b", "bias_pointer", "aux_pointer", "aux_ld")
    assert [what.get(name) for name in names] == [
        end.number, Operation.T, Operation.N, 0x1000 * bool(end.bias), 0x2000 * bool(end.aux),
        32 * bool(end.aux),
    ]  # fmt: skip
    a, b, d = _layouts(context, problem)
    shape = ("rows", "columns", "ld", "batch", "batch_stride")
    assert [a.get(name) for name in shape] == [24, 32, 24, 3, 768]
    assert [b.get(name) for name in shape] == [24, 16, 24, 3, 384]
    assert [d.get(name) for name in shape] == [32, 16, 32, 3, 512]
    assert {x.get("type") for x in (a, b, d)} == {Type[dtype]}


def test_a_handle_without_a_gpu_says_what_to_do():
    library, made = real(), ctypes.c_void_p()
    if library.functions["cublasLtCreate"](ctypes.byref(made)) == Status.SUCCESS:
        call(library, "cublasLtDestroy", made)
        pytest.skip("there is a GPU")
    with pytest.raises(CublasLtError, match=r"NOT_INITIALIZED; no GPU can be reached"):
        call(library, "cublasLtCreate", ctypes.byref(made))


def _packed(shape, size):
    strides = [size]
    for extent in reversed(shape[1:]):
        strides.insert(0, strides[0] * extent)
    return tuple(strides)
