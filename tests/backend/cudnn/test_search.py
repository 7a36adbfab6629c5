"""Whether cuDNN is asked for, and what is said where it is not there."""

from __future__ import annotations

import sys
import types

import pytest

from hpcad.backend.cudnn import bind_attention, find_cudnn
from hpcad.backend.cudnn.search import require_cudnn, written
from hpcad.errors import DeviceError

from .cases import Case


@pytest.mark.parametrize("wish", [None, "0", ""])
def test_without_being_asked_for_it_is_not_used(xp, monkeypatch, wish):
    case = Case(xp)
    assert bind_attention(xp, *case.forward, causal=True) is not None
    monkeypatch.delenv("HPCAD_CUDNN")
    if wish is not None:
        monkeypatch.setenv("HPCAD_CUDNN", wish)
    assert find_cudnn(xp) is None
    assert bind_attention(xp, *case.forward, causal=True) is None


def test_another_wish_is_refused(xp, monkeypatch):
    monkeypatch.setenv("HPCAD_CUDNN", "yes")
    with pytest.raises(DeviceError, match="HPCAD_CUDNN=yes means nothing; set it to 1"):
        find_cudnn(xp)


def module(version):
    def backend_version():
        if version is None:
            raise RuntimeError("Unable to find symbol cudnnGetVersion")
        return version

    return types.SimpleNamespace(backend_version=backend_version)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, r"cannot be imported.*pip install 'hpcad\[cudnn\]'"),
        (module(None), "does not find the library .*cudnnGetVersion"),
        (module(91501), r"9\.15\.1 is installed, but hpcad needs 9\.16\.0"),
    ],
    ids=["no package", "no library", "old"],
)
def test_what_is_missing_is_said(monkeypatch, found, message):
    monkeypatch.setitem(sys.modules, "cudnn", found)
    with pytest.raises(DeviceError, match=message):
        require_cudnn()


def test_a_library_that_is_new_enough_is_taken(monkeypatch):
    new = module(91900)
    monkeypatch.setitem(sys.modules, "cudnn", new)
    assert require_cudnn() is new
    assert written(91900) == "9.19.0"
