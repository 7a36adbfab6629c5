"""Whether cuDNN is wanted, and where it is."""

from __future__ import annotations

import os
from typing import Any

from hpcad.errors import DeviceError

VARIABLE = "HPCAD_CUDNN"

# Before, where keys are not a multiple of 128, the way back needs lengths of sequences, which the
# package copies from the host at every call: nothing for a CUDA graph.
OLDEST = 91600


def asked_for() -> bool:
    """Whether ``HPCAD_CUDNN`` is 1; unset and 0 mean no.

    Raises
    ------
    DeviceError
        It is something else.
    """
    wish = os.environ.get(VARIABLE, "").strip()
    if wish not in ("", "0", "1"):
        raise DeviceError(
            f"{VARIABLE}={wish} means nothing; set it to 1 (attention and convolutions by cuDNN, "
            "where it takes the arrays) or 0 (by the kernels of hpcad)"
        )
    return wish == "1"


def find_cudnn(xp: Any) -> Any:
    """The module ``cudnn``, on the strict device its stand-in; None where it is not asked for.

    Parameters
    ----------
    xp : module
        ``cupy``, or the strict device.

    Raises
    ------
    DeviceError
        It is asked for, and the package or the library is missing or too old.
    """
    if not asked_for():
        return None
    if hasattr(xp, "host_view"):
        from hpcad.backend.cudnn.stand_in import StandIn

        return StandIn(xp)
    return require_cudnn()


def require_cudnn() -> Any:
    """The package, with a library that it can call.

    Raises
    ------
    DeviceError
        One of them is missing or too old.
    """
    try:
        import cudnn
    except ImportError as error:
        raise DeviceError(
            f"{VARIABLE}=1 asks for cuDNN, but the package nvidia-cudnn-frontend cannot be "
            f"imported ({error}); install it with `pip install 'hpcad[cudnn]'`, or unset {VARIABLE}"
        ) from error
    try:
        version = cudnn.backend_version()
    except (AttributeError, RuntimeError) as error:
        raise DeviceError(
            f"{VARIABLE}=1 asks for cuDNN, but nvidia-cudnn-frontend does not find the library "
            f"({error}); install it (`pip install nvidia-cudnn-cu13`, or -cu12, or a module of the "
            f"machine), or unset {VARIABLE}"
        ) from error
    if version < OLDEST:
        raise DeviceError(
            f"{VARIABLE}=1 asks for cuDNN, and {written(version)} is installed, but hpcad needs "
            f"{written(OLDEST)} or newer; update it, or unset {VARIABLE}"
        )
    return cudnn


def written(version: int) -> str:
    """``CUDNN_VERSION`` as text: 91900 is 9.19.0."""
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"
