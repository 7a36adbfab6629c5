"""Settings of the C allocator that keep large temporaries from page-faulting every step."""

from __future__ import annotations

import ctypes
import functools
import os

from hpcad.errors import ConfigError

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_MMAP_THRESHOLD = 32 << 20  # bytes; the largest value that glibc takes
_TRIM_THRESHOLD = 1 << 30  # bytes
_NEVER = -1

# glibc reads these itself: who sets one has tuned the allocator.
_TUNED_BY = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")


@functools.cache
def keep_large_blocks() -> bool:
    """Let glibc reuse large freed blocks instead of returning them to the kernel.

    By default an array over 128 KiB ... 32 MiB is mapped afresh, and every first touch of a
    page faults; on CPU training steps that cost was measured at 7 to 21 %. It is done when the
    primitives are loaded, for the whole process; asking again changes nothing.

    Returns
    -------
    bool
        Whether the C library took the settings (only glibc has them).

    Raises
    ------
    ConfigError
        ``HPCAD_MALLOC`` has an unknown value.

    Notes
    -----
    The environment variable ``HPCAD_MALLOC`` may say ``system``: the allocator is left alone. So
    it is where glibc's own variables tune it. ``all`` keeps blocks of any size: a process then
    never gives memory back before it ends, which suits one that does nothing but train.
    Otherwise blocks over 32 MiB, data sets among them, are returned when they are freed, and so
    is what is free at the end of the heap when that is over 1 GiB.
    """
    wish = os.environ.get("HPCAD_MALLOC", "")
    if wish not in ("", "all", "system"):
        raise ConfigError(f"HPCAD_MALLOC must be 'all' or 'system', or not be set, not {wish!r}")
    tuned = any(name in os.environ for name in _TUNED_BY)
    if wish == "system" or tuned or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    if not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    if wish == "all":
        return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
    )


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, OSError, ValueError):  # no such function, or no such name
        return False
