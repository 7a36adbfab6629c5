"""Searching."""

from hpcad.primitives.reduction import argmax

__all__: list[str] = ["argmax"]
