"""What holds for all products of the process."""

from __future__ import annotations


class _Settings:
    tf32 = False


SETTINGS = _Settings()


def allow_tf32(allow: bool = True) -> None:
    """Whether products of float32 arrays may round their operands to tf32 (10 bits of mantissa).

    Holds for what is bound from now on.
    """
    SETTINGS.tf32 = bool(allow)
