"""Every test begins with a device that has nothing to do."""

from __future__ import annotations

import contextlib

import pytest

from hpcad.backend import strict
from hpcad.backend.strict import StrictDeviceError


@pytest.fixture(autouse=True)
def quiet_device():
    yield
    with contextlib.suppress(StrictDeviceError):  # copies that a test disturbed on purpose
        strict.cuda.Device().synchronize()
