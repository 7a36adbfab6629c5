"""Reductions."""

from hpcad.primitives.reduction import max, mean, min, sum

__all__: list[str] = ["max", "mean", "min", "sum"]
